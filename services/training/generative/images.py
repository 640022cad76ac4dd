"""Phantoms as a generative recipe sees them: pictures in the model's range, and the rows that they were drawn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from services.maths.phantoms import draw_records
from services.maths.phantoms.cohorts import PhantomRecord
from services.maths.phantoms.worlds import Kind
from services.maths.pixels import PixelSpec, resize_masks, to_model

DRAWN_AT = 128
TRAINING, VALIDATION, HELD_OUT = 0, 1, 2
_ROLES = 3
_AT_A_TIME = 256


@dataclass(frozen=True)
class Pictures:
    """``pixels`` (N, C, H, W) float32 in [-1, 1], ``table`` their N rows, ``masks`` (N, 2, H, W) uint8 of a heart."""

    pixels: torch.Tensor
    table: pd.DataFrame
    masks: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.table)


def spec(channels: int, size: int) -> PixelSpec:
    """Square pictures in [-1, 1]."""
    return PixelSpec(channels=channels, height=size, width=size, low=-1.0, high=1.0)


def draw_pictures(
    kind: Kind,
    world: str,
    role: int,
    *,
    patients: int,
    seed: int,
    pixels: PixelSpec,
    check: Callable[[], None] = lambda: None,
) -> Pictures:
    """Pictures of ``patients`` patients, who are different ones in each role."""
    parts, rows, masks = [], [], []
    for some in _groups(_records(kind, world, _ROLES * seed + role, patients, check)):
        parts.append(to_model(np.stack([record.image for record in some]), pixels))
        rows += [record.row for record in some]
        masks += [np.stack([record.mask, record.es_mask]) for record in some if record.es_mask is not None]
    hearts = torch.from_numpy(_fitted(np.stack(masks), pixels)) if masks else None
    return Pictures(torch.from_numpy(np.concatenate(parts)), pd.DataFrame(rows), hearts)


def _records(kind: Kind, world: str, stream: int, patients: int, check: Callable[[], None]) -> Iterator[PhantomRecord]:
    for patient in range(patients):
        check()
        yield from draw_records(kind, world, patient, stream, DRAWN_AT)


def _groups(records: Iterator[PhantomRecord]) -> Iterator[list[PhantomRecord]]:
    some: list[PhantomRecord] = []
    for record in records:
        some.append(record)
        if len(some) == _AT_A_TIME:
            yield some
            some = []
    if some:
        yield some


def _fitted(masks: np.ndarray, pixels: PixelSpec) -> np.ndarray:
    count = len(masks)
    flat = resize_masks(masks.reshape(-1, *masks.shape[2:]), pixels.height, pixels.width)
    return flat.reshape(count, 2, pixels.height, pixels.width)
