"""Where a pipeline's thresholds came from: a threshold that was fitted on what it is then judged on flatters its model.

A model says so itself, in the ``threshold_source`` of its model.yaml: split, cohort (its digest, or a recipe's) and
patients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from services.audit.pipeline import ModelStage, ResolvedPipeline, ThresholdRecord
from services.errors import FailedPrecondition

UNKNOWN = "unknown"
FITTED = "fitted"
FIXED = "fixed at 0.5, not fitted"

_FLATTERED = "TPR, FPR and balanced accuracy are flattered"


def threshold_records(
    pipelines: Sequence[ResolvedPipeline],
    catalogue: Sequence[Mapping[str, Any]],
    *,
    cohort_digest: str,
    allow_test: bool,
) -> Iterator[ThresholdRecord]:
    """One record for each pipeline and label that it calls by a threshold, in the order of pipelines and stages.

    Raises FailedPrecondition (THRESHOLDS_FITTED_ON_TEST) for a model whose thresholds were fitted on test data or on
    the cohort with ``cohort_digest``, unless ``allow_test``.
    """
    models = {model["digest"]: model for model in catalogue}
    for index, pipeline in enumerate(pipelines):
        for position, stage in enumerate(pipeline.stages):
            if not isinstance(stage, ModelStage):
                continue
            model = models[stage.digest]
            fitted = _fitted_on(model.get("threshold_source") or {}, cohort_digest)
            if fitted and model["thresholds"] and not allow_test:
                raise _refusal(stage.model, fitted, f"spec.pipelines[{index}].stages[{position}].{stage.kind}")
            for label, threshold in zip(stage.labels, stage.thresholds, strict=True):
                if threshold is not None:
                    own = label in model["thresholds"]
                    words = source_in_words(model.get("threshold_source") or {}) if own else FIXED
                    yield ThresholdRecord(pipeline.name, label, threshold, words, own and bool(fitted))


def _fitted_on(source: Mapping[str, Any], cohort_digest: str) -> str:
    """What the thresholds must not have been fitted on and were; empty if all is well or nothing is known."""
    if source.get("cohort") == cohort_digest:
        return "the very cohort to be audited"
    return "test data" if source.get("split") == "test" else ""


def _refusal(model: str, fitted: str, at: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"the thresholds of {model} were fitted on {fitted}, which flatters its rates; choose them on validation data "
        "and say so in model.yaml (threshold_source), or set allow_test_thresholds and the report will say so",
        field=at,
        reason="THRESHOLDS_FITTED_ON_TEST",
    )


def source_in_words(source: Mapping[str, Any]) -> str:
    """model.yaml's ``threshold_source`` for a reader: "validation split, cohort 1b2c3d4e5f60, 600 patients"."""
    if not source:
        return UNKNOWN
    words = [f"{source['split']} split"]
    if source.get("cohort"):
        words.append(f"cohort {source['cohort'][:12]}")
    if source.get("patients") is not None:
        words.append(f"{source['patients']} patients")
    return ", ".join(words)


def doubtful_thresholds(records: Iterable[ThresholdRecord]) -> Iterator[str]:
    """Warnings about thresholds that nobody vouches for, and about those let in although fitted on test data."""
    labels: dict[tuple[str, str], list[str]] = {}
    for record in records:
        doubt = FITTED if record.fitted_on_audited else UNKNOWN if record.source == UNKNOWN else ""
        if doubt:
            labels.setdefault((record.pipeline, doubt), []).append(record.label)
    pipelines: dict[tuple[str, str], list[str]] = {}
    for (pipeline, doubt), names in labels.items():
        pipelines.setdefault((", ".join(names), doubt), []).append(pipeline)
    for (listed, doubt), found in pipelines.items():
        where = f"thresholds of {listed} in {', '.join(found)}"
        if doubt == UNKNOWN:
            yield f"nobody says on which data the {where} were chosen; {_FLATTERED} if it was this cohort"
        else:
            yield f"the {where} were fitted on test data or on this cohort: {_FLATTERED}"
