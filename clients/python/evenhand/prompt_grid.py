"""Auditing a generator's groups: prompts × seeds from pinned noise, to how far the shares are from what is wanted.

The statistics, the readers and the phantoms are the platform's: it contributes ``prompt_grid`` to this client by the
entry point group ``evenhand.models``. The images come from a running platform, or from a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenhand.artifacts import write_whole
from evenhand.client import Client
from evenhand.evaluation import GROUP, Image, Progress, described, images_of
from evenhand.images import Floats
from evenhand.plugins import contributed

NAME = "prompt-grid"


@dataclass(frozen=True)
class PromptGrid:
    """The report as plain data, and the files written: report.json, report.html, grid.parquet (a row an image)."""

    report: Mapping[str, Any]
    files: tuple[Path, ...]

    @property
    def headline(self) -> str:
        """How biased the model is for the first target, and how that changed from the baseline."""
        return str(self.report["headline"])

    @property
    def findings(self) -> list[str]:
        """One sentence for each bias, change or moved attribute that was found."""
        return [str(found["sentence"]) for found in self.report["findings"]]

    @property
    def not_found(self) -> list[str]:
        """What was looked for and not found."""
        return [str(sentence) for sentence in self.report["not_found"]]


@dataclass(frozen=True)
class RunningPlatform:
    """What the audit asks of a platform."""

    client: Client

    def describe(self, name: str) -> dict[str, Any]:
        """What is known of a served model, also of a classifier."""
        model = self.client.models.get(name)
        extents = {side: getattr(model.proto.input, side) for side in ("channels", "height", "width")}
        thresholds = dict(model.proto.thresholds)
        return {**described(model), "input": extents, "labels": list(model.proto.labels), "thresholds": thresholds}

    def ask(self, name: str) -> Callable[[Mapping[str, Any]], Iterator[Image]]:
        """A function from the fields of a request to its images."""
        return lambda wanted: images_of(self.client, name, wanted)

    def classify(self, name: str, images: Floats) -> Floats:
        """(N, K) probabilities of (N, C, H, W), in the order of the model's labels."""
        return self.client.models[name].infer(images).numpy()


def prompt_grid(
    client: Client | None, order: Mapping[str, Any], folder: Path, *, progress: Progress = lambda *_: None
) -> PromptGrid:
    """Audit the model that ``order`` names and write the report into ``folder``.

    Args:
        client: the platform that makes the images; None where they are in a folder (``order["made"]``).
        order: ``model``, ``attribute`` (which the prompts leave open); and if not by default ``targets`` such as
            "Female=0.3,Male=0.7", ``prompts`` (a file) or ``organs``, ``images`` (of each prompt), ``seed``,
            ``sampling``, ``readers`` (False: only classifiers judge), ``classifiers``, ``labelled`` (patients that
            their errors are measured on) or ``labelled_images``, ``baseline``, ``registry``, and pairs of a folder and
            a table as ``made`` and ``baseline_made``.
        progress: is called with a stage, what is done, and the total or 0.

    Raises:
        FailedPrecondition: the platform is not installed here (PLUGIN_MISSING).
        EvenhandError: what the running platform says; and errors of the platform's own code, with the same class names.
    """
    compute = contributed(GROUP, NAME, "a generator's groups can only be audited where the platform is installed")
    report, files = compute(dict(order), None if client is None else RunningPlatform(client), progress)
    return PromptGrid(report, tuple(write_whole(folder / name, data) for name, data in files.items()))
