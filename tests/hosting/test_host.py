from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from services.adapters.weights import DirectoryRegistry
from services.errors import OutOfRange, ServiceError
from services.hosting.calls import LocalModelCalls
from services.hosting.host import ModelHost, finish
from services.maths.networks import build_network
from tests.packages import write_classifier, write_package

TASKS = ["classification", "reconstruction", "attribute-classification", "segmentation"]


def images(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, 1, 8, 8), np.float32)


async def test_a_hosted_classifier_answers_what_its_network_computes(tmp_path: Path) -> None:
    write_classifier(tmp_path)
    registry = DirectoryRegistry([tmp_path])
    record = registry.find("classifier")
    network = build_network(record.family, dict(record.architecture)).eval()
    network.load_state_dict({k: torch.from_numpy(v) for k, v in registry.load_tensors(record).items()})
    with torch.inference_mode():
        expected = torch.sigmoid(network(torch.from_numpy(images(4)))).numpy()
    answer = await ModelHost(registry, TASKS).infer("classifier", "", {"image": images(4)}, {})
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)


async def test_a_rows_bits_do_not_depend_on_its_neighbours_at_an_exact_batch_size(tmp_path: Path) -> None:
    write_classifier(tmp_path)
    host = ModelHost(DirectoryRegistry([tmp_path]), TASKS)
    row = images(1, seed=1)
    answers = []
    for neighbours in (images(0), images(3, seed=2), images(7, seed=3)):
        batch = np.concatenate([row, neighbours])
        answers.append((await host.infer("classifier", "", {"image": batch}, {"batch": 8}))["probabilities"][0])
    assert all(answer.tobytes() == answers[0].tobytes() for answer in answers)


async def test_attribute_levels_sum_to_one_and_a_reconstruction_is_clipped(tmp_path: Path) -> None:
    write_classifier(tmp_path, task="attribute-classification", label_column="sex")
    record = DirectoryRegistry([tmp_path]).find("classifier")
    np.testing.assert_allclose(finish(record, np.array([[3.0, -80.0], [1e3, 1e3]], np.float32)).sum(axis=1), 1.0)
    write_package(tmp_path)
    affine = DirectoryRegistry([tmp_path]).find("affine")
    np.testing.assert_array_equal(finish(affine, np.array([-1.0, 0.5, 2.0])), [0.0, 0.5, 1.0])


async def test_extreme_logits_give_finite_probabilities(tmp_path: Path) -> None:
    write_classifier(tmp_path)
    record = DirectoryRegistry([tmp_path]).find("classifier")
    assert np.isfinite(finish(record, np.array([[1e30, -1e30]], np.float32))).all()


@pytest.mark.parametrize("batch", [0, -1, 257])
async def test_a_batch_size_out_of_range_is_refused(tmp_path: Path, batch: int) -> None:
    write_package(tmp_path)
    host = ModelHost(DirectoryRegistry([tmp_path]), TASKS)
    with pytest.raises(OutOfRange):
        await host.infer("affine", "", {"image": images(1)}, {"batch": batch})


async def test_every_call_is_counted_under_its_own_model(tmp_path: Path) -> None:
    write_package(tmp_path)
    write_classifier(tmp_path)
    seen: list[tuple[str, int, int]] = []
    host = ModelHost(
        DirectoryRegistry([tmp_path]),
        TASKS,
        on_batch=lambda model, rows, padded, seconds: seen.append((model, rows, padded)),
    )
    await host.infer("affine", "", {"image": images(3)}, {})
    await host.infer("classifier", "", {"image": images(1)}, {})
    assert seen == [("affine", 3, 4), ("classifier", 1, 1)]


async def test_warm_up_runs_the_smallest_and_the_largest_batch(tmp_path: Path) -> None:
    write_package(tmp_path)
    sizes: list[int] = []
    host = ModelHost(DirectoryRegistry([tmp_path]), TASKS, on_batch=lambda model, rows, padded, s: sizes.append(padded))
    await host.warm_up()
    assert sizes == [1, 32]


async def test_local_calls_name_the_application_of_each_model(tmp_path: Path) -> None:
    write_package(tmp_path)
    write_classifier(tmp_path)
    calls = LocalModelCalls(DirectoryRegistry([tmp_path]))
    assert {m["name"]: m["app"] for m in await calls.catalogue()} == {
        "affine": "reconstruction",
        "classifier": "classifiers",
    }
    np.testing.assert_allclose(await calls.infer("affine", images(5), batch=4), 0.5 * images(5) + 0.25, atol=1e-6)


async def test_a_version_that_appears_is_served_beside_what_was_there_or_not_at_all(tmp_path: Path) -> None:
    write_package(tmp_path)
    host = ModelHost(DirectoryRegistry([tmp_path]), TASKS)
    first = host.find("affine")
    for version in ("10", "2"):
        write_package(tmp_path, version=version)
    assert not host.serves("affine", "2")
    assert [record.version for record in host.extend(DirectoryRegistry([tmp_path]))] == ["2", "10"]
    assert host.find("affine", "1") is first
    assert host.find("affine").version == "10"
    answer = await host.infer("affine", "2", {"image": images(1)}, {})
    np.testing.assert_allclose(answer["image"], images(1) * 0.5 + 0.25, atol=1e-6)
    write_package(tmp_path, version="11")
    write_package(tmp_path, version="12", family="unet")  # its weights are not those of a U-Net
    with pytest.raises(ServiceError):
        host.extend(DirectoryRegistry([tmp_path]))
    assert [entry["version"] for entry in host.catalogue()] == ["1", "2", "10"]
