"""Phantom patients as tensors that a recipe learns from, through the same pixel path as serving."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from services.maths.imaging.degradation import degrade
from services.maths.phantoms import draw_records
from services.maths.phantoms.cardiac import bmi_level
from services.maths.phantoms.worlds import Kind, patient_name
from services.maths.pixels import resize_masks, to_model
from services.training.recipes import Recipe

# Streams of training, validation and held-out patients under one recipe seed.
TRAINING, VALIDATION, HELD_OUT = 0, 1, 2
_ROLES = 3
DRAWN_AT = 128
_LEVEL_OF: Mapping[str, Callable[[float], str]] = {"bmi": bmi_level}  # of attributes that phantoms have as numbers


@dataclass(frozen=True)
class Examples:
    """N examples.

    ``inputs`` (N, C, 64, 64) float32 in the model's range. ``targets`` float32: labels (N, K) with NaN for missing, an
    attribute's level as one-hot (N, K), masks (N, 1, 64, 64), or undegraded images (N, 1, 64, 64). ``patients`` (N,).
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    patients: np.ndarray

    def __len__(self) -> int:
        return len(self.patients)


def phantom_seed(seed: int, role: int) -> int:
    """The stream of a role's patients; no patient is in two."""
    return _ROLES * seed + role


def phantom_names(kind: Kind, patients: Mapping[int, int], seed: int) -> set[str]:
    """Who is drawn. ``patients``: role → how many."""
    return {
        patient_name(kind, phantom_seed(seed, role), index)
        for role, count in patients.items()
        for index in range(count)
    }


def draw_examples(
    recipe: Recipe, role: int, patients: int, seed: int, check: Callable[[], None] = lambda: None
) -> Examples:
    """The examples of ``patients`` patients in a role; ``check`` is called between patients and may raise to stop."""
    images, masks, rows = [], [], []
    for patient in range(patients):
        check()
        records = list(draw_records(recipe.kind, recipe.world, patient, phantom_seed(seed, role), DRAWN_AT))
        images.append(to_model(np.stack([record.image for record in records]), recipe.pixels))
        drawn = np.stack([record.mask for record in records])
        masks.append(resize_masks(drawn, recipe.pixels.height, recipe.pixels.width))
        rows += [record.row for record in records]
    table = pd.DataFrame(rows)
    originals = np.concatenate(images)
    inputs = originals
    if recipe.degradation:
        names = [f"{role}-{name}" for name in table["record_id"]]
        inputs = degrade(originals, names, seed=seed, **recipe.degradation)
    targets = _targets(recipe, table, originals, np.concatenate(masks))
    return Examples(
        torch.from_numpy(inputs), torch.from_numpy(targets.astype(np.float32)), table["patient_id"].to_numpy()
    )


def _targets(recipe: Recipe, table: pd.DataFrame, originals: np.ndarray, masks: np.ndarray) -> np.ndarray:
    if recipe.task == "reconstruction":
        return originals
    if recipe.task == "segmentation":
        return masks[:, None]
    if recipe.task == "attribute-classification":
        shown = table[recipe.label_column].map(_LEVEL_OF.get(recipe.label_column, str))
        return np.stack([shown == level for level in recipe.labels], axis=1)
    return table[list(recipe.labels)].to_numpy(np.float32, na_value=np.nan)
