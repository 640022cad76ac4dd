"""From a request to a fine-tuning that can be done: is everything there, and does it fit?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from services.adapters.learned import read_learned
from services.adapters.ledger import Ledger
from services.adapters.object_store import ObjectStore, open_object_store
from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.errors import FailedPrecondition, InvalidInput, UnknownLabel
from services.maths.canonical import digest
from services.maths.phantoms import LABELS
from services.training.cohorts import find_manifest, refuse_synthetic
from services.training.examples import TRAINING, VALIDATION
from services.training.mitigation.cases import attribute_groupings
from services.training.mitigation.people import (
    cohort_patients,
    cohort_people,
    learned_patients,
    phantom_people,
)
from services.training.networks import find_model, pin_of
from services.training.recipes import MODALITIES, PIXELS, Recipe
from services.training.runs import Run
from services.training.settings import Settings
from services.training.tuning import Asked, Source, Tuning

_ONLY_SAMPLING = ("sampler", "steps", "seed")
"""Of a record's ``restoration``: how it is asked, not what it learned."""


@dataclass(frozen=True)
class Found:
    """The data of a request: who is in them, without pixels, and the labels that they have."""

    source: Source
    people: pd.DataFrame
    labels: tuple[str, ...]


def resolve(asked: Asked, run: Run, ledger: Ledger, settings: Settings) -> Tuning:
    """Find what the request names and check that it fits. ``run`` has the recipe, the seed and the patients.

    Raises NotFound (MODEL_NOT_FOUND, COHORT_NOT_FOUND), InvalidInput (TASK_MISMATCH, BASE_OF_ANOTHER_NETWORK,
    PREDICTOR_MISSING, PREDICTOR_MISMATCH, ATTRIBUTE_UNKNOWN, ATTRIBUTE_NOT_TRAINABLE), UnknownLabel, and
    FailedPrecondition (SPLIT_EMPTY, SPLIT_UNKNOWN, COHORTS_OVERLAP, SYNTHETIC_COHORT), each with the field.
    """
    roots = (settings.models, *settings.registries)
    registry = DirectoryRegistry(roots)
    base = _base(registry, asked, run.recipe)
    predictor = _predictor(registry, asked, base)
    store = open_object_store(settings.store)
    found = _data(asked, run, ledger, store)
    attribute_groupings(found.people, asked.mitigation.attributes, asked.mitigation.missing)
    return Tuning(
        pin_of(base),
        pin_of(predictor),
        replace(asked.mitigation, labels=_labels(asked, predictor, found.labels)),
        _apart(asked, found, registry.learned_from(base), ledger, store),
        settings.store,
        tuple(map(str, roots)),
    )


def _base(registry: DirectoryRegistry, asked: Asked, recipe: Recipe) -> ModelRecord:
    base = find_model(registry, asked.base, asked.base_version, "base")
    if base.task != recipe.task:
        raise InvalidInput(
            f"{base.name} does {base.task}; the recipe {recipe.name} is one of {recipe.task}",
            field="base",
            reason="TASK_MISMATCH",
        )
    if digest(_network_of(base)) != digest(_network_of_recipe(recipe)):
        raise InvalidInput(
            f"{base.name}/{base.version} is not the network that the recipe {recipe.name} describes, "
            f"a {recipe.family} for a {MODALITIES[recipe.kind]} of the same widths",
            field="base",
            reason="BASE_OF_ANOTHER_NETWORK",
        )
    return base


def _network_of(base: ModelRecord) -> dict[str, Any]:
    plain = base.model_dump(mode="json")
    return {
        "family": base.family,
        "architecture": plain["architecture"],
        "modality": base.modality,
        "pixels": list(base.input.spec().shape),
        "restoration": _learned(plain.get("restoration") or {}),
    }


def _network_of_recipe(recipe: Recipe) -> dict[str, Any]:
    return {
        "family": recipe.family,
        "architecture": dict(recipe.architecture),
        "modality": MODALITIES[recipe.kind],
        "pixels": list(PIXELS.shape),
        "restoration": _learned(recipe.restoration),
    }


def _learned(restoration: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in restoration.items() if key not in _ONLY_SAMPLING}


def _predictor(registry: DirectoryRegistry, asked: Asked, base: ModelRecord) -> ModelRecord:
    """The named classifier, or the only one that reads what the base gives."""
    at = "mitigation.predictor"
    if asked.predictor:
        predictor = find_model(registry, asked.predictor, asked.predictor_version, at)
        if not _reads(predictor, base):
            raise InvalidInput(
                f"{predictor.name} does not classify what {base.name} gives, a {base.modality} of its size and range",
                field=at,
                reason="PREDICTOR_MISMATCH",
            )
        return predictor
    names = sorted({record.name for record in registry.models() if _reads(record, base)})
    if len(names) != 1:
        raise InvalidInput(
            f"name the classifier that fairness is measured through; for a {base.modality} there are: "
            f"{', '.join(names) or 'none'}",
            field=at,
            reason="PREDICTOR_MISSING",
        )
    return registry.find(names[0])


def _reads(record: ModelRecord, base: ModelRecord) -> bool:
    fits = record.task == "classification" and record.modality == base.modality and record.backend == "torch"
    return fits and base.output is not None and record.input.spec() == base.output.spec()


def _data(asked: Asked, run: Run, ledger: Ledger, store: ObjectStore) -> Found:
    if not asked.cohort:
        people = phantom_people(run.recipe.kind, {TRAINING: run.patients, VALIDATION: run.others}, run.seed)
        return Found(Source(world=asked.world or run.recipe.world), people, tuple(LABELS[run.recipe.kind]))
    key, manifest = find_manifest(ledger, store, asked.cohort, "data.cohort")
    if not asked.allow_synthetic:
        refuse_synthetic(
            manifest, asked.cohort, "data.cohort", "set data.allow_synthetic to learn from them all the same"
        )
    people = cohort_people(store, manifest, patients=run.patients, seed=run.seed)
    labels = tuple(label["name"] for label in manifest["labels"])
    source = Source(asked.cohort, manifest["digest"], key, synthetic="synthetic" in manifest)
    return Found(source, people, labels)


def _labels(asked: Asked, predictor: ModelRecord, known: tuple[str, ...]) -> tuple[str, ...]:
    for index, label in enumerate(asked.mitigation.labels):
        if label not in predictor.labels or label not in known:
            raise UnknownLabel(
                f"{label!r} must be a label of the data and one that {predictor.name} reads",
                field=f"mitigation.labels[{index}]",
            )
    chosen = tuple(label for label in predictor.labels if label in (asked.mitigation.labels or known))
    if not chosen:
        raise UnknownLabel(
            f"{predictor.name} reads none of the labels of the data ({', '.join(known)})", field="mitigation.predictor"
        )
    return chosen


def _apart(asked: Asked, found: Found, base: bytes, ledger: Ledger, store: ObjectStore) -> Source:
    """The source, once nobody who is learned from, or whom the base learned from, is in the cohort of the audit.

    ``base`` is the file of the base's package that lists them.
    """
    if not asked.audit_cohort:
        return found.source
    _, manifest = find_manifest(ledger, store, asked.audit_cohort, "data.audit_cohort")
    audited = cohort_patients(store, manifest)
    shared = learned_patients(found.people) & audited
    shared.update(*(one.shared(audited) for one in read_learned(base)))
    if shared:
        raise FailedPrecondition(
            f"{len(shared)} patients of the training and validation data, of the base's too, are in "
            f"{asked.audit_cohort}; an audit of people whom a model has learned from flatters it",
            field="data.audit_cohort",
            reason="COHORTS_OVERLAP",
            details={"patients": str(len(shared))},
        )
    return replace(found.source, audit_cohort=asked.audit_cohort)
