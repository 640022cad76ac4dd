"""Setting a fine-tuned reconstruction model before an audit, beside the model that it came from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import pandas as pd

from evenhand.audit.v1 import audit_pb2
from evenhand.calls import resource_name
from evenhand.errors import InvalidInput
from evenhand.resources.v1 import model_pb2
from evenhand.tuning import model_version

Baseline = Literal["base", "original"]
COLUMNS = ("pipelines", "measure", "before", "after", "change", "95 % limits", "changed in")


def before_after_spec(
    cohort: str,
    base: model_pb2.Model,
    tuned: Sequence[model_pb2.Model],
    *,
    predictor: str = "",
    attributes: Sequence[str] = (),
    labels: Sequence[str] = (),
    baseline: Baseline = "base",
    preset: str = "",
    seed: int = 0,
) -> audit_pb2.AuditSpec:
    """The audit of ``base`` and the versions ``tuned`` from it: degraded, restored, read by the same classifier.

    Args:
        cohort: "cohorts/…".
        predictor: "chest-classifier@1"; empty means the one that fairness was measured through.
        attributes: empty means those that were to be served alike.
        labels: empty means all that the classifier reads and the cohort has.
        baseline: with "original" a pipeline that reads the undegraded images is what all others are compared with.
        preset: an acquisition, "mri-8x"; empty means the one that the base was trained for.

    Raises:
        InvalidInput: there is no version, one was not fine-tuned from another, they came from different ones, or the
            base does not say what it restores and no preset does.
    """
    if not tuned:
        raise InvalidInput("name a version to set beside its base", field="versions")
    if not preset and not base.HasField("degradation"):
        raise InvalidInput(f"{_short(versioned(base))} does not say what it restores; give a preset", field="preset")
    for model in tuned:
        if model.lineage.base != versioned(base):
            came = f"came from {_short(model.lineage.base)}" if model.lineage.base else "was trained from scratch"
            raise InvalidInput(
                f"{_short(versioned(model))} {came}, not from {_short(versioned(base))}; audit each with its own base",
                field="versions",
            )
    lineage = tuned[0].lineage
    reading = audit_pb2.Stage(classify=_reader(predictor or lineage.predictor))
    degrade = audit_pb2.Stage(degrade=audit_pb2.Degradation(preset=preset) if preset else base.degradation)
    original = audit_pb2.Pipeline(name="original", stages=[reading])
    restored = [
        audit_pb2.Pipeline(
            name=_short(versioned(model)),
            stages=[degrade, audit_pb2.Stage(reconstruct=versioned(model)), reading],
        )
        for model in (base, *tuned)
    ]
    return audit_pb2.AuditSpec(
        cohort=resource_name("cohorts", cohort),
        pipelines=[original, *restored] if baseline == "original" else restored,
        attributes=attributes or lineage.attributes or ["sex"],
        labels=labels,
        seed=seed,
    )


def versioned(model: model_pb2.Model) -> str:
    """ "models/xray-unet@2"."""
    return f"{model.name}@{model.version}"


def changes_table(audits: Iterable[model_pb2.ModelAudit]) -> pd.DataFrame:
    """One row a candidate and measure: before, after, change with limits, all means over labels.

    "1 of 2 labels": the means are of two labels, and in one of them the audit found a change. What the cards of several
    versions say alike comes once.
    """
    rows = {
        (one.audit, change.candidate, change.metric, change.attribute): _row(change)
        for one in audits
        for change in one.changes
    }
    return pd.DataFrame(rows.values(), columns=list(COLUMNS))


def _row(change: model_pb2.AuditedChange) -> tuple[object, ...]:
    return (
        f"{change.baseline} → {change.candidate}",
        f"{change.metric.upper()} by {change.attribute}" if change.attribute else change.metric.upper(),
        change.before,
        change.after,
        change.change,
        f"{change.ci_low:+.3g} to {change.ci_high:+.3g}" if change.HasField("ci_low") else "",
        f"{change.found} of {change.labels} label{'s' if change.labels != 1 else ''}",
    )


def _reader(name: str) -> str:
    model, version = model_version(name)
    return f"{model}@{version}" if version else model


def _short(name: str) -> str:
    return name.removeprefix("models/")
