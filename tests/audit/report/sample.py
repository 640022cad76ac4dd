"""Report 2.1 documents of any size, made up number by number: what a page must show is chosen here, not measured."""

import itertools
import random
from dataclasses import dataclass, field
from typing import Any

from services.audit.results.methods import metric_cards

TOLERANCES = {"auroc": 0.05, "tpr": 0.1, "fpr": 0.1, "prevalence": 0.1, "dice": 0.05, "psnr": 1.0}
GAPS = {
    "classification": [
        ("max_min", "auroc"),
        ("eop", "tpr"),
        ("eodd_half", "tpr,fpr"),
        ("eodd_worst", "tpr,fpr"),
        ("max_min", "prevalence"),
        ("max_min", "brier"),
    ],
    "segmentation": [("ser", "dice"), ("delta_dice", "dice")],
    "reconstruction": [("max_min", "psnr"), ("percent_max_min", "psnr")],
}
METRICS = {
    "classification": ["auroc", "tpr", "fpr", "balanced_accuracy", "prevalence", "brier", "ece"],
    "segmentation": ["dice"],
    "reconstruction": ["psnr"],
}


@dataclass
class ReportSample:
    """What the made-up audit covers. ``finding`` plants gaps and changes; ``undefined`` leaves nothing with a value."""

    labels: tuple[str, ...] = ("Edema", "Fracture")
    levels: dict[str, list[str]] = field(default_factory=lambda: {"sex": ["Female", "Male"], "age": ["0-60", "60+"]})
    attributes: tuple[str, ...] = ("sex", "age", "sex,age")
    candidates: tuple[str, ...] = ("unet", "gan")
    quality: bool = True
    finding: bool = True
    undefined: bool = False
    fitted: bool = False

    def report(self) -> dict[str, Any]:
        """The document, valid by report.schema.json."""
        return _Maker(self).report()


class _Maker:
    def __init__(self, sample: ReportSample) -> None:
        self.sample, self.draw = sample, random.Random(5)
        self.groups = {
            a: [", ".join(g) for g in itertools.product(*(sample.levels[part] for part in a.split(",")))]
            for a in sample.attributes
        }
        self.pipelines = ["original", *sample.candidates]
        self.targets = [("classification", label) for label in sample.labels]
        self.targets += [("segmentation", ""), ("reconstruction", "")] if sample.quality else []
        self.cells, self.gaps, self.changes = [], [], []

    def report(self):
        for task, label in self.targets:
            for metric in METRICS[task]:
                self._metric(task, label, metric)
            for attribute in self.sample.attributes:
                for definition, metric in GAPS[task]:
                    self._gap(task, label, attribute, definition, metric)
        cohort = {"digest": "c" * 64, "patients": 400, "records": 800}
        rows = {
            kind: {"rows": 1600, "sha256": letter * 64} for kind, letter in (("predictions", "d"), ("quality", "e"))
        }
        return {
            "schema_version": "2.1",
            "digest": "f" * 64,
            "cohort": cohort,
            "cells": self.cells,
            "gaps": self.gaps,
            "changes": self.changes,
            "families": self._families(),
            "published": self._published(),
            "methods": self._methods(),
            "provenance": {"rows": rows, "seed": 7, "cohort": {**cohort, **self._people()}},
            "envelope": {"display_name": "Phantom audit", "create_time": "2026-01-02T03:04:05Z"},
        }

    def _readers(self, task, metric):
        """The baseline alone counts prevalence, and reconstructs nothing."""
        if metric == "prevalence":
            return self.pipelines[:1]
        return self.pipelines[1:] if task == "reconstruction" else self.pipelines

    def _metric(self, task, label, metric):
        for pipeline in self._readers(task, metric):
            self.cells.append(self._cell((pipeline, task, label, metric), "", "overall"))
            for attribute in self.sample.attributes:
                for group in [*self.groups[attribute], "(missing)"]:
                    self.cells.append(self._cell((pipeline, task, label, metric), attribute, group))
        if metric != "prevalence" and task != "reconstruction":
            for candidate in self.sample.candidates:
                self._change((candidate, task, label, metric), "", "overall", 0.01)

    def _cell(self, key, attribute, group):
        _, task, label, metric = key
        state = "undefined" if self.sample.undefined else self._state(attribute, group, label)
        value = {"psnr": 31.0}.get(metric, 0.8) + self.draw.uniform(-0.05, 0.05)
        known, place = state != "undefined", bool(attribute) and group != "(missing)"
        tested = known and place and state == "ok" and metric in TOLERANCES
        apart = value - 0.8 if metric != "psnr" else value - 31.0
        planted = tested and self.sample.finding and (label, group, metric) == ("Edema", "Female", "tpr")
        positives = None if task != "classification" else (7 if state == "insufficient" else 123)
        return {
            **dict(zip(("pipeline", "task", "label", "metric"), key, strict=True)),
            "attribute": attribute,
            "group": group,
            "records": 331 if known else 0,
            "patients": 211 if known else 0,
            "deciding_patients": 61 if known else 0,
            "positives": positives if known or positives is None else 0,
            "excluded_records": 3,
            "state": state,
            "estimate": value if known else None,
            "standard_error": 0.02 if known else None,
            "ci_low": value - 0.04 if known else None,
            "ci_high": value + 0.04 if known else None,
            "shrunken": value if known and place else None,
            "difference": apart if known and place else None,
            "difference_ci_low": apart - 0.04 if known and place else None,
            "difference_ci_high": apart + (0.04 if not planted else -0.001) if known and place else None,
            "p_value": 0.0005 if planted else 0.4 if tested else None,
            "p_adjusted": 0.004 if planted else 1.0 if tested else None,
            "family": self._family(metric, attribute) if tested else None,
            "minimum_detectable_gap": 0.07 if tested else None,
            "verdict": None if not (place and metric in TOLERANCES) else "gap" if planted else "insufficient_evidence",
        }

    def _state(self, attribute, group, label):
        if group in ("(missing)", "80+"):
            return "insufficient"
        return "wide" if "," in attribute or label == "Fracture" else "ok"

    def _family(self, metric, attribute):
        return "cohort" if metric == "prevalence" else "exploratory" if "," in attribute else "primary"

    def _gap(self, task, label, attribute, definition, metric):
        groups = [g for g in self.groups[attribute] if self._state(attribute, g, label) in ("ok", "wide")]
        known = not self.sample.undefined and len(groups) > 1
        equal = 1.0 if definition == "ser" else 0.0
        for pipeline in self._readers(task, metric):
            value = equal + self.draw.uniform(0.01, 0.2)
            planted = (
                known and self.sample.finding and definition == "eop" and attribute == "sex" and pipeline == "unet"
            )
            self.gaps.append(
                {
                    **{"pipeline": pipeline, "task": task, "label": label, "metric": metric, "attribute": attribute},
                    **{"definition": definition, "group": "", "reference": ""},
                    "estimate": value if known else None,
                    "noise_floor": equal + 0.05 if known else None,
                    "corrected": value - 0.01 if known else None,
                    "ci_low": equal + (0.003 if planted else 0) if known else None,
                    "ci_high": value + 0.1 if known else None,
                    "p_value": 0.4 if known else None,
                    "p_adjusted": 0.004 if planted else 1.0 if known else None,
                    "family": self._family(metric, attribute) if known else None,
                    "minimum_detectable_gap": 0.12 if known else None,
                    "verdict": "gap" if planted else "insufficient_evidence",
                    "groups": groups if known else [],
                    "excluded_groups": [g for g in self.groups[attribute] if not known or g not in groups],
                }
            )
        if metric != "prevalence" and task != "reconstruction":
            for candidate in self.sample.candidates:
                self._change((candidate, task, label, metric), attribute, definition, 0.03 if known else None)

    def _change(self, key, attribute, definition, value):
        known = value is not None and not self.sample.undefined
        planted = known and self.sample.finding and definition == "eop" and attribute == "sex" and key[0] == "unet"
        self.changes.append(
            {
                "baseline": "original",
                **dict(zip(("candidate", "task", "label", "metric"), key, strict=True)),
                "attribute": attribute,
                "definition": definition,
                "estimate": value if known else None,
                "standard_error": 0.02 if known else None,
                "ci_low": value - 0.04 if known else None,
                "ci_high": value + 0.04 if known else None,
                "p_value": 0.03 if known else None,
                "p_adjusted": 0.004 if planted else 0.07 if known else None,
                "family": ("changes_exploratory" if "," in attribute else "changes") if known else None,
                "verdict": "change" if planted else "insufficient_evidence",
                "bootstrap_mean": value if known else None,
                "bootstrap_se": 0.02 if known else None,
            }
        )

    def _families(self):
        rows = [*self.cells, *self.gaps, *self.changes]
        names = dict.fromkeys(row["family"] for row in rows if row["family"])
        return [
            {
                "name": name,
                "procedure": "Made up",
                "tests": sum(row["family"] == name for row in rows),
                "alpha": 0.05,
                "permutations": 1999,
                "findings": sum(row["family"] == name and row["verdict"] in ("gap", "change") for row in rows),
            }
            for name in names
        ]

    def _published(self):
        """As the findings, but for a p that is small everywhere."""
        style = {"mean": 0.041, "standard_error": 0.012, "p_one_tailed": 0.0, "replicates": 1000}
        style = dict.fromkeys(style) | {"replicates": 0} if self.sample.undefined else style
        changes = [
            {key: row[key] for key in ("candidate", "task", "label", "metric", "attribute", "definition")}
            | {"baseline_gap": 0.1, "candidate_gap": 0.14, **style}
            for row in self.changes
            if row["definition"] in ("eodd_half", "eop", "ser", "delta_dice") and "," not in row["attribute"]
        ]
        keys = ("candidate", "attribute", "definition", "metric")
        averages = {tuple(row[key] for key in keys): row for row in changes}
        size = {
            "absolute_mean": None if self.sample.undefined else 0.0412,
            "by_chance": 0.0213,
            "by_chance_high": 0.0587,
        }
        singles = [a for a in self.sample.attributes if "," not in a]
        spreads = [(p, a) for p in self.sample.candidates for a in singles if self.sample.quality]
        return {
            "replicates": 1000,
            "thresholds": [
                {"pipeline": p, "task": "classification", "label": label, "threshold": 0.31}
                for p in self.pipelines
                for label in self.sample.labels
            ],
            "changes": changes,
            "averages": [{**dict(zip(keys, key, strict=True)), "tasks": 2, **size} for key in averages],
            "spreads": [
                {"pipeline": p, "metric": "psnr", "attribute": a, "percent": 1.23}
                | {"best": self.groups[a][0], "worst": self.groups[a][-1], **style}
                for p, a in spreads
            ],
        }

    def _methods(self):
        cards = metric_cards()
        return {
            **cards["rules"],
            "baseline": "original",
            "candidates": list(self.sample.candidates),
            "attributes": list(self.sample.attributes),
            "levels": self.sample.levels,
            "groups": self.groups,
            "reference_groups": {},
            **{"min_patients": 5, "min_cases": 10, "alpha": 0.05, "confidence": 0.95},
            **{"permutations": 1999, "replicates": 1000, "seed": 7},
            "tolerances": TOLERANCES,
            "text": ["Patients were the sampling unit.", "A second paragraph."],
            "thresholds": [
                {
                    "pipeline": p,
                    "label": label,
                    "threshold": 0.4,
                    "source": "model.yaml",
                    "fitted_on_audited": self.sample.fitted,
                }
                for p in self.pipelines
                for label in self.sample.labels
            ],
            "varying_attributes": {"age": 37} if "age" in self.sample.attributes else {},
            "software": {"numpy": "2.4.6"},
            "metrics": cards["metrics"],
            "gaps": cards["gaps"],
        }

    def _people(self):
        levels = [
            {
                "name": name,
                "assigned_by": "hospital record",
                "missing": 41,
                "levels": [{"level": level, "records": 401, "patients": 201} for level in values],
            }
            for name, values in self.sample.levels.items()
        ]
        labels = [{"name": label, "positives": 240, "negatives": 520, "missing": 40} for label in self.sample.labels]
        return {"attributes": levels, "labels": labels, "refused": {"UNDECODABLE": 6, "DUPLICATE_RECORD": 1}}
