"""Looking things up in a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]
Target = tuple[str, str]
"""(task, label)"""

EVERYONE = ("", "overall")
MISSING = "(missing)"
COMPARED = ("ok", "wide")
FOUND = ("gap", "change")
DEFAULT_TOLERANCE = 0.05
_TITLES = {
    "auroc": "AUROC",
    "tpr": "True positive rate",
    "fpr": "False positive rate",
    "balanced_accuracy": "Balanced accuracy",
    "prevalence": "Prevalence",
    "brier": "Brier score",
    "ece": "Calibration error (ECE)",
    "dice": "Dice",
    "psnr": "PSNR",
    "ssim_gaussian11": "SSIM",
    "lpips_alex": "LPIPS (AlexNet)",
    "lpips_vgg": "LPIPS (VGG)",
    "perceptual": "Perceptual distance",
    "eodd_half": "EODD, half-sum",
    "eodd_worst": "EODD, worst case",
    "eop": "EOP",
    "ser": "SER",
    "delta_dice": "ΔDice",
    "max_min": "Max-min",
    "percent_max_min": "Max-min in percent",
    "between_group_sd": "Between-group SD",
    "difference_to_reference": "Difference",
    "ratio_to_reference": "Ratio",
    "overall": "Overall",
}
_TASKS = {"reconstruction": "Image quality", "segmentation": "Segmentation", "classification": "Classification"}
QUALITY = ("psnr", "ssim_gaussian11", "lpips_alex", "lpips_vgg", "perceptual")
_OF_A_METRIC = ("max_min", "percent_max_min", "between_group_sd", "difference_to_reference", "ratio_to_reference")
RATIOS = ("ser", "ratio_to_reference")


class Reading:
    """A report.json with its cells, gaps and changes indexed, and the words that a page needs for them."""

    def __init__(self, report: Mapping[str, Any]) -> None:
        self.report = report
        self.methods = report["methods"]
        self.pipelines: list[str] = [self.methods["baseline"], *self.methods["candidates"]]
        order = dict.fromkeys([*self.methods.get("attributes", ()), *(c["attribute"] for c in report["cells"])])
        self.groups: dict[str, list[str]] = {a: self.methods["groups"].get(a, []) for a in order if a}
        self.single = [attribute for attribute in self.groups if "," not in attribute]
        self.crossed = [attribute for attribute in self.groups if "," in attribute]
        self._cells = {
            (c["pipeline"], *_target(c), c["metric"], c["attribute"], c["group"]): c for c in report["cells"]
        }
        self._gaps = {(g["pipeline"], *_target(g), *_kind(g)): g for g in report["gaps"] if not g["reference"]}
        self._changes = {(c["candidate"], *_target(c), *_kind(c)): c for c in report["changes"]}
        labels = {_target(c) for c in report["cells"]}
        self._shared = {label for _, label in labels if label and sum(label == other for _, other in labels) > 1}
        rows = (row for kind in ("cells", "gaps") for row in report[kind] if row["verdict"] in FOUND)
        self._found = {(metric, row["attribute"]) for row in rows for metric in row["metric"].split(",")}
        self._metric_targets = _targets_by(report["cells"], lambda c: c["metric"])
        self._gap_targets = _targets_by(self._gaps.values(), lambda g: (g["definition"], g["metric"], g["attribute"]))

    @property
    def metrics(self) -> list[str]:
        return list(self._metric_targets)

    def cell(self, pipeline: str, target: Target, metric: str, place: tuple[str, str]) -> Row | None:
        """``place`` is (attribute, group)."""
        return self._cells.get((pipeline, *target, metric, *place))

    def cells(self, target: Target, metric: str, place: tuple[str, str]) -> list[tuple[int, Row]]:
        """(number of the pipeline, cell) of the pipelines that have the cell."""
        found = ((i, self.cell(name, target, metric, place)) for i, name in enumerate(self.pipelines))
        return [(i, cell) for i, cell in found if cell is not None]

    def gap(self, pipeline: str, target: Target, metric: str, attribute: str, definition: str) -> Row | None:
        """The gap over all comparable groups (not one to a reference group)."""
        return self._gaps.get((pipeline, *target, metric, attribute, definition))

    def change(self, candidate: str, target: Target, metric: str, attribute: str, definition: str) -> Row | None:
        """The change of a gap, or of a metric over everyone (attribute "", definition "overall")."""
        return self._changes.get((candidate, *target, metric, attribute, definition))

    def targets(self, metric: str) -> list[Target]:
        """Everything that has the metric, in the order of the report."""
        return self._metric_targets.get(metric, [])

    def gap_kinds(self, attribute: str) -> list[tuple[str, str]]:
        """(definition, metric) of the attribute's gaps, in the order of the report."""
        return [(definition, metric) for definition, metric, of in self._gap_targets if of == attribute]

    def gap_targets(self, definition: str, metric: str, attribute: str) -> list[Target]:
        return self._gap_targets.get((definition, metric, attribute), [])

    def compared_groups(self, attribute: str) -> list[str]:
        """The attribute's groups, then "(missing)" where the report counts it."""
        groups = self.groups.get(attribute, [])
        return [*groups, MISSING] if any((c[4], c[5]) == (attribute, MISSING) for c in self._cells) else groups

    def tolerance(self, metric: str) -> float:
        """The size of a gap in this metric that would matter: sizes of different metrics are compared by it."""
        known = self.methods.get("tolerances", {})
        return float(known.get(metric.partition(",")[0], DEFAULT_TOLERANCE))

    def metric_title(self, metric: str) -> str:
        if metric == "tpr,fpr":
            return "TPR and FPR"
        return str(self.methods["metrics"].get(metric, {}).get("title", _TITLES.get(metric, metric)))

    def measured_title(self, metric: str, target: Target) -> str:
        """The metric, and what it is of where that has a name: "PSNR", "Perceptual distance: phantom-clip"."""
        title = self.metric_title(metric)
        return f"{title}: {target[1]}" if target[1] else title

    def gap_title(self, definition: str, metric: str) -> str:
        """What a gap or change is called: "EOP", "AUROC, max-min", "Dice over everyone"."""
        if definition == "overall":
            return f"{self.metric_title(metric)} over everyone"
        title = str(self.methods["gaps"].get(definition, {}).get("title", _TITLES.get(definition, definition)))
        return f"{self.metric_title(metric)}, {title[:1].lower()}{title[1:]}" if definition in _OF_A_METRIC else title

    def target_title(self, target: Target) -> str:
        """A label's name, with the task where two tasks share it; the task's where there is no label."""
        task, label = target
        title = _TASKS.get(task, task)
        return f"{label} ({title.lower()})" if label in self._shared else label or title

    def found(self, metric: str, attribute: str) -> bool:
        """Whether a gap between the attribute's groups was found in the metric."""
        return (metric, attribute) in self._found

    def fitted_thresholds(self) -> list[Row]:
        """Thresholds that were fitted on the cohort that they are judged on."""
        return [row for row in self.methods.get("thresholds", []) if row["fitted_on_audited"]]


def target_of(row: Row) -> Target:
    """(task, label) of a cell, gap or change."""
    return row["task"], row["label"]


def is_overall(row: Row) -> bool:
    """Whether a change is one of everyone's value, not of a gap between groups."""
    return bool(row.get("definition") == "overall")


def relative_size(reading: Reading, row: Row) -> float:
    """How large a finding is, in tolerances of its metric; ratios by their distance to 1 in steps of a quarter."""
    value = row["difference"] if "difference" in row else row["estimate"]
    if value is None:
        return 0.0
    definition = row.get("definition", "")
    if definition in RATIOS and "candidate" not in row:
        return abs(float(value) - 1) / 0.25
    if definition in RATIOS:
        return abs(float(value)) / 0.25
    tolerance = 5.0 if definition == "percent_max_min" else reading.tolerance(row["metric"])
    return abs(float(value)) / tolerance


def _target(row: Row) -> Target:
    return row["task"], row["label"]


def _kind(row: Row) -> tuple[str, str, str]:
    return row["metric"], row["attribute"], row["definition"]


def _targets_by(rows: Any, key: Any) -> dict[Any, list[Target]]:
    found: dict[Any, dict[Target, None]] = {}
    for row in rows:
        found.setdefault(key(row), {})[_target(row)] = None
    return {name: list(targets) for name, targets in found.items()}
