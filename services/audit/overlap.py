"""Nobody whom a model learned from may be judged by an audit of it: such an audit flatters the model.

A package says itself whom its model and its bases learned from (``services.adapters.learned``), so this needs neither
the training cohort nor the base. Patients are the same when their ids are: two sites that number their patients alike
look as if they shared them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from services.adapters.learned import Learned, read_learned
from services.adapters.object_store import ObjectStore
from services.audit.cohort.counts import read_patients
from services.audit.pipeline import ModelStage, ResolvedAudit
from services.errors import FailedPrecondition
from services.hosting.calls import ModelCalls

KEPT = 2


class Overlaps:
    """The check of one process. Patient ids of the cohorts that were asked for last are kept."""

    def __init__(self, store: ObjectStore, calls: ModelCalls) -> None:
        self._store = store
        self._calls = calls
        self._kept: dict[str, frozenset[str]] = {}

    async def check(
        self, plan: ResolvedAudit, manifest: Mapping[str, Any], catalogue: Sequence[Mapping[str, Any]]
    ) -> None:
        """FailedPrecondition COHORTS_OVERLAP, with the count, for the first stage whose model knows patients of the
        cohort. An audit judges every record of its cohort, so all of them count."""
        listed = {model["digest"] for model in catalogue if model.get("learned_from")}
        stages = [(at, stage) for at, stage in _stages(plan) if stage.digest in listed]
        if not stages:
            return
        patients = await asyncio.to_thread(self._patients, manifest)
        for at, stage in stages:
            lists = read_learned(await self._calls.learned_from(stage.model, stage.version))
            await asyncio.to_thread(_refuse_shared, lists, patients, plan.cohort, at, f"{stage.model}@{stage.version}")

    def _patients(self, manifest: Mapping[str, Any]) -> frozenset[str]:
        found = self._kept.get(manifest["digest"])
        if found is None:
            found = frozenset(read_patients(self._store, manifest))
        self._kept = dict(list({**self._kept, manifest["digest"]: found}.items())[-KEPT:])
        return found


def _stages(plan: ResolvedAudit) -> Iterator[tuple[str, ModelStage]]:
    """The first stage of each model, with the path of its field."""
    seen: set[str] = set()
    for index, pipeline in enumerate(plan.pipelines):
        for position, stage in enumerate(pipeline.stages):
            if isinstance(stage, ModelStage) and stage.digest not in seen:
                seen.add(stage.digest)
                yield f"spec.pipelines[{index}].stages[{position}].{stage.kind}", stage


def _refuse_shared(lists: Sequence[Learned], patients: Collection[str], cohort: str, at: str, model: str) -> None:
    by_model = {one.model: found for one in lists if (found := one.shared(patients))}
    if not by_model:
        return
    shared = len(set().union(*by_model.values()))
    bases = ", ".join(name for name in by_model if name != model)
    through = f" (through {bases}, from which it was fine-tuned)" if bases else ""
    raise FailedPrecondition(
        f"{model} learned from {shared} of the {len(patients)} patients of {cohort}{through}, and an audit of them "
        "flatters it; audit another cohort, or make one of the test split alone (in its schema, keep: {split: [test]})",
        field=at,
        reason="COHORTS_OVERLAP",
        details={"patients": str(shared), "model": model},
    )
