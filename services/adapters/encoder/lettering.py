"""Words in pictures: the strip under a video's frames, and labels of maps and filmstrips."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

STRIP_PAPER: Colour = (17, 18, 20)
STRIP_INK: Colour = (255, 255, 255)
STRIP_QUIET: Colour = (178, 182, 189)
WARNING_INK: Colour = (255, 196, 77)


@lru_cache(maxsize=32)
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: it has arrows, Greek and most names of levels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    with resources.as_file(resources.files("matplotlib") / "mpl-data" / "fonts" / "ttf" / name) as path:
        return ImageFont.truetype(str(path), size)


def blank(height: int, width: int, paper: Colour) -> Picture:
    """(H, W, 3) of one colour."""
    return np.full((height, width, 3), paper, np.uint8)


def write(
    picture: Picture,
    at: tuple[float, float],
    text: str,
    *,
    size: int,
    ink: Colour,
    anchor: str = "ls",
    bold: bool = False,
) -> None:
    """Draw ``text`` into ``picture`` (H, W, 3) in place; ``anchor`` is Pillow's ("ls": left end of the base line)."""
    canvas = Image.fromarray(picture)
    ImageDraw.Draw(canvas).text(at, text, fill=ink, font=font(size, bold=bold), anchor=anchor)
    picture[:] = np.asarray(canvas)


def fitted(text: str, size: int, room: float, *, bold: bool = False) -> str:
    """``text`` cut with an ellipsis to ``room`` pixels; empty where nothing fits."""
    if font(size, bold=bold).getlength(text) <= room:
        return text
    for end in range(len(text) - 1, 0, -1):
        cut = text[:end].rstrip() + "…"
        if font(size, bold=bold).getlength(cut) <= room:
            return cut
    return ""


def strip_height(width: int) -> int:
    """Height of the strip below a picture of ``width`` pixels: legible on a phone, never more than it needs."""
    return max(20, min(44, round(width * 0.0625))) // 2 * 2


def strip(width: int, caption: str = "") -> Picture:
    """(h, width, 3): "SYNTHETIC" in large letters on the left, ``caption`` on the right as far as there is room."""
    height = strip_height(width)
    picture = blank(height, width, STRIP_PAPER)
    size, margin = round(height * 0.5), round(height * 0.35)
    middle = height / 2
    mark = fitted("SYNTHETIC", size, width - 2 * margin, bold=True) or "SYN"
    write(picture, (margin, middle), mark, size=size, ink=WARNING_INK, anchor="lm", bold=True)
    left = margin + font(size, bold=True).getlength(mark) + margin
    small = round(height * 0.42)
    words = fitted(caption, small, width - margin - left)
    write(picture, (width - margin, middle), words, size=small, ink=STRIP_INK, anchor="rm")
    return picture
