"""Cine NIfTI (X, Y, Z, T): a beating heart's phases as channels of one image, its mask at these phases as planes.

Only the frames and slices that are asked for are scaled and copied; the rest stays a view on the file's bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.adapters.decoder.limits import Limits
from services.adapters.decoder.masks import NamedBytes, about, as_declared
from services.adapters.decoder.sources import Cine, Decoded, MaskForm, Slices
from services.adapters.decoder.voxels import Voxels, read_voxels
from services.errors import InvalidInput, OutOfRange, ShapeMismatch, TooLarge
from services.maths.imaging.stacks import acquired_slice, in_plane_axes
from services.maths.pixels import canonical_from_stored, structure

_MOST_SATURATED = 0.01
"""Share of an image's pixels that a declared window may cut off at its upper end."""

Phases = tuple[int, int]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class _Masks:
    """The masks of a cine with ``frames`` frames: a volume of labels a frame, or two, at ED and ES.

    ``volumes`` are (file's name, its voxels, the volume's number in the file); the number is None of a file (X, Y, Z).
    """

    volumes: tuple[tuple[str, Voxels, int | None], ...]
    frames: int

    @property
    def name(self) -> str:
        """The first file."""
        return self.volumes[0][0]

    @property
    def of_every_frame(self) -> bool:
        return len(self.volumes) == self.frames and self.volumes[0][2] is not None

    def volume(self, number: int) -> Array:
        """Labels (X, Y, Z)."""
        _, voxels, place = self.volumes[number]
        return voxels.scaled(voxels.stored if place is None else voxels.stored[..., place])

    def numbers(self, phases: Phases) -> Phases:
        """Which volumes are those of two frames of the cine, or of ED and ES."""
        return phases if self.of_every_frame else (0, 1)


def read(
    data: bytes, mask_files: Sequence[NamedBytes], cine: Cine, slices: Slices, *, form: MaskForm, limits: Limits
) -> list[Decoded]:
    """The images (C, H, W) that ``cine`` asks for, with masks (2, H, W) at ED and ES. Raises ServiceError.

    ``mask_files`` are none, one of every frame or of both phases, or one at ED and one at ES. The middle slice is that
    of the file, or for ``largest-mask`` the one with most mask at ED.
    """
    beating = read_voxels(data, limits, axes=(4,), expected="a cine (X, Y, Z, T) of several frames")
    depth, count = beating.stored.shape[2:]
    masks = _masks(mask_files, beating, limits) if mask_files else None
    phases = _phases(cine, masks, count)
    _check_asked(cine, masks, beating, limits)
    first = _first_slice(slices, cine.slices, depth, None if masks is None else masks.volume(masks.numbers(phases)[0]))
    columns, rows = in_plane_axes(beating.affine)
    sizes = np.linalg.norm(beating.affine[:3, :3], axis=0)
    found = []
    for index in range(first, first + cine.slices):
        for offset in range(-(cine.offsets // 2), cine.offsets // 2 + 1):
            shifted = ((phases[0] + offset) % count, (phases[1] + offset) % count)
            shown = None if masks is None else _mask(masks, shifted, beating, index, form)
            pixels = _image(beating, shifted, index, cine)
            found.append(Decoded(pixels, "", (float(sizes[rows]), float(sizes[columns])), shown, index, offset))
    return found


def _masks(files: Sequence[NamedBytes], beating: Voxels, limits: Limits) -> _Masks:
    frames = beating.stored.shape[3]
    if len(files) > 1:
        expected = "labels (X, Y, Z) at ED or ES, since there is a file for each"
        phases = [(file[0], _on(beating, file, limits, axes=3, expected=expected), None) for file in files]
        return _Masks(tuple(phases), frames)
    name = files[0][0]
    expected = f"labels (X, Y, Z, {frames}) of every frame or (X, Y, Z, 2) at ED and ES"
    voxels = _on(beating, files[0], limits, axes=4, expected=expected)
    volumes = voxels.stored.shape[3]
    if volumes not in (frames, 2):
        message = f"must be {expected}, got {voxels.stored.shape}"
        raise ShapeMismatch(message, field=name, reason="MASK_PLANES_MISMATCH")
    return _Masks(tuple((name, voxels, number) for number in range(volumes)), frames)


def _on(beating: Voxels, file: NamedBytes, limits: Limits, *, axes: int, expected: str) -> Voxels:
    """The voxels of a mask file, which lie where the cine's do."""
    name, data = file
    with about(name):
        voxels = read_voxels(data, limits, axes=(axes,), expected=expected)
        if not voxels.lies_on(beating):
            raise ShapeMismatch("the mask has another shape or affine than its cine", reason="MASK_MISMATCH")
    return voxels


def _phases(cine: Cine, masks: _Masks | None, count: int) -> Phases:
    """The frames ED and ES: as asked, else those where the mask has most and least cavity."""
    largest, smallest = (None, None) if None not in (cine.ed, cine.es) else _extremes(masks, cine.cavity)
    ed, es = (given if given is not None else found for given, found in ((cine.ed, largest), (cine.es, smallest)))
    if ed is None or es is None:
        raise InvalidInput(
            "which frames are ED and ES is neither in the table nor to be seen in a mask of every frame",
            reason="CINE_PHASES_UNKNOWN",
        )
    if not (0 <= ed < count and 0 <= es < count):
        raise OutOfRange(
            f"frames {ed} and {es}, from 0, were asked for, the cine has {count}", reason="FRAME_OUT_OF_RANGE"
        )
    if ed == es:
        raise InvalidInput(f"ED and ES are the same frame, {ed} from 0", reason="CINE_PHASES_EQUAL")
    return ed, es


def _extremes(masks: _Masks | None, cavity: int) -> tuple[int | None, int | None]:
    """The first frames with most and with least cavity in the whole volume. Frames without any label have no say."""
    if masks is None or not masks.of_every_frame:
        return None, None
    volumes = (masks.volume(frame) for frame in range(masks.frames))
    sizes = {frame: int((labels == cavity).sum()) for frame, labels in enumerate(volumes) if (labels > 0).any()}
    if not sizes or max(sizes.values()) == 0:
        return None, None
    return max(sizes, key=sizes.__getitem__), min(sizes, key=sizes.__getitem__)


def _check_asked(cine: Cine, masks: _Masks | None, beating: Voxels, limits: Limits) -> None:
    width, height, depth, count = beating.stored.shape
    if cine.slices > depth or cine.offsets > count:
        raise OutOfRange(
            f"{cine.slices} slices at {cine.offsets} shifts were asked for, the cine has {depth} and {count} frames",
            reason="CINE_TOO_SMALL",
        )
    if cine.offsets > 1 and masks is not None and not masks.of_every_frame:
        raise ShapeMismatch(
            "a mask at ED and ES alone does not fit shifted frames; give one of every frame, or one offset",
            field=masks.name,
            reason="MASK_PLANES_MISMATCH",
        )
    if 4 * height * width * (len(cine.channels) + 1) * cine.slices * cine.offsets > limits.output_bytes:
        raise TooLarge(
            f"{cine.slices} slices at {cine.offsets} shifts are more than {limits.output_bytes} bytes; ask for fewer",
            reason="DECODED_SIZE_OVER_LIMIT",
        )


def _first_slice(slices: Slices, count: int, depth: int, at_ed: Array | None) -> int:
    """Where ``count`` slices around the middle begin; at the end of a stack the middle one is not in their middle."""
    middle = depth // 2
    if slices.which == "largest-mask" and at_ed is not None:
        areas = [int(structure(at_ed[:, :, index]).sum()) for index in range(depth)]
        middle = int(np.argmax(areas)) if max(areas) > 0 else middle
    return min(max(middle - count // 2, 0), depth - count)


def _image(beating: Voxels, phases: Phases, index: int, cine: Cine) -> npt.NDArray[np.float32]:
    """Channels (C, H, W) in one window, so that a phase that is brighter stays brighter."""
    frames = [acquired_slice(beating.stored[..., frame], beating.affine, slice_index=index) for frame in phases]
    values = beating.scaled(np.stack(frames))
    if cine.window is not None and (saturated := float((values > cine.window[1]).mean())) > _MOST_SATURATED:
        raise OutOfRange(
            f"{saturated:.1%} of slice {index} at ED and ES lie above the window's upper end, {cine.window[1]:g}; "
            "give a window that holds them, or none",
            reason="CINE_SATURATED",
        )
    return canonical_from_stored(values, value_range=cine.window)[list(cine.channels)]


def _mask(masks: _Masks, phases: Phases, beating: Voxels, index: int, form: MaskForm) -> npt.NDArray[np.uint8]:
    planes = []
    for number, frame in zip(masks.numbers(phases), phases, strict=True):
        labels = masks.volume(number)
        with about(masks.volumes[number][0]):
            if not (labels > 0).any():
                raise InvalidInput(f"frame {frame}, from 0, has no label", reason="MASK_EMPTY_AT_PHASE")
            plane = acquired_slice(labels, beating.affine, slice_index=index)
            planes.append(as_declared(plane[None], form))
    return np.concatenate(planes)
