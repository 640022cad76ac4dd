"""Trained weights as a package that the model hosts read: ``<name>/<version>/model.yaml`` and its safetensors."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import yaml
from safetensors.torch import save

from services.adapters.learned import FILENAME, Learned, learned_json
from services.adapters.weights import ModelRecord
from services.training.recipes import MODALITIES, Recipe

WEIGHTS = "weights.safetensors"
LICENCE = "Apache-2.0"


def describe(
    recipe: Recipe,
    version: str,
    weights: bytes,
    *,
    seed: int,
    patients: int,
    validation_patients: int,
    thresholds: Mapping[str, float],
    scores: Mapping[str, float],
    lineage: Mapping[str, Any] | None = None,
    learned_from: Mapping[str, Any] | None = None,
) -> ModelRecord:
    """The ``model.yaml`` of a package; checked by the same class that the hosts read it with.

    ``lineage`` is what its ``training`` says beside the recipe, the patients and the seed. ``learned_from`` are the
    fields of its LearnedFrom.
    """
    gives_images = recipe.task in ("reconstruction", "segmentation")
    return ModelRecord.model_validate(
        {
            "name": recipe.name,
            "version": version,
            "task": recipe.task,
            "family": recipe.family,
            "architecture": dict(recipe.architecture),
            "input": asdict(recipe.pixels),
            "output": asdict(recipe.pixels) if gives_images else None,
            "modality": MODALITIES[recipe.kind],
            "degradation": dict(recipe.degradation) or None,
            "restoration": dict(recipe.restoration) or None,
            "labels": recipe.labels,
            "label_column": recipe.label_column,
            "thresholds": dict(thresholds),
            "threshold_source": {"split": "validation", "cohort": recipe.digest, "patients": validation_patients}
            if thresholds
            else None,
            "training": {
                "recipe": recipe.name,
                "digest": recipe.digest,
                "patients": patients,
                "seed": seed,
                **(lineage or {}),
            },
            "learned_from": dict(learned_from) if learned_from else None,
            "licence": LICENCE,
            "scores": {name: round(value, 4) for name, value in scores.items()},
            "files": {WEIGHTS: hashlib.sha256(weights).hexdigest()},
        }
    )


def weights_bytes(state: Mapping[str, torch.Tensor], *, half: bool = False) -> bytes:
    """All tensors as safetensors in float32, the counters of batch normalisation among them.

    With ``half`` all but these counters are float16; hosts compute in float32 all the same.
    """
    return save(
        {
            name: (tensor.half() if half and tensor.is_floating_point() else tensor.float()).contiguous()
            for name, tensor in state.items()
        }
    )


def listed(lists: Sequence[Learned]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What ``model.yaml`` says of whom the model learned from, and the file; the model's own list comes first."""
    data = learned_json(lists)
    said = {"file": FILENAME, "sha256": hashlib.sha256(data).hexdigest(), "patients": len(lists[0].hashes)}
    return said, {FILENAME: data}


def write_package(
    registry: Path, record: ModelRecord, weights: bytes, others: Mapping[str, bytes] = MappingProxyType({})
) -> Path:
    """Write ``registry/<name>/<version>/``; ``model.yaml`` last and by rename, so that nobody reads half a package.

    ``others`` are files beside the weights, by name.
    """
    folder = registry / record.name / record.version
    folder.mkdir(parents=True, exist_ok=True)
    for filename, data in {WEIGHTS: weights, **others}.items():
        (folder / filename).write_bytes(data)
    write_record(folder, record)
    return folder


def write_record(folder: Path, record: ModelRecord) -> None:
    """``model.yaml``, by rename: with it the package is there."""
    plain = record.model_dump(mode="json", exclude_defaults=True) | {"backend": record.backend}
    draft = folder / "model.yaml.draft"
    draft.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), "utf-8")
    draft.replace(folder / "model.yaml")


def file_digests(folder: Path, *, apart: Collection[str] = ()) -> dict[str, str]:
    """sha256 of each file below a package's folder, but for ``model.yaml`` and those named in ``apart``."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in apart)
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not path.name.startswith("model.yaml")
    }


def next_version(registries: Iterable[Path], name: str) -> str:
    """One more than the highest version of ``name`` in any of the registry folders; "1" for the first."""
    versions = [path.name for root in registries for path in (root / name).glob("*") if path.name.isdigit()]
    return str(max(map(int, versions), default=0) + 1)
