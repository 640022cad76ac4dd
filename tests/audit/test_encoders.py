"""Perceptual distances in an image encoder's features, as a metric of audits."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evenhand.audit.v1 import audit_service_pb2, plan_pb2
from google.longrunning import operations_pb2
from scipy.ndimage import gaussian_filter

from services.adapters.ledger import Operation
from services.adapters.weights import DirectoryRegistry
from services.audit.audits import Audits
from services.audit.encoders import Encoders
from services.audit.results.formats import read_quality
from services.audit.results.verification import verify_report
from services.audit.settings import Settings
from services.errors import FailedPrecondition, InvalidInput, NotFound, ServiceError
from services.hosting.networks import load_network
from services.maths.imaging.perceptual import encoder_distance
from services.maths.networks.resnet import ResNet18
from services.maths.phantoms import draw_cohort
from services.maths.pixels import to_model
from tests.audit.world import PIXELS, World, audit_request, make_world
from tests.packages import write_classifier, write_package

ZOO = Path(__file__).parents[2] / "deploy" / "zoo"
METRIC, SMALL = "perceptual/phantom-clip", "perceptual/small-clip"


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return draw_cohort("brain", "null", 2, 5, 64).images[:4]


@pytest.fixture(scope="module")
def distance() -> Any:
    encoders = Encoders([ZOO])
    return encoders.distance(METRIC, encoders.digest(METRIC))


def blurred(images: np.ndarray, sigma: float) -> np.ndarray:
    return np.clip(gaussian_filter(images, (0, 0, sigma, sigma)), 0, 1).astype(np.float32)


def test_it_is_0_between_equal_images_and_grows_with_blur(images: np.ndarray, distance: Any) -> None:
    found = [distance(blurred(images, sigma), images) for sigma in (0.0, 0.5, 1.0, 2.0)]
    np.testing.assert_array_equal(found[0], np.zeros(len(images)))
    assert (np.diff(found, axis=0) > 0).all()


def test_it_is_the_encoder_s_distance_to_the_bit_in_any_order_and_company(images: np.ndarray, distance: Any) -> None:
    registry = DirectoryRegistry([ZOO])
    record = registry.find("phantom-clip")
    network = load_network(record, registry.load_tensors(record)).cpu()
    assert isinstance(network, ResNet18)
    changed, spec = blurred(images, 1.0), record.input.spec()
    found = distance(changed, images)
    np.testing.assert_array_equal(found, encoder_distance(to_model(changed, spec), to_model(images, spec), network))
    again = Encoders([ZOO]).distance(METRIC, record.digest)
    np.testing.assert_array_equal(again(changed[::-1], images[::-1])[::-1], found)
    np.testing.assert_array_equal(again(changed[1:2], images[1:2]), found[1:2])


@pytest.mark.parametrize(
    ("name", "kind", "reason", "said"),
    [
        ("nobody", NotFound, "MODEL_NOT_FOUND", "there are phantom-clip"),
        ("tumour-type-classifier", InvalidInput, "TASK_MISMATCH", "resnet18 for classification"),
        ("phantom-diffusion", InvalidInput, "TASK_MISMATCH", "for text-to-image"),
    ],
)
def test_what_is_no_image_encoder_is_refused(name: str, kind: type[ServiceError], reason: str, said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        Encoders([ZOO]).digest(f"perceptual/{name}")
    assert (caught.value.reason, caught.value.field) == (reason, "spec.quality_metrics")


# In audits, with an untrained encoder for images of 16 x 16 pixels.


def write_encoder(world: World, version: str = "1", seed: int = 5, **changes: Any) -> Path:
    fields = {"name": "small-clip", "version": version, "task": "image-embedding", "input": PIXELS}
    return write_classifier(world.folder / "models", seed=seed, **(fields | changes))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, records=12)


def settings(world: World) -> Settings:
    return world.settings.model_copy(update={"registries": ()})


async def create(world: World, *metrics: str) -> Operation:
    audits = Audits(world.ledger(), world.store(), world.calls(), settings(world))
    answer = await audits.create(audit_request(quality_metrics=metrics).SerializeToString())
    return world.ledger().get_operation(operations_pb2.Operation.FromString(answer).name)


async def finish(world: World, operation: Operation) -> Operation:
    return await world.finish(operation, world.worker(settings=settings(world)))


async def test_an_audit_pins_the_encoder_and_its_report_has_the_distance_like_any_quality(world: World) -> None:
    write_encoder(world)
    pinned = DirectoryRegistry([world.folder / "models"]).find("small-clip").digest
    operation = await create(world, SMALL, "psnr")
    write_encoder(world, version="2", seed=6)  # one trained since changes nothing
    done = await finish(world, operation)
    assert done.state == "succeeded", done.error
    report = world.report(done)
    assert report["provenance"]["perceptual"] == done.request["plan"]["perceptual"] == {SMALL: pinned}
    quality = read_quality(world.artifact(done, "quality.parquet"))
    rows = quality[quality["metric"] == SMALL]
    assert (len(rows), set(rows["pipeline"])) == (12, {"unet"})
    cells = [cell for cell in report["cells"] if cell["metric"] == "perceptual"]
    assert {(cell["task"], cell["label"]) for cell in cells} == {("reconstruction", "small-clip")}
    assert cells[0]["estimate"] == pytest.approx(rows["value"].mean(), rel=1e-9)
    assert any(gap["metric"] == "perceptual" and gap["attribute"] == "sex" for gap in report["gaps"])
    assert "lower is better" in report["methods"]["metrics"]["perceptual"]["range"]
    assert report["methods"]["tolerances"]["perceptual"] == 0.05
    page = world.artifact(done, "report.html").decode()
    assert "Perceptual distance: small-clip" in page
    assert pinned in page
    files = [world.artifact(done, name) for name in ("report.json", "predictions.parquet", "quality.parquet")]
    assert verify_report(*files).exact


async def test_two_encoders_are_two_metrics_of_one_audit(world: World) -> None:
    write_encoder(world)
    write_encoder(world, name="other-clip", seed=8)
    done = await finish(world, await create(world, "perceptual/other-clip", SMALL))
    cells = [cell for cell in world.report(done)["cells"] if cell["metric"] == "perceptual" and not cell["attribute"]]
    assert [cell["label"] for cell in cells] == ["other-clip", "small-clip"]
    assert cells[0]["estimate"] != cells[1]["estimate"]


async def test_an_audit_whose_encoder_was_exchanged_ends_with_an_error(world: World) -> None:
    folder = write_encoder(world)
    operation = await create(world, SMALL)
    shutil.rmtree(folder)
    write_encoder(world, seed=7)
    done = await finish(world, operation)
    assert done.state == "failed" and done.error is not None
    assert (done.error["reason"], done.error["field"]) == ("MODEL_CHANGED", SMALL)


async def test_an_encoder_of_other_images_is_refused_before_anything_runs(world: World) -> None:
    small = {"channels": 1, "height": 8, "width": 8}
    folder = write_encoder(world, input=small)
    with pytest.raises(InvalidInput, match="8 x 8 pixels; those of unet have 16 x 16") as caught:
        await create(world, SMALL)
    assert (caught.value.reason, caught.value.field) == ("ENCODER_OF_ANOTHER_SIZE", "spec.pipelines[1]")
    shutil.rmtree(folder)
    write_encoder(world, modality="brain-flair")
    await create(world, SMALL)  # the pipeline's models do not say what they learned from
    write_package(
        world.folder / "models",
        {"mix.weight": np.ones((1, 1, 1, 1), np.float32), "mix.bias": np.zeros(1, np.float32)},
        **{"name": "unet", "version": "2", "input": PIXELS, "output": PIXELS, "modality": "chest-radiograph"},
    )
    with pytest.raises(InvalidInput, match="learned from brain-flair, unet of unet from chest-radiograph") as caught:
        await create(world, SMALL)
    assert (caught.value.reason, caught.value.field) == ("ENCODER_OF_ANOTHER_MODALITY", "spec.pipelines[1]")


async def test_planning_knows_the_distance_by_its_encoder(world: World) -> None:
    write_encoder(world)
    audits = Audits(world.ledger(), world.store(), world.calls(), settings(world))
    spec = audit_request(quality_metrics=[SMALL, "psnr"]).spec
    answer = await audits.plan(audit_service_pb2.PlanAuditRequest(spec=spec).SerializeToString())
    cells = [cell for cell in plan_pb2.AuditPlan.FromString(answer).cells if cell.task == "reconstruction"]
    assert {(cell.metric, cell.label) for cell in cells} == {("psnr", ""), ("perceptual", "small-clip")}


def test_the_encoder_of_a_plan_is_found_by_its_digest_or_not_at_all() -> None:
    with pytest.raises(FailedPrecondition) as caught:
        Encoders([ZOO]).distance(METRIC, "0" * 64)
    assert caught.value.reason == "MODEL_CHANGED"
