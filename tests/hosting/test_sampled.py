"""Hosted models that sample: pure functions of the image and of what was asked, in whatever company."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.errors import InvalidInput, OutOfRange
from services.gateway.wire import model_message
from services.hosting.calls import LocalModelCalls
from services.hosting.host import ModelHost
from services.maths.networks import build_network
from services.maths.restoration.keyed import keyed_noise
from services.maths.restoration.plans import sample
from tests.packages import FLOW, IR_SDE, PIX2PIX, write_package, write_sampled


@pytest.fixture(params=["ir-sde", "flow"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> DirectoryRegistry:
    write_sampled(tmp_path, {"ir-sde": IR_SDE, "flow": FLOW}[request.param])
    return DirectoryRegistry([tmp_path])


@pytest.fixture
def host(registry: DirectoryRegistry) -> ModelHost:
    return ModelHost(registry, ["reconstruction"])


def images(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, 1, 8, 8), np.float32)


async def ask(host: ModelHost, given: np.ndarray, **parameters: Any) -> np.ndarray:
    return (await host.infer("sampled", "", {"image": given}, parameters))["image"]


def by_hand(record: ModelRecord, registry: DirectoryRegistry, given: np.ndarray, steps: int, seed: int) -> np.ndarray:
    network = build_network(record.family, record.architecture).eval()
    network.load_state_dict({key: torch.from_numpy(value) for key, value in registry.load_tensors(record).items()})
    assert record.restoration is not None and record.restoration.method != "pix2pix"
    plan = record.restoration.process().plan(record.restoration.sampler, steps)
    degraded = torch.from_numpy(given)
    with torch.inference_mode():
        return sample(network, degraded, plan, keyed_noise(degraded, seed)).clamp(0, 1).numpy()


async def test_it_answers_what_its_network_samples_by_the_record(registry: DirectoryRegistry, host: ModelHost) -> None:
    record = registry.find("sampled")
    assert record.restoration is not None and record.restoration.method != "pix2pix"
    expected = by_hand(record, registry, images(4), record.restoration.steps, 3)
    np.testing.assert_allclose(await ask(host, images(4)), expected, atol=1e-5)
    assert expected.std() > 0.01


async def test_a_rows_bits_do_not_depend_on_its_neighbours_at_an_exact_batch_size(host: ModelHost) -> None:
    row = images(1, seed=1)
    answers = [
        (await ask(host, np.concatenate([images(others, seed=others), row]), batch=8))[-1] for others in (0, 3, 7)
    ]
    assert all(answer.tobytes() == answers[0].tobytes() for answer in answers)


async def test_the_parameters_arrive(registry: DirectoryRegistry, host: ModelHost) -> None:
    record = registry.find("sampled")
    given = images(2)
    np.testing.assert_allclose(
        await ask(host, given, steps=9, seed=2**63 - 1),
        by_hand(record, registry, given, 9, 2**63 - 1),
        atol=1e-5,
    )
    plain = await ask(host, given)
    assert not np.array_equal(plain, await ask(host, given, seed=4))
    assert not np.array_equal(plain, await ask(host, given, steps=7))
    others = {"posterior": "ode", "euler": "heun"}
    assert record.restoration is not None and record.restoration.method != "pix2pix"
    assert not np.array_equal(plain, await ask(host, given, sampler=others[record.restoration.sampler]))
    np.testing.assert_array_equal(plain, await ask(host, given, seed=3, steps=0, sampler=""))


async def test_requests_at_the_same_moment_each_get_what_they_asked_for(host: ModelHost) -> None:
    asked = [{"seed": seed, "steps": steps} for seed in (1, 2) for steps in (5, 6, 5)]
    alone = [await ask(host, images(1, seed=9), batch=4, **parameters) for parameters in asked]
    together = await asyncio.gather(*(ask(host, images(1, seed=9), batch=4, **parameters) for parameters in asked))
    for one, other in zip(alone, together, strict=True):
        assert one.tobytes() == other.tobytes()
    assert alone[0].tobytes() == alone[2].tobytes()
    assert alone[0].tobytes() != alone[3].tobytes()


@pytest.mark.parametrize(
    ("parameters", "error", "field", "reason"),
    [
        ({"sampler": "ddim"}, InvalidInput, "parameters.sampler", "SAMPLER_UNKNOWN"),
        ({"steps": 1000}, OutOfRange, "parameters.steps", "VALUE_OUT_OF_RANGE"),
        ({"steps": -1}, OutOfRange, "parameters.steps", "VALUE_OUT_OF_RANGE"),
        ({"seed": -1}, OutOfRange, "parameters.seed", "VALUE_OUT_OF_RANGE"),
        ({"seed": 2**63}, OutOfRange, "parameters.seed", "VALUE_OUT_OF_RANGE"),
    ],
)
async def test_what_cannot_be_asked_is_refused_by_name(
    host: ModelHost, parameters: dict[str, Any], error: type[Exception], field: str, reason: str
) -> None:
    with pytest.raises(error) as caught:
        await ask(host, images(1), **parameters)
    assert (caught.value.field, caught.value.reason) == (field, reason)  # type: ignore[attr-defined]


def test_the_catalogue_says_how_it_samples_the_default_first(tmp_path: Path) -> None:
    write_sampled(tmp_path, IR_SDE | {"sampler": "ode"})
    (entry,) = ModelHost(DirectoryRegistry([tmp_path]), ["reconstruction"]).catalogue()
    message = model_message(entry)
    assert list(message.samplers) == ["ode", "posterior", "sde"]
    assert message.default_steps == 6


async def test_ir_sde_needs_five_steps_and_says_so(tmp_path: Path) -> None:
    write_sampled(tmp_path, IR_SDE)
    host = ModelHost(DirectoryRegistry([tmp_path]), ["reconstruction"])
    with pytest.raises(OutOfRange, match=r"steps of posterior must lie in 5\.\.100"):
        await ask(host, images(1), steps=4)


async def test_a_network_that_is_asked_once_leaves_such_parameters_aside(tmp_path: Path) -> None:
    write_package(tmp_path)
    host = ModelHost(DirectoryRegistry([tmp_path]), ["reconstruction"])
    answer = await host.infer("affine", "", {"image": images(2)}, {"sampler": "ode", "steps": 7, "seed": 1})
    np.testing.assert_allclose(answer["image"], 0.5 * images(2) + 0.25, atol=1e-6)


async def test_local_calls_and_warm_up_work_as_for_any_model(registry: DirectoryRegistry, host: ModelHost) -> None:
    await host.warm_up()
    calls = LocalModelCalls(registry)
    first = await calls.infer("sampled", images(5), batch=4)
    np.testing.assert_array_equal(first, await calls.infer("sampled", images(5), batch=4))
    np.testing.assert_array_equal(first, await ask(host, images(5), batch=4))


@pytest.mark.parametrize(
    ("restoration", "changes", "message"),
    [
        (IR_SDE | {"sampler": "ddim"}, {}, "sampler must be one of posterior, sde, ode"),
        (IR_SDE | {"steps": 101}, {}, r"must lie in 5\.\.100"),
        (FLOW | {"steps": 0}, {}, r"must lie in 1\.\.20"),
        (FLOW | {"deviation": 0.0}, {}, "greater than 0"),
        (FLOW | {"guidance": 2.0}, {}, "Extra inputs"),
        ({"method": "score-sde"}, {}, "does not match any of the expected tags"),
        (PIX2PIX | {"mode": "training"}, {}, "Input should be 'evaluation'"),
        (IR_SDE, {"task": "segmentation", "labels": ["x"]}, "belongs to a model for reconstruction"),
    ],
)
def test_a_record_that_cannot_be_sampled_is_refused(
    tmp_path: Path, restoration: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    write_sampled(tmp_path, restoration, **changes)
    with pytest.raises(InvalidInput, match=message):
        DirectoryRegistry([tmp_path])


def test_how_a_model_samples_is_part_of_its_digest(tmp_path: Path) -> None:
    digests = set()
    for number, restoration in enumerate((IR_SDE, IR_SDE | {"steps": 20}, IR_SDE | {"seed": 0}, PIX2PIX)):
        write_sampled(tmp_path / str(number), restoration)
        digests.add(DirectoryRegistry([tmp_path / str(number)]).find("sampled").digest)
    assert len(digests) == 4
