"""Pictures of a few prompts: the same noise in each column, before above and after below; a frame tells the group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.platform.evaluation.pictures import Picture, tile
from services.platform.prompt_grid.auditing import AFTER, BEFORE, Shown

FRAMES = ((79, 163, 224), (240, 152, 72), (70, 190, 150), (190, 140, 225), (240, 120, 155), (200, 200, 90))
UNREAD_FRAME = (120, 120, 120)
_FRAME, _GAP = 4, 4
_PAPER = (17, 18, 20)


def rows_of(shown: Shown) -> tuple[str, ...]:
    """The roles from top to bottom."""
    return tuple(role for role in (BEFORE, AFTER) if role in shown.pixels)


def sheet(shown: Shown) -> Picture:
    """(H, W, 3) of one prompt: a row for each role, a column for each noise."""
    return _stacked([_row(shown.pixels[role], shown.codes[role]) for role in rows_of(shown)], 0)


def _row(images: npt.NDArray[np.float32], codes: Sequence[int] | npt.NDArray[np.int64]) -> Picture:
    return _stacked([_framed(tile(image), int(code)) for image, code in zip(images, codes, strict=True)], 1)


def _framed(picture: Picture, code: int) -> Picture:
    colour = UNREAD_FRAME if code < 0 else FRAMES[code % len(FRAMES)]
    height, width, _ = picture.shape
    framed = np.full((height + 2 * _FRAME, width + 2 * _FRAME, 3), colour, np.uint8)
    framed[_FRAME:-_FRAME, _FRAME:-_FRAME] = picture
    return framed


def _stacked(parts: Sequence[Picture], axis: int) -> Picture:
    """The parts one after the other with gaps between."""
    shape = [*parts[0].shape]
    shape[axis] = _GAP
    gap = np.full(shape, _PAPER, np.uint8)
    return np.concatenate([piece for part in parts for piece in (part, gap)][:-1], axis=axis)
