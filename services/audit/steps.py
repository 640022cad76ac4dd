"""Running one batch of records through one pipeline, and turning what it read into rows.

Arrays in, arrays and frames out; the models arrive as :class:`ModelCalls`. Every call has the audit's one batch size,
so a row's bits do not depend on which records share its batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from services.audit.pipeline import Degrade, ModelStage, ResolvedPipeline
from services.errors import InvalidInput, NonFinite, OutOfRange, ShapeMismatch
from services.hosting.calls import ModelCalls
from services.maths.imaging.quality import dice, psnr, ssim
from services.maths.pixels import (
    ImageNonFiniteError,
    ImageRangeError,
    ImageShapeError,
    PixelSpec,
    from_model,
    resize_masks,
    structure,
    to_model,
)

T = TypeVar("T")

Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(N, C, H, W) changed and original images in [0, 1] → (N,) float64, by one quality metric."""

MEASURES: Mapping[str, Measure] = {"psnr": psnr, "ssim_gaussian11": ssim}
"""The quality metrics that need no weights."""

PADDING_RECORD = "padding"


@dataclass(frozen=True)
class Batch:
    """Consecutive records of a shard. Images are canonical (C, H, W) float32, of any sizes; masks uint8, as stored."""

    record_ids: Sequence[str]
    images: Sequence[np.ndarray]
    masks: Sequence[np.ndarray | None]


@dataclass(frozen=True)
class Readings:
    """What one batch of n records gave: per classify stage (n, labels) float32, per quality metric (n,) float64."""

    scores: tuple[np.ndarray, ...]
    quality: dict[str, np.ndarray]


def batches(record_ids: Sequence[str], images: Sequence[Any], masks: Sequence[Any], size: int) -> Iterator[Batch]:
    for start in range(0, len(record_ids), size):
        part = slice(start, start + size)
        yield Batch(record_ids[part], images[part], masks[part])


async def run_batch(
    pipeline: ResolvedPipeline,
    batch: Batch,
    calls: ModelCalls,
    *,
    seed: int,
    batch_size: int,
    measures: Mapping[str, Measure] = MEASURES,
) -> Readings:
    """Stages in order: image stages replace the current image, reading stages leave scores or Dice.

    Where an image stage changed the image, each of ``measures`` compares the last image with the original.
    Raises InvalidInput (with its subclasses) for pixels that a stage cannot take, and whatever the models raise.
    """
    originals = await _in_thread(bring_to_size, batch.images, pipeline.height, pipeline.width)
    current, changed = originals, False
    scores: list[np.ndarray] = []
    quality: dict[str, np.ndarray] = {}
    for stage in pipeline.stages:
        if isinstance(stage, Degrade):
            padded, record_ids = _padded(current, batch.record_ids, batch_size)
            current = (await calls.degrade(padded, record_ids, seed, stage.parameters))[: len(current)]
            changed = True
            continue
        given = await _in_thread(to_model, current, stage.input)
        parameters = asdict(stage.sampling) if stage.sampling else {}
        output = await calls.infer(stage.model, given, parameters, batch=batch_size, version=stage.version)
        if stage.kind == "reconstruct":
            assert stage.output is not None  # resolve() refuses a reconstruction model without it
            current = await _in_thread(_restored, output, stage.output, originals.shape[1])
            changed = True
        elif stage.kind == "classify":
            scores.append(np.ascontiguousarray(output[:, list(stage.columns)]))
        else:
            quality["dice"] = await _in_thread(_dice, output, batch.masks, stage)
    if changed:
        quality |= await _in_thread(_image_quality, current, originals, measures)
    return Readings(tuple(scores), quality)


def bring_to_size(images: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Canonical images (C, h, w) of any sizes → (N, C, height, width) float32 in [0, 1]."""
    spec = PixelSpec(images[0].shape[0], height, width)
    if len({image.shape for image in images}) == 1:
        return to_model(np.stack(images), spec)
    return np.concatenate([to_model(image[None], spec) for image in images])


def _padded(images: np.ndarray, record_ids: Sequence[str], size: int) -> tuple[np.ndarray, list[str]]:
    """The batch filled up with zeros to the audit's one size, as the model hosts do it with theirs."""
    missing = size - len(images)
    if not missing:
        return images, list(record_ids)
    zeros = np.zeros((missing, *images.shape[1:]), np.float32)
    return np.concatenate([images, zeros]), [*record_ids, *[PADDING_RECORD] * missing]


def _restored(output: np.ndarray, spec: PixelSpec, channels: int) -> np.ndarray:
    """A reconstruction as canonical pixels; a colour model's grey answer goes back to one channel."""
    canonical = from_model(output, spec)
    if canonical.shape[1] == channels:
        return canonical
    if channels == 1:
        return np.asarray(canonical.mean(axis=1, keepdims=True, dtype=np.float64), np.float32)
    raise ImageShapeError(f"the model gives {canonical.shape[1]} channels for images with {channels}")


def _image_quality(
    current: np.ndarray, originals: np.ndarray, measures: Mapping[str, Measure]
) -> dict[str, np.ndarray]:
    return {name: measure(current, originals) for name, measure in measures.items()}


def _dice(output: np.ndarray, masks: Sequence[np.ndarray | None], stage: ModelStage) -> np.ndarray:
    """Dice of one structure at the model's size; of a mask, `maths.pixels.structure`."""
    height, width = output.shape[2:]
    truth = np.concatenate([resize_masks(structure(mask)[None], height, width) for mask in masks if mask is not None])
    if len(truth) != len(output):
        raise ImageShapeError("a record of this shard has no mask")
    overlap: np.ndarray = dice(output[:, 0] >= stage.thresholds[0], truth > 0)
    return overlap


async def _in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Off the event loop, with complaints about pixels in the platform's own classes."""
    try:
        return await asyncio.to_thread(function, *arguments)
    except ImageShapeError as error:
        raise ShapeMismatch(str(error), field="pixels") from error
    except ImageNonFiniteError as error:
        raise NonFinite(str(error), field="pixels") from error
    except ImageRangeError as error:
        raise OutOfRange(str(error), field="pixels") from error
    except ValueError as error:
        raise InvalidInput(str(error), field="pixels") from error


def predictions_frame(pipeline: ResolvedPipeline, table: pd.DataFrame, readings: Sequence[Readings]) -> pd.DataFrame:
    """One row per record x label; the Parquet writer puts them in order.

    ``table`` is the shard's: record_id, patient_id, ``attribute_*``, ``label_*``. ``readings`` are of its batches in
    order. Without a classifier: no rows, no columns.
    """
    classifiers = [stage for stage in pipeline.stages if isinstance(stage, ModelStage) and stage.kind == "classify"]
    frames = [
        _identity(pipeline, table).assign(
            task=stage.task,
            label=label,
            y_true=_truth(stage, label, table),
            y_score=np.concatenate([reading.scores[position][:, column] for reading in readings]).astype(np.float64),
            threshold=np.nan if stage.thresholds[column] is None else stage.thresholds[column],
        )
        for position, stage in enumerate(classifiers)
        for column, label in enumerate(stage.labels)
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def quality_frame(pipeline: ResolvedPipeline, table: pd.DataFrame, readings: Sequence[Readings]) -> pd.DataFrame:
    """One row per record x metric; as :func:`predictions_frame`."""
    frames = [
        _identity(pipeline, table).assign(
            metric=metric, value=np.concatenate([reading.quality[metric] for reading in readings])
        )
        for metric in sorted(readings[0].quality)
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _identity(pipeline: ResolvedPipeline, table: pd.DataFrame) -> pd.DataFrame:
    attributes = [name for name in table.columns if name.startswith("attribute_")]
    return table[["record_id", "patient_id", *attributes]].assign(pipeline=pipeline.name)


def _truth(stage: ModelStage, label: str, table: pd.DataFrame) -> pd.Series:
    """Nullable 0/1 in Int8."""
    if not stage.attribute:
        return table[f"label_{label}"].astype("Int8")
    level = table[f"attribute_{stage.attribute}"]
    return (level == label).astype("Int8").mask(level.isna())
