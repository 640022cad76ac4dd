"""Captioned phantoms of all organs: pictures in three channels, their attributes, and captions in fresh words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch

from services.maths.phantoms.captions import UNREAD, attributes_of, compose, is_clear
from services.maths.phantoms.worlds import Kind
from services.training.generative.images import Pictures

Attributes = Mapping[str, str | None]


@dataclass(frozen=True)
class Captioned:
    """N pictures that show clearly what their captions say.

    ``pixels`` (N, 3, H, W) float16 in [-1, 1]; ``kinds`` and ``attributes`` of each; ``meanings`` (N,) int64 numbers
    the combinations of organ and readable attributes; ``masks`` (N, 2, H, W) uint8, of hearts only, else zeros.
    """

    pixels: torch.Tensor
    kinds: Sequence[Kind]
    attributes: Sequence[Attributes]
    meanings: torch.Tensor
    masks: torch.Tensor

    def __len__(self) -> int:
        return len(self.kinds)

    def balanced_rows(
        self, count: int, generator: torch.Generator, skew: Mapping[str, Mapping[str, float]] = MappingProxyType({})
    ) -> torch.Tensor:
        """Rows such that organs are equally likely, and within an organ every combination of attributes.

        ``skew`` gives attributes shares of their levels; the others stay independent of them.
        """
        weights = torch.zeros(len(self), dtype=torch.float64)
        of_kind = np.array(self.kinds)
        for kind in np.unique(of_kind):
            rows = torch.from_numpy(np.flatnonzero(of_kind == kind))
            combinations, inverse, counts = torch.unique(self.meanings[rows], return_inverse=True, return_counts=True)
            weights[rows] = 1.0 / (len(combinations) * counts[inverse].double())
        for name, shares in skew.items():
            level = [shares[str(some[name])] * len(shares) for some in self.attributes]
            weights *= torch.tensor(level, dtype=torch.float64)
        return torch.multinomial(weights, count, replacement=True, generator=generator)

    def captions(
        self, rows: torch.Tensor, rng: np.random.Generator, unsaid: Mapping[str, float] = MappingProxyType({})
    ) -> list[str]:
        """Captions of the rows, each a paraphrase drawn by ``rng``; attributes are ``unsaid`` with these chances."""
        return [compose(self.kinds[row], self._said(row, rng, unsaid), rng) for row in rows.tolist()]

    def _said(self, row: int, rng: np.random.Generator, unsaid: Mapping[str, float]) -> Attributes:
        told = self.attributes[row]
        return {name: level for name, level in told.items() if name not in unsaid or rng.random() >= unsaid[name]}


def captioned(pictures: Mapping[Kind, Pictures]) -> Captioned:
    """The clear ones among pictures of several organs."""
    pixels, masks, kinds, attributes, meanings = [], [], [], [], []
    numbers: dict[tuple[str, ...], int] = {}
    for kind, some in pictures.items():
        told = [attributes_of(kind, dict(row)) for _, row in some.table.iterrows()]
        clear = [row for row, what in enumerate(told) if is_clear(what)]
        shown = some.pixels[clear]
        pixels.append(shown.expand(-1, 3, -1, -1).half())
        extent = (len(clear), 2, *shown.shape[2:])
        masks.append(torch.zeros(extent, dtype=torch.uint8) if some.masks is None else some.masks[clear])
        for row in clear:
            kinds.append(kind)
            attributes.append(told[row])
            meanings.append(numbers.setdefault(_meaning(kind, told[row]), len(numbers)))
    return Captioned(torch.cat(pixels), kinds, attributes, torch.tensor(meanings), torch.cat(masks))


def _meaning(kind: Kind, attributes: Attributes) -> tuple[str, ...]:
    return kind, *(str(level) for name, level in attributes.items() if name not in UNREAD.get(kind, ()))
