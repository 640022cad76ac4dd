"""The filmstrip: frames of the path side by side, the first, the last, and what lies between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.adapters.encoder import picture_bytes
from services.adapters.encoder.lettering import STRIP_INK, STRIP_PAPER, Picture, blank, fitted, strip, write
from services.adapters.encoder.pixels import checked, quantised
from services.adapters.encoder.record import Record
from services.errors import InvalidInput, ShapeMismatch
from services.generator.report.pictures import distinct_planes, enlarged, factor_for, same_shape
from services.maths.pixels import Array

LEAST_SIDE = 256
_GAP, _LABEL, _SIZE = 6, 30, 15


def filmstrip_frames(count: int, shown: int = 5) -> list[int]:
    """Which of ``count`` frames a strip of ``shown`` has: evenly spaced with both ends, none twice."""
    return list(dict.fromkeys(np.rint(np.linspace(0, count - 1, min(shown, count))).astype(int).tolist()))


def filmstrip(
    frames: Sequence[npt.NDArray[np.floating]], record: Record, *, labels: Sequence[str], caption: str = ""
) -> bytes:
    """A PNG of ``frames``, each (C, H, W) in [0, 1], from left to right over their ``labels``; one row a channel.

    Channels that repeat another are left out. Raises InvalidInput, ShapeMismatch, NonFinite or OutOfRange.
    """
    if not frames:
        raise InvalidInput("a filmstrip needs at least one frame", field="frames")
    if len(labels) != len(frames):
        raise ShapeMismatch(f"{len(frames)} frames need as many labels, got {len(labels)}", field="labels")
    images = [checked(frame, field=f"frames[{k}]") for k, frame in enumerate(frames)]
    for k, image in enumerate(images):
        same_shape(images[0], image, f"frames[{k}]")
    factor = factor_for(min(images[0].shape[1:]), LEAST_SIDE)
    rows = [_row([image[plane] for image in images], factor) for plane in distinct_planes(*images)]
    width = images[0].shape[2] * factor
    beneath = _labels(labels, width)
    lines: list[Picture] = []
    for row in rows:
        lines += [row, blank(_GAP, row.shape[1], STRIP_PAPER)]
    return picture_bytes(np.concatenate([*lines[:-1], beneath, strip(beneath.shape[1], caption)]), record)


def _row(planes: Sequence[Array], factor: int) -> Picture:
    height = planes[0].shape[0] * factor
    parts: list[Picture] = []
    for plane in planes:
        grey = quantised(enlarged(plane, factor), 8).astype(np.uint8)
        parts += [np.repeat(grey[..., None], 3, axis=2), blank(height, _GAP, STRIP_PAPER)]
    return np.concatenate(parts[:-1], axis=1)


def _labels(labels: Sequence[str], width: int) -> Picture:
    line = blank(_LABEL, len(labels) * (width + _GAP) - _GAP, STRIP_PAPER)
    for k, label in enumerate(labels):
        middle = k * (width + _GAP) + width / 2
        words = fitted(label, _SIZE, width)
        write(line, (middle, _LABEL / 2), words, size=_SIZE, ink=STRIP_INK, anchor="mm")
    return line
