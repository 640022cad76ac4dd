"""``cine`` of schema.yaml: how a beating heart (X, Y, Z, T) becomes images of its phases.

cine:
  frames: [ed, es, ed]      # the channels of an image; each ed or es, both at least once
  ed: ED                    # a column with the frame's number, or a number; left out: the frame with most cavity
  es: ES                    # the same; left out, or blank in a row: the frame with least cavity
  counted_from: 1           # what the first frame is called in these columns: 0 (default) or 1
  es_mask: es_labels        # a column with the mask file at ES, where each phase has one of its own
  cavity: left ventricle    # which of mask_labels is the cavity
  window: [0, 4095]         # stored values shown as 0 and 1; left out: each image's least and greatest, phases together
  train: {slices: 3, offsets: 3, splits: [train]}   # rows of these splits become slices x offsets images

Other rows, and every row without ``train``, become one image: the middle slice at ED and ES (with ``slices: {which:
largest-mask}`` the one with most mask at ED). A training row becomes an image of each of the ``slices`` around that one
and each shift of both phases by -1, 0, +1, ... frames; a beat is a cycle, so the frame before the first is the last.
Records are named ``<record>/slice-004/offset+1`` then, slices counted from 0 along the third axis of the file.

A mask file is (X, Y, Z, T), frame by frame, or (X, Y, Z, 2), at ED and ES. Its planes in a record are ED and ES. With
``es_mask`` the schema's ``mask`` is a file (X, Y, Z) at ED and this one the same at ES, as ACDC has them; ``ed`` and
``es`` then say the frames.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from services.adapters.decoder import Cine
from services.audit.cohort.cells import Cell, Part, Text

PHASES = ("ED", "ES")
_MOST_CHANNELS = 4
_MOST_SLICES = 32
_MOST_OFFSETS = 15

Phase = Cell | Annotated[int, Field(ge=0, strict=True)] | None


class TrainSchema(Part):
    """What training rows become; both numbers are odd, so that one image is that of every other row."""

    slices: int = Field(default=3, ge=1, le=_MOST_SLICES)
    offsets: int = Field(default=3, ge=1, le=_MOST_OFFSETS)
    splits: tuple[Text, ...] = Field(default=("train",), min_length=1)

    @field_validator("slices", "offsets")
    @classmethod
    def _odd(cls, number: int) -> int:
        if number % 2 == 0:
            raise ValueError("must be odd: as many before the middle as after it")
        return number


class CineSchema(Part):
    """See the module's text."""

    frames: tuple[Literal["ed", "es"], ...] = Field(default=("ed", "es", "ed"), max_length=_MOST_CHANNELS)
    ed: Phase = None
    es: Phase = None
    counted_from: Literal[0, 1] = 0
    es_mask: Cell | None = Field(default=None, exclude_if=lambda cell: cell is None)
    cavity: Text = "left ventricle"
    window: tuple[float, float] | None = None
    train: TrainSchema | None = None

    @model_validator(mode="after")
    def _consistent(self) -> CineSchema:
        if set(self.frames) != {"ed", "es"}:
            raise ValueError("frames must have ed and es, such as [ed, es, ed]")
        if self.window is not None and not (math.isfinite(self.window[1] - self.window[0]) and self._rises()):
            raise ValueError("window must be two finite numbers, the lower first")
        if any(isinstance(number, int) and number < self.counted_from for number in (self.ed, self.es)):
            raise ValueError(f"frames are counted from {self.counted_from}")
        return self

    def _rises(self) -> bool:
        return self.window is not None and self.window[0] < self.window[1]

    def columns(self) -> dict[str, str]:
        """Columns of the table by the field that names them, as those of the whole schema."""
        cells = {"cine.ed": self.ed, "cine.es": self.es, "cine.es_mask": self.es_mask}
        return {field: cell.column for field, cell in cells.items() if isinstance(cell, Cell)}

    def phases(self, row: Mapping[str, str]) -> tuple[int | None, int | None]:
        """Frames ED and ES of a row of the table, from 0; None where only the mask can tell.

        Raises ValueError for a cell that is no frame's number.
        """
        ed, es = (self._frame(phase, row) for phase in (self.ed, self.es))
        return ed, es

    def _frame(self, phase: Phase, row: Mapping[str, str]) -> int | None:
        text = phase.of(row) if isinstance(phase, Cell) else "" if phase is None else str(phase)
        if not text:
            return None
        whole = re.fullmatch(r"([0-9]{1,6})(\.0*)?", text)  # 3.0 is how a column with blanks is often exported
        if whole is None or int(whole[1]) < self.counted_from:
            raise ValueError(f"the frame of ED or ES must be a whole number from {self.counted_from}, or blank")
        return int(whole[1]) - self.counted_from

    def to_cine(self, phases: tuple[int | None, int | None], split: str | None, mask_labels: tuple[str, ...]) -> Cine:
        """What the decoder is asked for in a row with these frames and of this split."""
        train = self.train if self.is_augmented(split) else None
        return Cine(
            channels=tuple(int(phase == "es") for phase in self.frames),
            ed=phases[0],
            es=phases[1],
            cavity=mask_labels.index(self.cavity) if self.cavity in mask_labels else 0,
            window=self.window,
            slices=1 if train is None else train.slices,
            offsets=1 if train is None else train.offsets,
        )

    def is_augmented(self, split: str | None) -> bool:
        """Whether a row of this split becomes several images, each with a name of its own."""
        return self.train is not None and split in self.train.splits
