"""Records of a study as arrays: real ones with their split, synthetic ones with the patient who lent the mask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from services.errors import FailedPrecondition
from services.maths.fairness.groups import Grouping, intersect

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)


@dataclass(frozen=True)
class Records:
    """N records.

    ``pixels`` (N, C, S, S) float32 in [0, 1]. ``label`` (N,) int64 in {0, 1}. ``patient`` (N,) text: of a synthetic
    record, the patient whose mask and attributes it was made from. ``split`` (N,) text, "" for synthetic ones.
    ``levels`` has a column of text an attribute, None where it is not known. ``masks`` (N, 2, S, S) uint8 labels at ED
    and ES, if there are any.
    """

    pixels: npt.NDArray[np.float32]
    label: npt.NDArray[np.int64]
    patient: npt.NDArray[np.str_]
    record: npt.NDArray[np.str_]
    split: npt.NDArray[np.str_]
    levels: pd.DataFrame
    masks: npt.NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: npt.NDArray[Any]) -> Records:
        """Some of the records, by a mask or by numbers."""
        return Records(
            self.pixels[rows],
            self.label[rows],
            self.patient[rows],
            self.record[rows],
            self.split[rows],
            self.levels.iloc[np.flatnonzero(rows) if rows.dtype == bool else rows].reset_index(drop=True),
            None if self.masks is None else self.masks[rows],
        )

    def of(self, split: str) -> Records:
        return self.take(self.split == split)

    def with_label(self, label: npt.NDArray[np.int64]) -> Records:
        return replace(self, label=label)


def joined(first: Records, second: Records) -> Records:
    """Both, one after the other, without masks."""
    return Records(
        np.concatenate([first.pixels, second.pixels]),
        np.concatenate([first.label, second.label]),
        np.concatenate([first.patient, second.patient]),
        np.concatenate([first.record, second.record]),
        np.concatenate([first.split, second.split]),
        pd.concat([first.levels, second.levels], ignore_index=True),
    )


def grouping(levels: pd.DataFrame, attribute: str, order: dict[str, list[str]]) -> Grouping:
    """Groups by one attribute ("bmi") or by an intersection of several ("sex,bmi"), in the order of their levels."""
    parts = [part.strip() for part in attribute.split(",")]
    return intersect([_by_one(levels, part, order[part]) for part in parts])


def _by_one(levels: pd.DataFrame, attribute: str, names: list[str]) -> Grouping:
    places = {name: place for place, name in enumerate(names)}
    codes = np.array([places.get(level, -1) for level in levels[attribute]], np.int64)
    return Grouping(attribute, tuple(names), codes)


def check_splits(real: Records) -> None:
    """FailedPrecondition where a patient is in two splits, a split is empty, or one lacks a class."""
    pairs = {(patient, split) for patient, split in zip(real.patient, real.split, strict=True)}
    twice = len(pairs) - len({patient for patient, _ in pairs})
    if twice:
        raise FailedPrecondition(
            f"{twice} patients are in more than one split; a patient belongs to one",
            field="split",
            reason="PATIENT_IN_TWO_SPLITS",
        )
    for split in SPLITS:
        found = real.label[real.split == split]
        if len(np.unique(found)) < 2:
            raise FailedPrecondition(
                f"the split {split} has {len(found)} records with the label and needs some of both classes",
                field="split",
                reason="SPLIT_EMPTY",
            )


def check_sources(real: Records, synthetic: Records, name: str) -> None:
    """FailedPrecondition, with the count, where a synthetic record was made from a patient who judges or chooses.

    Masks and prompts are of a patient too: a classifier that learned from their copies has seen the test.
    """
    held_out = set(real.patient[real.split != TRAIN])
    leaking = np.array([patient in held_out for patient in synthetic.patient], bool)
    if leaking.any():
        patients = len(set(synthetic.patient[leaking]))
        raise FailedPrecondition(
            f"{int(leaking.sum())} of {len(synthetic)} synthetic records of {name} were made from {patients} patients "
            "of the validation or test split; draw the synthetic cohort from split train",
            field=name,
            reason="SYNTHETIC_SOURCE_HELD_OUT",
        )
