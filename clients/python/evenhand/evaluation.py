"""Evaluating a generator: its images beside real ones, by group.

The statistics, the readers and the phantoms are the platform's: it contributes ``evaluate`` to this client by the entry
point group ``evenhand.models``. The images come from a running platform, or from a folder.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenhand.artifacts import write_whole
from evenhand.client import Client
from evenhand.errors import Overloaded
from evenhand.images import Floats
from evenhand.models import ModelState
from evenhand.plugins import contributed

GROUP = "evenhand.models"
PATIENCE_S = 300.0
"""How long one request for images may find no room before the evaluation gives up."""

Progress = Callable[[str, int, int], None]
Image = tuple[int, Floats, Mapping[str, Any]]


@dataclass(frozen=True)
class Evaluation:
    """The report of a generator as plain data, and the files written: report.json, report.html, contact-sheet.png."""

    report: Mapping[str, Any]
    files: tuple[Path, ...]

    @property
    def findings(self) -> list[str]:
        """One sentence for each difference from real images that was found."""
        return [str(found["sentence"]) for found in self.report["findings"]]

    @property
    def not_found(self) -> list[str]:
        """What was looked for and not found, and what could not be looked for."""
        return [str(sentence) for sentence in self.report["not_found"]]


def evaluate(
    client: Client | None, order: Mapping[str, Any], folder: Path, *, progress: Progress = lambda *_: None
) -> Evaluation:
    """Evaluate the model that ``order`` names and write the report into ``folder``.

    Args:
        client: the platform that makes the images; None where they are in a folder (``order["synthetic"]``).
        order: ``model``; and if not by default ``organs``, ``images`` (of each organ), ``seed``, ``sampling``
            (``steps``, ``sampler``, ``guidance_scale``), ``registry``, ``encoder`` or ``inception``,
            ``training_patients``, and pairs of a folder and a table as ``synthetic``, ``reference`` and ``training``.
        progress: is called with a stage, what is done, and the total or 0.

    Raises:
        FailedPrecondition: the platform is not installed here (PLUGIN_MISSING).
        EvenhandError: what the running platform says; and errors of the platform's own code, with the same class names.
    """
    compute = contributed(GROUP, "evaluate", "a generator can only be evaluated where the platform is installed")
    model = str(order["model"])
    served = described(client.models.get(model)) if client is not None else None
    ask = None if client is None else lambda wanted: images_of(client, model, wanted)
    report, files = compute(dict(order), served, ask, progress)
    paths = tuple(write_whole(folder / name, data) for name, data in files.items())
    return Evaluation(report, paths)


def described(model: ModelState) -> dict[str, Any]:
    """What the evaluation must know of a served model."""
    proto = model.proto
    extents = {name: getattr(proto.output, name) for name in ("channels", "height", "width")}
    conditions = [
        {"name": one.name, "levels": list(one.levels), "low": one.low, "high": one.high} for one in proto.conditions
    ]
    plain = {"name": proto.name, "version": proto.version, "digest": proto.digest, "task": model.task}
    return {**plain, "output": extents, "conditions": conditions}


def images_of(client: Client, model: str, wanted: Mapping[str, Any]) -> Iterator[Image]:
    """Index, pixels and record of each image of one request as it is done; waits where the platform has no room."""
    settings = dict(wanted)
    prompt = str(settings.pop("prompt", ""))
    until = time.monotonic() + PATIENCE_S
    while True:
        started = False
        try:
            with closing(client.generations.stream(prompt, model=model, **settings)) as images:
                for image in images:
                    started = True
                    yield image.index, image.pixels, image.record
            return
        except Overloaded as error:
            wait = (error.retry_after_s or 1.0) * random.uniform(1.0, 2.0)
            if started or time.monotonic() + wait > until:
                raise
            time.sleep(wait)
