"""A whole downstream study: checks, arms, metrics, distances, the report and its page."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from services.errors import FailedPrecondition, InvalidInput
from services.maths.canonical import canonical_json, digest
from services.maths.fairness.cells import Minimums
from services.platform.augmentation.distances import Encode, distance_matrices
from services.platform.augmentation.learning import Progress, arm_records, learn, seed_of, thresholds
from services.platform.augmentation.measuring import Rows, arm_rows, gap_rows, group_rows, measure, widest_rows
from services.platform.augmentation.orders import Order
from services.platform.augmentation.records import SPLITS, TEST, TRAIN, VALIDATION, Records, check_sources, check_splits

SCHEMA = "1.0"
PARTS = "repeats"
MINIMUMS = Minimums(cases=10, patients=5)


def study(
    order: Order,
    real: Records,
    synthetic: Mapping[str, Records],
    names: dict[str, list[str]],
    folder: Path,
    *,
    facts: Mapping[str, Any],
    fidelity: Mapping[str, Mapping[str, Any]],
    encode: Encode | None,
    encoder: str = "",
    progress: Progress = lambda *_: None,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The report as plain data, and predictions.parquet and report.json by name.

    ``names`` are each attribute's levels in order. ``facts`` are said of the cohorts as they are; ``fidelity`` of each
    synthetic source. Finished repeats lie in ``folder``/repeats. Errors name what is wrong before anything is learned.
    """
    check(order, real, synthetic, names)
    predictions = learn(order, real, dict(synthetic), folder / PARTS, progress)
    chosen = thresholds(predictions)
    progress("measuring", 0, 1)
    levels = real.levels.set_axis(pd.Index(real.record), axis=0)
    measured = measure(predictions, chosen, levels, order=order, names=names, minimums=MINIMUMS)
    report = {
        "schema_version": SCHEMA,
        "kind": "augmentation",
        "label": order.label,
        "order": asdict(order),
        "seeds": [seed_of(order, repeat) for repeat in range(order.repeats)],
        "baseline": order.baseline.name,
        "cohorts": dict(facts),
        "splits": _splits(real),
        "fidelity": {name: dict(found) for name, found in fidelity.items()},
        "arms": arm_rows(order, _counts(order, real, synthetic), chosen),
        "groups": group_rows(measured, order),
        "gaps": gap_rows(measured, order),
        "widest": widest_rows(measured, order),
        "distances": [],
        "encoder": encoder,
        "minimums": asdict(MINIMUMS),
    }
    progress("measuring", 1, 1)
    if encode is not None and order.distances.attributes:
        progress("comparing images", 0, 1)
        report["distances"] = distance_matrices(
            real,
            synthetic,
            order.distances,
            names=names,
            label=order.label,
            encode=encode,
            seed=order.seed,
        )
        progress("comparing images", 1, 1)
    report["digest"] = digest(report)
    file = io.BytesIO()
    predictions.to_parquet(file, index=False)
    return report, {"report.json": canonical_json(report) + b"\n", "predictions.parquet": file.getvalue()}


def check(order: Order, real: Records, synthetic: Mapping[str, Records], names: Mapping[str, list[str]]) -> None:
    """All that can be refused before a classifier learns."""
    for attribute in order.single_attributes():
        if attribute not in names or attribute not in real.levels:
            raise InvalidInput(
                f"the cohort has no attribute {attribute!r}; it has {', '.join(map(str, real.levels))}",
                field="attributes",
            )
    for place, gap in enumerate(order.gaps):
        parts = [part.strip() for part in gap.attribute.split(",")]
        for group in (gap.better, gap.worse):
            levels = [level.strip() for level in group.split(", ")]
            if len(levels) != len(parts) or any(one not in names[of] for one, of in zip(levels, parts, strict=True)):
                raise InvalidInput(f"{group!r} is no group of {gap.attribute}", field=f"gaps[{place}]")
    check_splits(real)
    for name, records in synthetic.items():
        check_sources(real, records, name)
    for place, arm in enumerate(order.arms):
        if not arm.synthetic:
            continue
        if arm.source not in synthetic:
            listed = ", ".join(synthetic) or "none"
            raise InvalidInput(
                f"there is no synthetic cohort {arm.source!r}; there are {listed}", field=f"arms[{place}]"
            )
        if len(synthetic[arm.source]) < arm.synthetic:
            raise FailedPrecondition(
                f"{arm.name} needs {arm.synthetic} synthetic images, {arm.source} has {len(synthetic[arm.source])}",
                field=f"arms[{place}].synthetic",
                reason="TOO_FEW_SYNTHETIC",
            )


def _splits(real: Records) -> Rows:
    return [
        {
            "split": split,
            "records": int((real.split == split).sum()),
            "patients": len(np.unique(real.patient[real.split == split])),
            "positives": int(real.label[real.split == split].sum()),
        }
        for split in SPLITS
    ]


def _counts(order: Order, real: Records, synthetic: Mapping[str, Records]) -> dict[str, dict[str, int]]:
    counts = {}
    for arm in order.arms:
        records = arm_records(real, synthetic.get(arm.source), arm, order)
        count = len(records) - arm.synthetic
        counts[arm.name] = {
            "real_images": count,
            "synthetic_images": arm.synthetic,
            "synthetic_source_patients": len(np.unique(records.patient[count:])),
            "positives": int(records.label.sum()),
        }
    return counts


__all__ = ["TEST", "TRAIN", "VALIDATION", "check", "study"]
