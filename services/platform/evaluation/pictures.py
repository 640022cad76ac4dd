"""Pictures of the page: real and synthetic images of the same conditions, and the pairs closest to training images."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from services.adapters.encoder.lettering import STRIP_INK, STRIP_PAPER, blank, write
from services.adapters.encoder.record import NOT_A_PATIENT, SYNTHETIC_KEY, SYNTHETIC_VALUE
from services.platform.evaluation.evaluating import Pair, Shown

Picture = npt.NDArray[np.uint8]

TILE = 96  # least pixels a side that an image is shown with
_GAP, _LINE = 4, 22
_PHASES = 2  # of [ED, ES, ED]


def contact_sheet(shown: Sequence[Shown]) -> bytes:
    """A PNG of all organs: real images above, synthetic ones of the same conditions below."""
    parts = [part for some in shown for part in (_caption_strip(some), side_by_side(some))]
    width = max(part.shape[1] for part in parts)
    padded = [
        np.pad(part, ((0, _GAP), (0, width - part.shape[1]), (0, 0)), constant_values=STRIP_PAPER[0]) for part in parts
    ]
    return png(np.concatenate(padded))


def side_by_side(some: Shown) -> Picture:
    """(H, W, 3): the real images in the first row, the synthetic ones in the second."""
    rows = [_row([tile(image) for image in images]) for images in (some.real, some.synthetic)]
    gap = blank(_GAP, rows[0].shape[1], STRIP_PAPER)
    return np.concatenate([rows[0], gap, rows[1]])


def pair_picture(pair: Pair) -> Picture:
    """The synthetic image and, to its right, the training image that is nearest to it."""
    return _row([tile(pair[1]), tile(pair[2])])


def tile(image: npt.NDArray[np.float32]) -> Picture:
    """(H, W, 3) of one image (C, H, W) in [0, 1], its pixels repeated up to 96 a side; ED beside ES for a pair."""
    grey = np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)
    equal = len(grey) == 1 or all((plane == grey[0]).all() for plane in grey[1:])
    near = np.abs(image - image[:1]).max() < 0.1  # an autoencoder leaves small differences between equal channels
    planes = [grey.mean(axis=0).astype(np.uint8)] if equal or near else list(grey[:_PHASES])
    factor = max(1, -(-TILE // grey.shape[1]))
    wide = np.concatenate(planes, axis=1).repeat(factor, axis=0).repeat(factor, axis=1)
    return np.repeat(wide[..., None], 3, axis=2)


def png(picture: Picture) -> bytes:
    """A PNG that says it is synthetic."""
    words = PngInfo()
    words.add_text(SYNTHETIC_KEY, SYNTHETIC_VALUE)
    words.add_itxt("Description", f"Contains: {NOT_A_PATIENT}")
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", pnginfo=words)
    return file.getvalue()


def _row(tiles: list[Picture]) -> Picture:
    gap = blank(tiles[0].shape[0], _GAP, STRIP_PAPER)
    return np.concatenate([part for one in tiles for part in (one, gap)][:-1], axis=1)


def _caption_strip(some: Shown) -> Picture:
    strip = blank(_LINE, 480, STRIP_PAPER)
    write(strip, (4, _LINE - 6), f"{some.organ or 'images'}: real above, SYNTHETIC below", size=13, ink=STRIP_INK)
    return strip
