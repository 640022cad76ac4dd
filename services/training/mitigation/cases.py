"""The images of a fine-tuning beside what is known of each: drawn as phantoms, or read from the shards of a cohort."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from services.adapters.object_store import ObjectStore
from services.errors import InvalidInput
from services.maths.fairness.groups import Grouping, intersect
from services.maths.imaging.degradation import degrade
from services.maths.mitigation.attributes import NOT_RECORDED, Missing, trainable
from services.maths.phantoms import draw_records
from services.maths.phantoms.worlds import Kind, patient_name
from services.maths.pixels import PixelSpec, to_model
from services.training.cohorts import record_images
from services.training.examples import DRAWN_AT, HELD_OUT, TRAINING, phantom_seed
from services.training.mitigation.people import phantom_attributes

Check = Callable[[], None]

_PREFIX = "attribute_"


@dataclass(frozen=True)
class Cases:
    """N images of one role.

    ``degraded`` and ``clean`` (N, C, H, W) float32 in [0, 1]; ``labels`` (N, K) float32 in {0, 1}, NaN where unread;
    ``groups`` one (N,) int64 tensor an attribute; ``patients`` (N,).
    """

    degraded: torch.Tensor
    clean: torch.Tensor
    labels: torch.Tensor
    groups: tuple[torch.Tensor, ...]
    patients: np.ndarray

    def __len__(self) -> int:
        return len(self.patients)

    def rows(self, where: torch.Tensor) -> Cases:
        """A selection of the images, by number."""
        groups = tuple(codes[where] for codes in self.groups)
        return Cases(self.degraded[where], self.clean[where], self.labels[where], groups, self.patients[where.numpy()])


@dataclass(frozen=True)
class Data:
    """All roles of a fine-tuning. ``groupings`` are the attributes, whose groups all roles share; ``digest`` is the
    sha256 over what is learned from and chosen on."""

    training: Cases
    validation: Cases
    held_out: Cases
    groupings: tuple[Grouping, ...]
    digest: str


def attribute_groupings(people: pd.DataFrame, attributes: Sequence[str], missing: Missing) -> tuple[Grouping, ...]:
    """The attributes of every row, groups numbered alike in all roles; -1 only in held-out rows.

    Raises InvalidInput ATTRIBUTE_NOT_TRAINABLE for one with missing values (with their count) or one level among the
    rows that are learned from, and ATTRIBUTE_UNKNOWN for one that the data do not have.
    """
    return tuple(_grouping(people, name, index, missing) for index, name in enumerate(attributes))


def _grouping(people: pd.DataFrame, name: str, index: int, missing: Missing) -> Grouping:
    at = f"mitigation.attributes[{index}]"
    known = [str(column)[len(_PREFIX) :] for column in people if str(column).startswith(_PREFIX)]
    unknown = [part for part in name.split(",") if part not in known]
    if unknown:
        raise InvalidInput(
            f"the data have no attribute {unknown[0]!r}; they have {', '.join(known)}",
            field=at,
            reason="ATTRIBUTE_UNKNOWN",
        )
    role = people["role"].to_numpy()
    parts = [_levels(people[_PREFIX + part], part, role != HELD_OUT, missing) for part in name.split(",")]
    try:
        for part in parts:
            trainable([part.take(np.flatnonzero(role != HELD_OUT))])
            trainable([part.take(np.flatnonzero(role == TRAINING))])
    except ValueError as error:
        raise InvalidInput(str(error), field=at, reason="ATTRIBUTE_NOT_TRAINABLE") from error
    return intersect(parts)


def _levels(column: pd.Series, name: str, learned: np.ndarray, missing: Missing) -> Grouping:
    """Numbered by the levels that are learned from: another one, which only held-out rows have, is -1."""
    if missing == "own-group":
        column = column.fillna(NOT_RECORDED)
    levels = sorted(column[learned].dropna().unique())
    return Grouping(name, tuple(levels), pd.Index(levels, dtype=object).get_indexer(column).astype(np.int64))


def phantom_images(
    kind: Kind, world: str, patients: Mapping[int, int], *, seed: int, spec: PixelSpec, check: Check
) -> tuple[pd.DataFrame, np.ndarray]:
    """People, one row an image with its labels, and canonical images in the same order. ``patients``: role → how many.

    ``check`` is called between patients and may raise to stop.
    """
    rows: list[dict[str, Any]] = []
    images = []
    for role, count in patients.items():
        for index in range(count):
            check()
            drawn = phantom_seed(seed, role)
            records = list(draw_records(kind, world, index, drawn, DRAWN_AT))
            images.append(to_model(np.stack([record.image for record in records]), spec))
            rows += [_phantom_row(record.row, role, patient_name(kind, drawn, index)) for record in records]
    return pd.DataFrame(rows), np.concatenate(images)


def _phantom_row(row: Mapping[str, Any], role: int, patient: str) -> dict[str, Any]:
    names = {"record_id": f"{role}-{row['record_id']}", "patient_id": patient}
    return {**names, "role": role, **phantom_attributes(row), **{f"label_{name}": value for name, value in row.items()}}


def cohort_images(
    store: ObjectStore, manifest: Mapping[str, Any], people: pd.DataFrame, spec: PixelSpec, check: Check
) -> np.ndarray:
    """Images of the cohort's records that are among ``people``, in their order. ``check`` is called between shards."""
    wanted = set(people["record_id"])
    found = record_images(store, manifest, spec, check)
    return np.concatenate([image for record_id, image in found if record_id in wanted])


def assemble(
    people: pd.DataFrame,
    images: np.ndarray,
    *,
    labels: Sequence[str],
    groupings: tuple[Grouping, ...],
    degradation: Mapping[str, Any],
    seed: int,
) -> Data:
    """Degrade the images, each by its record's own noise, and part them by role. Held-out images without a group of
    every attribute are left out."""
    degraded = degrade(images, list(people["record_id"]), seed=seed, **degradation)
    read = people[[f"label_{label}" for label in labels]].to_numpy(np.float32, na_value=np.nan)
    codes = (
        np.stack([grouping.codes for grouping in groupings], axis=1) if groupings else np.zeros((len(people), 0), int)
    )
    role = people["role"].to_numpy()
    everything = Cases(
        torch.from_numpy(degraded),
        torch.from_numpy(images),
        torch.from_numpy(read),
        tuple(torch.from_numpy(codes[:, place].copy()) for place in range(codes.shape[1])),
        people["patient_id"].to_numpy(),
    )
    parts = [
        everything.rows(torch.from_numpy(np.flatnonzero((role == one) & (codes >= 0).all(axis=1)))) for one in range(3)
    ]
    return Data(parts[0], parts[1], parts[2], groupings, _digest(parts[:2]))


def _digest(parts: Sequence[Cases]) -> str:
    summary = hashlib.sha256()
    for part in parts:
        for tensor in (part.degraded, part.clean, part.labels, *part.groups):
            summary.update(f"{tuple(tensor.shape)} {tensor.dtype};".encode())
            summary.update(tensor.contiguous().numpy().tobytes())
    return summary.hexdigest()
