"""Looking things up in a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]

EVERYONE = ("", "overall")


class Reading:
    """A report.json with its cells and gaps indexed, and the words that a page needs for them."""

    def __init__(self, report: Mapping[str, Any]) -> None:
        self.report = report
        self.methods = report["methods"]
        self.pipelines: list[str] = [self.methods["baseline"], *self.methods["candidates"]]
        # The cells are in the order that was asked for; the keys of canonical JSON are sorted.
        order = dict.fromkeys(cell["attribute"] for cell in report["cells"] if cell["attribute"])
        self.groups: dict[str, list[str]] = {name: self.methods["groups"][name] for name in order}
        self._cells: dict[tuple[str, ...], Row] = {
            (c["pipeline"], c["task"], c["label"], c["metric"], c["attribute"], c["group"]): c for c in report["cells"]
        }
        self._gaps: dict[tuple[str, ...], Row] = {
            (g["pipeline"], g["task"], g["label"], g["metric"], g["attribute"], g["definition"]): g
            for g in report["gaps"]
        }
        self._changes: dict[tuple[str, ...], Row] = {
            (c["candidate"], c["task"], c["label"], c["metric"], c["attribute"], c["definition"]): c
            for c in report["changes"]
        }

    def cell(self, pipeline: str, target: tuple[str, str], metric: str, place: tuple[str, str]) -> Row | None:
        """``target`` is (task, label), ``place`` is (attribute, group)."""
        return self._cells.get((pipeline, *target, metric, *place))

    def gap(self, pipeline: str, target: tuple[str, str], metric: str, attribute: str, definition: str) -> Row | None:
        return self._gaps.get((pipeline, *target, metric, attribute, definition))

    def change(self, candidate: str, gap: Row) -> Row | None:
        """The change that goes with a gap of a candidate; None when the baseline has no such gap."""
        where = (gap["task"], gap["label"], gap["metric"], gap["attribute"], gap["definition"])
        return self._changes.get((candidate, *where))

    def targets(self, metric: str) -> list[tuple[str, str]]:
        """(task, label) of everything that has the metric, in the order of the report."""
        return list(dict.fromkeys((c["task"], c["label"]) for c in self.report["cells"] if c["metric"] == metric))

    def gap_kinds(self) -> list[tuple[str, str]]:
        """(definition, metric) of the gaps in the report, in its order."""
        return list(dict.fromkeys((g["definition"], g["metric"]) for g in self.report["gaps"]))

    def gap_targets(self, definition: str, metric: str) -> list[tuple[str, str]]:
        rows = (g for g in self.report["gaps"] if (g["definition"], g["metric"]) == (definition, metric))
        return list(dict.fromkeys((g["task"], g["label"]) for g in rows))

    @property
    def metrics(self) -> list[str]:
        return list(dict.fromkeys(c["metric"] for c in self.report["cells"]))

    def metric_title(self, metric: str) -> str:
        return str(self.methods["metrics"].get(metric, {}).get("title", metric))

    def gap_title(self, definition: str, metric: str) -> str:
        title = str(self.methods["gaps"].get(definition, {}).get("title", definition))
        return f"{title} of {self.metric_title(metric)}" if definition == "max_min" else title


def target_title(target: tuple[str, str]) -> str:
    """A label's name, or the task's where there is but one label without a name."""
    task, label = target
    return label or task
