"""Images with what they show and what was asked for them: the samples that a generator's quality is read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from services.errors import InvalidInput, ShapeMismatch

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Sample:
    """N images of one organ (or of what the caller's folder holds, then ``organ`` is "").

    ``pixels`` (N, C, H, W) float32 in [0, 1]; ``patients`` (N,) ids; ``levels`` one column an attribute that a
    condition can name, a level or None; ``requests`` what asks for such an image; ``masks`` (N, P, H, W) uint8.
    """

    organ: str
    pixels: npt.NDArray[np.float32]
    patients: npt.NDArray[np.str_]
    levels: pd.DataFrame
    requests: Sequence[Mapping[str, Any]] = field(default_factory=list)
    masks: npt.NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        counts = {len(self.pixels), len(self.patients), len(self.levels)}
        if self.requests:
            counts.add(len(self.requests))
        if len(counts) != 1:
            raise ShapeMismatch(f"images, patients and attributes differ in number: {sorted(counts)}", field="table")

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, rows: Rows) -> Sample:
        """Some of the images, in the order given."""
        return Sample(
            self.organ,
            self.pixels[rows],
            self.patients[rows],
            self.levels.iloc[rows].reset_index(drop=True),
            [self.requests[row] for row in rows] if self.requests else [],
            None if self.masks is None else self.masks[rows],
        )


def one_image_each(sample: Sample, seed: int) -> Sample:
    """One image of every patient, chosen at random: the patient is the unit, and images of one resemble each other."""
    order = _stream(seed, 0).permutation(len(sample))
    first = np.unique(sample.patients[order], return_index=True)[1]
    return sample.take(np.sort(order[first]))


def deal(sample: Sample, seed: int, most: int) -> tuple[Sample, Sample]:
    """Two halves of different patients, at most ``most`` images each, alike in the combinations of their attributes."""
    order = _stream(seed, 1).permutation(len(sample))
    by_condition = order[np.argsort(combinations(sample.levels)[order], kind="stable")]
    halves = [np.sort(order_of) for order_of in (by_condition[0::2], by_condition[1::2])]
    chosen = [half[np.sort(_stream(seed, 2 + k).permutation(len(half))[:most])] for k, half in enumerate(halves)]
    return sample.take(chosen[0]), sample.take(chosen[1])


def matched(synthetic: Sample, real: Sample, seed: int) -> tuple[Rows, Rows]:
    """Rows of both samples that go together: the same level of every attribute that both have, each row once.

    For images whose conditions were not taken from these patients; what finds no partner is left out. Raises
    InvalidInput where nothing goes together.
    """
    shared = [name for name in synthetic.levels if name in real.levels]
    stacked = pd.concat([synthetic.levels[shared], real.levels[shared]], ignore_index=True)
    codes = combinations(stacked) if shared else np.zeros(len(stacked), np.int64)
    made, true = codes[: len(synthetic)], codes[len(synthetic) :]
    rows: list[Rows] = []
    partners: list[Rows] = []
    for code in np.intersect1d(made, true):
        one = _stream(seed, 4).permutation(np.flatnonzero(made == code))
        other = _stream(seed, 5).permutation(np.flatnonzero(true == code))
        count = min(len(one), len(other))
        rows.append(one[:count])
        partners.append(other[:count])
    if not rows:
        names = ", ".join(map(str, shared)) or "none"
        raise InvalidInput(
            f"no image has the attributes of a reference image (attributes in both: {names})", field="table"
        )
    together = np.argsort(np.concatenate(partners), kind="stable")
    return np.concatenate(rows)[together], np.concatenate(partners)[together]


def combinations(levels: pd.DataFrame) -> npt.NDArray[np.int64]:
    """(N,) number of each row's combination of levels; None is a level of its own here."""
    if not len(levels.columns):
        return np.zeros(len(levels), np.int64)
    spelled = levels.astype(object).where(levels.notna(), "").astype(str)
    return np.asarray(spelled.groupby(list(spelled.columns), sort=True).ngroup(), np.int64)


def _stream(seed: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, purpose])
