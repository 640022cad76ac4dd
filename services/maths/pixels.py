"""Pixels: from what a file stores to the canonical form, and from there to a model and back.

The canonical form is float32 in [0, 1] for the display window of the modality. Training and serving call the same
functions, and a test pins their result by digest. Arithmetic is float64 and rounded to float32 once at the end, so that
the result does not depend on the vector width of the processor or on the size of the batch.

An array of images has shape (N, C, H, W); one stored image (H, W), or (F, H, W) for frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.special import expit

Array = npt.NDArray[np.float32]

# A caller's own division by 255 or 65535 may end a rounding step outside the range; a wrong unit ends far outside.
_RANGE_TOLERANCE = 1e-4


class ImageShapeError(ValueError):
    """The array has another shape or dtype than images of this kind have."""


class ImageNonFiniteError(ValueError):
    """The array holds NaN or an infinity."""


class ImageRangeError(ValueError):
    """The array holds values outside its declared range."""


@dataclass(frozen=True)
class PixelSpec:
    """What a model takes or gives: `channels` x `height` x `width` values in [`low`, `high`]."""

    channels: int
    height: int
    width: int
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if min(self.channels, self.height, self.width) < 1:
            raise ValueError(f"channels, height and width must be at least 1, got {self.shape}")
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise ValueError(f"low must be below high and both finite, got low={self.low}, high={self.high}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return (self.channels, self.height, self.width)


def canonical_from_stored(
    stored: npt.NDArray[np.generic],
    *,
    slope: float = 1.0,
    intercept: float = 0.0,
    window: tuple[float, float] | None = None,
    voi_function: str = "LINEAR",
    invert: bool = False,
    value_range: tuple[float, float] | None = None,
) -> Array:
    """Return stored values (H, W) or (F, H, W) of any real dtype as canonical float32 of the same shape.

    Values are first rescaled to `slope * stored + intercept` (DICOM's modality transformation). Then `window` =
    (center, width) is applied by `voi_function` (LINEAR, LINEAR_EXACT or SIGMOID, DICOM PS3.3 C.11.2.1). Without a
    window, `value_range` = (low, high) in rescaled units maps to [0, 1]; without either, the minimum and maximum of
    the whole array, frames together, so that frames stay comparable. A constant array then has no contrast to show
    and becomes zeros. `invert` is for MONOCHROME1, where the smallest value is meant to be white.

    Raises ImageShapeError, ImageNonFiniteError, and ValueError for an impossible slope, window or range.
    """
    if stored.ndim not in (2, 3) or stored.size == 0:
        raise ImageShapeError(
            f"a stored image has shape (H, W) or (F, H, W) and at least one pixel, got {stored.shape}"
        )
    if stored.dtype.kind not in "biuf":
        raise ImageShapeError(f"stored pixels must be integers or real numbers, got dtype {stored.dtype}")
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        raise ValueError(f"slope must be finite and not 0, intercept finite; got slope={slope}, intercept={intercept}")
    values = stored.astype(np.float64) * slope + intercept
    if not np.isfinite(values).all():
        raise ImageNonFiniteError("stored pixels hold NaN or infinite values")
    if window is not None:
        shown = _voi(values, window[0], window[1], voi_function)
    elif value_range is None and values.min() == values.max():
        return np.zeros(values.shape, np.float32)
    else:
        low, high = (values.min(), values.max()) if value_range is None else value_range
        shown = _between(values, low, high)
    return (1.0 - shown if invert else shown).astype(np.float32)


def _between(values: npt.NDArray[np.float64], low: float, high: float) -> npt.NDArray[np.float64]:
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"value_range must be finite with low below high, got ({low}, {high})")
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def _voi(values: npt.NDArray[np.float64], center: float, width: float, function: str) -> npt.NDArray[np.float64]:
    """DICOM PS3.3 C.11.2.1.2 (LINEAR) and C.11.2.1.3 (SIGMOID, LINEAR_EXACT) with output range [0, 1]."""
    if not np.isfinite([center, width]).all():
        raise ValueError(f"window center and width must be finite, got ({center}, {width})")
    if width < 1 if function == "LINEAR" else width <= 0:
        raise ValueError(f"window width must be {'at least 1' if function == 'LINEAR' else 'above 0'}, got {width}")
    if function == "SIGMOID":
        return np.asarray(expit(4.0 * (values - center) / width), np.float64)
    if function == "LINEAR":  # integer pixels: a window of width w holds w values, so its ends are w - 1 apart
        center, width = center - 0.5, width - 1.0
    elif function != "LINEAR_EXACT":
        raise ValueError(f"voi_function must be LINEAR, LINEAR_EXACT or SIGMOID, got {function!r}")
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0.0, 1.0)


def world_axes(affine: npt.NDArray[np.floating]) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Return which voxel axis runs along each world axis (right, anterior, superior), and whether it runs backwards.

    Each world axis gets the voxel axis closest to it, jointly, so that an oblique volume uses each axis once. Raises
    ValueError unless `affine` is a finite (4, 4) matrix whose three directions are independent.
    """
    matrix = np.asarray(affine, np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or np.linalg.matrix_rank(matrix[:3, :3]) < 3:
        raise ValueError("affine must be a finite 4 x 4 matrix whose three directions are independent")
    cosines = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    _, (right, anterior, superior) = linear_sum_assignment(-np.abs(cosines))
    axes = (int(right), int(anterior), int(superior))
    backwards = (bool(cosines[0, right] < 0), bool(cosines[1, anterior] < 0), bool(cosines[2, superior] < 0))
    return axes, backwards


def axial_slice(
    volume: npt.NDArray[np.generic], affine: npt.NDArray[np.floating], *, slice_index: int | None = None
) -> npt.NDArray[np.generic]:
    """Return one axial slice (H, W) of a NIfTI volume (X, Y, Z), values and dtype untouched; masks go this way.

    `affine` (4, 4) maps voxel indices to RAS millimetres. Rows run from anterior to posterior and columns from the
    patient's right to the left, as an axial DICOM slice is stored and shown. `slice_index` counts from the feet;
    default: the middle.

    Raises ImageShapeError for another shape, ValueError for a singular affine or an index outside the volume.
    """
    while volume.ndim > 3 and volume.shape[-1] == 1:
        volume = volume[..., 0]
    if volume.ndim != 3 or volume.size == 0:
        raise ImageShapeError(f"a volume has shape (X, Y, Z) and at least one voxel, got {volume.shape}")
    axes, backwards = world_axes(affine)
    ras = np.flip(volume.transpose(axes), tuple(world for world in range(3) if backwards[world]))
    depth = ras.shape[2]
    index = depth // 2 if slice_index is None else slice_index
    if not 0 <= index < depth:
        raise ValueError(f"slice_index must be between 0 and {depth - 1}, got {slice_index}")
    return np.ascontiguousarray(ras[::-1, ::-1, index].T)


def canonical_from_volume(
    volume: npt.NDArray[np.generic], affine: npt.NDArray[np.floating], *, slice_index: int | None = None
) -> Array:
    """Return one axial slice of a NIfTI volume as canonical float32 (H, W), min-max over that slice alone.

    Magnetic resonance intensities have no unit, hence the slice's own range. Arguments and errors as in `axial_slice`.
    """
    return canonical_from_stored(axial_slice(volume, affine, slice_index=slice_index))


def to_model(images: npt.NDArray[np.floating], spec: PixelSpec) -> Array:
    """Return canonical images (N, C, h, w) as a model's input: float32 (N, *spec.shape) in [spec.low, spec.high].

    Sizes change by antialiased bilinear interpolation; one channel is repeated for a model that takes several.

    Raises ImageShapeError, ImageNonFiniteError, ImageRangeError.
    """
    check_images(images)
    channels = images.shape[1]
    if channels not in (1, spec.channels):
        raise ImageShapeError(f"the model takes {spec.channels} channels, got images with {channels}")
    scaled = _resize(images, spec.height, spec.width).astype(np.float64) * (spec.high - spec.low) + spec.low
    shown = np.clip(scaled, spec.low, spec.high).astype(np.float32)
    return np.repeat(shown, spec.channels // channels, axis=1)


def _resize(images: npt.NDArray[np.floating], height: int, width: int) -> npt.NDArray[np.floating]:
    if images.shape[2:] == (height, width):
        return images
    # Here, because the decode sandbox needs the rest of this file without the seconds and the memory torch costs.
    import torch
    from torch.nn import functional

    tensor = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float64))
    resized = functional.interpolate(tensor, (height, width), mode="bilinear", antialias=True, align_corners=False)
    return np.asarray(resized.numpy())


def from_model(outputs: npt.NDArray[np.floating], spec: PixelSpec) -> Array:
    """Return a model's output images (N, C, H, W) in [spec.low, spec.high] as canonical float32, clipped to [0, 1].

    Raises ImageShapeError for another shape than `spec` says, ImageNonFiniteError for NaN or infinities.
    """
    if outputs.ndim != 4 or outputs.shape[1:] != spec.shape:
        raise ImageShapeError(f"the model's output must have shape (N, {_comma(spec.shape)}), got {outputs.shape}")
    if not np.isfinite(outputs).all():
        raise ImageNonFiniteError("the model's output holds NaN or infinite values")
    scaled = (outputs.astype(np.float64) - spec.low) / (spec.high - spec.low)
    return np.clip(scaled, 0.0, 1.0).astype(np.float32)


def resize_masks(masks: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return label masks uint8 (N, h, w) as (N, height, width).

    A side that shrinks goes by the label that has most of each pixel, weighted as `to_model` weights an image's values:
    what the nearest pixel gives instead lies a quarter pixel off at half the size. A side that grows takes the nearest.
    """
    if masks.ndim != 3 or masks.dtype != np.uint8 or 0 in masks.shape[1:]:
        raise ImageShapeError(f"masks must be uint8 of shape (N, h, w), got {masks.dtype} {masks.shape}")
    if min(height, width) < 1:
        raise ValueError(f"height and width must be at least 1, got {height} x {width}")
    down, across = min(height, masks.shape[1]), min(width, masks.shape[2])
    if (down, across) != masks.shape[1:] and len(masks):
        masks = _shrink_masks(masks, down, across)
    rows = (2 * np.arange(height) + 1) * down // (2 * height)
    columns = (2 * np.arange(width) + 1) * across // (2 * width)
    return np.ascontiguousarray(masks[:, rows[:, None], columns[None, :]])


def structure(mask: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the one structure (H, W), 0 or 1, that a mask (H, W) or (P, H, W) stands for where labels do not count.

    Every label above 0 of the first plane belongs to it. Overlap (Dice) and the choice of a slice go by it.
    """
    if mask.ndim not in (2, 3) or mask.size == 0:
        raise ImageShapeError(f"a mask has shape (H, W) or (P, H, W), got {mask.shape}")
    return np.asarray((mask[0] if mask.ndim == 3 else mask) > 0).astype(np.uint8)


def _shrink_masks(masks: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    labels = np.unique(masks)
    # At even factors an edge often halves a pixel. A tie goes to the pixel before or after the centre, in a checker's
    # pattern, so that edges move neither way.
    odd = np.add.outer(np.arange(height), np.arange(width)) % 2
    rows = (2 * np.arange(height)[:, None] + 1) * masks.shape[1] // (2 * height)
    columns = (2 * np.arange(width) + 1) * masks.shape[2] // (2 * width)
    ties = masks[:, np.maximum(rows - odd, 0), np.maximum(columns - odd, 0)]
    shares = [
        _resize((masks == label)[:, None].astype(np.float32), height, width)[:, 0] + 1e-6 * (ties == label)
        for label in labels
    ]
    return np.asarray(labels[np.argmax(shares, axis=0)])


def check_images(images: npt.NDArray[np.generic], spec: PixelSpec | None = None) -> None:
    """Refuse what is not a batch of images: floating point, (N, C, H, W), finite, and in range.

    With `spec` the shape must be (N, *spec.shape) and the range its own; without, any size and the canonical [0, 1].

    Raises ImageShapeError, ImageNonFiniteError or ImageRangeError, all ValueErrors.
    """
    if images.dtype not in (np.float32, np.float64):
        raise ImageShapeError(f"images must be float32, got {images.dtype}")
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise ImageShapeError(f"images must have shape (N, C, H, W), got {images.shape}")
    if spec is not None and images.shape[1:] != spec.shape:
        raise ImageShapeError(f"images must have shape (N, {_comma(spec.shape)}), got {images.shape}")
    if len(images) == 0:
        return
    least, most = float(images.min()), float(images.max())  # a NaN anywhere makes both NaN
    if not np.isfinite([least, most]).all():
        raise ImageNonFiniteError("images hold NaN or infinite values")
    low, high = (0.0, 1.0) if spec is None else (spec.low, spec.high)
    slack = _RANGE_TOLERANCE * (high - low)
    if least < low - slack or most > high + slack:
        raise ImageRangeError(f"images must lie in [{low:g}, {high:g}], got values in [{least:g}, {most:g}]")


def _comma(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
