"""The data of a fine-tuning, with pixels: phantoms drawn anew, or the records of a cohort."""

from __future__ import annotations

from services.adapters.object_store import open_object_store
from services.adapters.weights import ModelRecord
from services.training.cohorts import read_manifest
from services.training.examples import HELD_OUT, TRAINING, VALIDATION
from services.training.mitigation.cases import (
    Check,
    Data,
    assemble,
    attribute_groupings,
    cohort_images,
    phantom_images,
)
from services.training.mitigation.people import cohort_people
from services.training.runs import Run
from services.training.tuning import Tuning


def gather(run: Run, tuning: Tuning, base: ModelRecord, check: Check) -> Data:
    """Everything, in memory, at the base's size, degraded as the recipe says. ``check`` may raise to stop."""
    spec, source = base.input.spec(), tuning.source
    if source.cohort:
        store = open_object_store(tuning.store)
        manifest = read_manifest(store, source.manifest_key)
        people = cohort_people(store, manifest, patients=run.patients, seed=run.seed)
        images = cohort_images(store, manifest, people, spec, check)
    else:
        roles = {TRAINING: run.patients, VALIDATION: run.others, HELD_OUT: run.others}
        people, images = phantom_images(run.recipe.kind, source.world, roles, seed=run.seed, spec=spec, check=check)
    mitigation = tuning.mitigation
    return assemble(
        people,
        images,
        labels=mitigation.labels,
        groupings=attribute_groupings(people, mitigation.attributes, mitigation.missing),
        degradation=run.recipe.degradation,
        seed=run.seed,
    )
