"""One batch through one pipeline: what each stage does to the image and what it reads off it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from services.audit.pipeline import Degrade, ModelStage, ResolvedPipeline
from services.audit.steps import Batch, Readings, batches, predictions_frame, quality_frame, run_batch
from services.errors import InvalidInput, NonFinite, ShapeMismatch
from services.maths.imaging.degradation import degrade
from services.maths.imaging.quality import psnr, ssim
from services.maths.pixels import PixelSpec

SIZE = 16
SPEC = PixelSpec(1, SIZE, SIZE)
LOW_DOSE = Degrade({"operator": "low-dose-xray", "photons": 2000.0})


class Arithmetic:
    """Models whose answers a test can work out: ``halve`` halves, ``mean`` reads the mean and its complement,
    ``identity`` answers with its input."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, tuple[int, ...], float, float]] = []

    async def catalogue(self) -> list[dict[str, Any]]:
        return []

    async def infer(
        self,
        model: str,
        images: np.ndarray,
        parameters: Mapping[str, Any] | None = None,
        *,
        batch: int,
        version: str = "",
    ) -> np.ndarray:
        self.seen.append((model, images.shape, float(images.min()), float(images.max())))
        if model == "halve":
            return images / 2
        if model == "mean":
            mean = images.mean(axis=(1, 2, 3), dtype=np.float64)
            return np.stack([mean, 1 - mean], axis=1).astype(np.float32)
        return images

    async def degrade(
        self, images: np.ndarray, record_ids: Sequence[str], seed: int, parameters: Mapping[str, Any]
    ) -> np.ndarray:
        return degrade(images, list(record_ids), seed=seed, **parameters)


def stage(kind: Any, model: str, **fields: Any) -> ModelStage:
    return ModelStage(kind, model, "1", "digest", fields.pop("task", ""), fields.pop("input", SPEC), **fields)


CLASSIFY = stage(
    "classify", "mean", task="classification", labels=("dark", "bright"), columns=(1, 0), thresholds=(None, 0.5)
)
HALVE = stage("reconstruct", "halve", output=SPEC)
SEGMENT = stage("segment", "identity", labels=("tumour",), columns=(0,), thresholds=(0.5,))


def pipeline(*stages: Degrade | ModelStage) -> ResolvedPipeline:
    return ResolvedPipeline("only", SIZE, SIZE, stages)


def draw_batch(count: int, *, side: int = SIZE, seed: int = 0) -> Batch:
    images = np.random.default_rng(seed).random((count, 1, side, side), np.float32)
    masks = (images[:, 0] > 0.5).astype(np.uint8)
    return Batch([f"r{index}" for index in range(count)], list(images), list(masks))


async def read(stages: Sequence[Degrade | ModelStage], batch: Batch, calls: Any = None, *, size: int = 8) -> Readings:
    return await run_batch(pipeline(*stages), batch, calls or Arithmetic(), seed=3, batch_size=size)


async def test_scores_are_the_models_columns_in_label_order() -> None:
    batch = draw_batch(3)
    means = np.array([image.mean(dtype=np.float64) for image in batch.images], np.float32)
    readings = await read([CLASSIFY], batch)
    np.testing.assert_allclose(readings.scores[0], np.stack([1 - means, means], axis=1), rtol=1e-6)
    assert readings.quality == {}


async def test_a_classifier_behind_a_reconstruction_reads_the_restored_image() -> None:
    batch = draw_batch(3)
    plain, halved = await read([CLASSIFY], batch), await read([HALVE, CLASSIFY], batch)
    np.testing.assert_allclose(halved.scores[0][:, 1], plain.scores[0][:, 1] / 2, rtol=1e-6)


async def test_quality_compares_the_last_image_with_the_original() -> None:
    batch = draw_batch(4)
    originals = np.stack(batch.images)
    degraded = degrade(originals, batch.record_ids, seed=3, **LOW_DOSE.parameters)
    quality = (await read([LOW_DOSE, HALVE, CLASSIFY], batch)).quality
    np.testing.assert_array_equal(quality["psnr"], psnr(degraded / 2, originals))
    np.testing.assert_array_equal(quality["ssim_gaussian11"], ssim(degraded / 2, originals))


async def test_values_reach_a_model_in_its_own_range_and_come_back_canonical() -> None:
    wide = PixelSpec(1, SIZE, SIZE, -1.0, 1.0)
    calls, batch = Arithmetic(), draw_batch(2)
    same = stage("reconstruct", "identity", input=wide, output=wide)
    quality = (await read([same, CLASSIFY], batch, calls)).quality
    assert calls.seen[0][2] < -0.9 and calls.seen[0][3] > 0.9
    assert (quality["psnr"] > 120).all()


async def test_a_colour_model_sees_three_channels_and_gives_one_back() -> None:
    colour = PixelSpec(3, SIZE, SIZE)
    calls = Arithmetic()
    same = stage("reconstruct", "identity", input=colour, output=colour)
    quality = (await read([same, CLASSIFY], draw_batch(2), calls)).quality
    assert [shape for _, shape, _, _ in calls.seen] == [(2, 3, SIZE, SIZE), (2, 1, SIZE, SIZE)]
    assert (quality["psnr"] > 120).all()


async def test_dice_is_of_the_mask_at_the_models_size() -> None:
    batch = draw_batch(4)
    assert (await read([SEGMENT], batch)).quality["dice"] == pytest.approx(1.0)
    inverted = replace(batch, masks=[1 - np.asarray(mask) for mask in batch.masks])
    assert (await read([SEGMENT], inverted)).quality["dice"] == pytest.approx(0.0)


async def test_any_mask_value_but_zero_is_the_structure() -> None:
    batch = draw_batch(2)
    other_values = replace(batch, masks=[np.uint8(4) * np.asarray(mask) for mask in batch.masks])
    assert (await read([SEGMENT], other_values)).quality["dice"] == pytest.approx(1.0)


async def test_dice_of_planes_of_labels_is_of_any_label_in_the_first() -> None:
    batch = draw_batch(2)
    masks = [np.asarray(mask) for mask in batch.masks]
    planes = replace(batch, masks=[np.stack([3 * mask, 2 * (1 - mask)]) for mask in masks])
    assert (await read([SEGMENT], planes)).quality["dice"] == pytest.approx(1.0)


async def test_a_row_does_not_depend_on_its_neighbours_or_its_place() -> None:
    stages: list[Degrade | ModelStage] = [LOW_DOSE, HALVE, CLASSIFY]
    whole = await read(stages, batch := draw_batch(8))
    for places in ([5], [7, 2, 5], list(range(7, -1, -1))):
        part = Batch([batch.record_ids[p] for p in places], [batch.images[p] for p in places], [None] * len(places))
        alone = await read(stages, part)
        np.testing.assert_array_equal(alone.scores[0], whole.scores[0][places])
        np.testing.assert_array_equal(alone.quality["psnr"], whole.quality["psnr"][places])


async def test_noise_follows_the_record_and_not_its_place() -> None:
    """The negative control of the test above: under another id the same pixels get other noise."""
    batch = draw_batch(2)
    swapped = replace(batch, record_ids=batch.record_ids[::-1])
    first, second = await read([LOW_DOSE, CLASSIFY], batch), await read([LOW_DOSE, CLASSIFY], swapped)
    assert (first.quality["psnr"] != second.quality["psnr"]).all()


async def test_images_of_different_sizes_share_a_batch() -> None:
    small, large = draw_batch(2, side=12), draw_batch(2, side=40, seed=1)
    mixed = Batch(["a", "b"], [small.images[0], large.images[1]], [small.masks[0], large.masks[1]])
    scores = (await read([CLASSIFY], mixed)).scores[0]
    np.testing.assert_array_equal(scores[0], (await read([CLASSIFY], small)).scores[0][0])
    np.testing.assert_array_equal(scores[1], (await read([CLASSIFY], large)).scores[0][1])


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (np.full((1, SIZE, SIZE), np.nan, np.float32), NonFinite),
        (np.full((1, SIZE, SIZE), 2.0, np.float32), InvalidInput),
        (np.zeros((2, SIZE, SIZE), np.float32), ShapeMismatch),
    ],
)
async def test_pixels_that_no_stage_can_take_are_invalid_input(image: np.ndarray, kind: type[InvalidInput]) -> None:
    colour = replace(CLASSIFY, input=PixelSpec(3, SIZE, SIZE))
    with pytest.raises(kind) as caught:
        await read([colour], Batch(["r0"], [image], [None]))
    assert caught.value.field == "pixels"


async def test_a_missing_mask_is_invalid_input() -> None:
    batch = draw_batch(2)
    with pytest.raises(ShapeMismatch):
        await read([SEGMENT], replace(batch, masks=[batch.masks[0], None]))


def test_batches_cover_every_record_once_in_order() -> None:
    batch = draw_batch(10)
    parts = list(batches(batch.record_ids, batch.images, batch.masks, 4))
    assert [len(part.images) for part in parts] == [4, 4, 2]
    assert [name for part in parts for name in part.record_ids] == list(batch.record_ids)


TABLE = pd.DataFrame(
    {
        "record_id": ["r0", "r1", "r2"],
        "patient_id": ["p0", "p0", "p1"],
        "attribute_sex": ["Female", "Male", None],
        "label_dark": pd.array([1, None, 0], dtype="Int8"),
        "label_bright": pd.array([0, 1, 1], dtype="Int8"),
    }
)


def test_rows_pair_each_record_with_its_own_score_and_truth() -> None:
    scores = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]], np.float32)
    readings = [Readings((scores[:2],), {}), Readings((scores[2:],), {})]
    rows = predictions_frame(pipeline(CLASSIFY), TABLE, readings).set_index(["record_id", "label"])
    assert len(rows) == 6
    assert rows["y_score"]["r2", "bright"] == np.float32(0.7)
    assert (rows["patient_id"]["r0", "dark"], rows["attribute_sex"]["r0", "dark"]) == ("p0", "Female")
    assert rows["y_true"].isna().to_dict() == {key: key == ("r1", "dark") for key in rows.index}
    assert (rows["y_true"]["r0", "dark"], rows["y_true"]["r0", "bright"]) == (1, 0)
    thresholds = rows["threshold"].xs("r0")
    assert np.isnan(thresholds["dark"]) and thresholds["bright"] == 0.5


def test_an_attribute_classifier_is_judged_against_the_attribute() -> None:
    sex = replace(CLASSIFY, task="attribute-classification", labels=("Female",), columns=(0,), attribute="sex")
    readings = [Readings((np.array([[0.9], [0.2], [0.5]], np.float32),), {})]
    rows = predictions_frame(pipeline(sex), TABLE, readings)
    assert rows["y_true"].isna().tolist() == [False, False, True]
    assert rows["y_true"].tolist()[:2] == [1, 0]


def test_quality_rows_name_their_metric_and_keep_undefined_values() -> None:
    readings = [Readings((), {"dice": np.array([1.0, np.nan, 0.5]), "psnr": np.array([30.0, np.inf, 20.0])})]
    rows = quality_frame(pipeline(SEGMENT), TABLE, readings).set_index(["record_id", "metric"])["value"]
    assert (rows["r2", "dice"], rows["r1", "psnr"]) == (0.5, np.inf)
    assert np.isnan(rows["r1", "dice"])


def test_a_pipeline_that_only_segments_has_no_predictions() -> None:
    readings = [Readings((), {"dice": np.zeros(3)})]
    assert predictions_frame(pipeline(SEGMENT), TABLE, readings).empty
