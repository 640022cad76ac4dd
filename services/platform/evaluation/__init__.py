"""``evenhand models evaluate``: how good a generator's images are, as report.json, report.html and a contact sheet.

generators.py    what is known of the generator
conditions.py    rows of a table to conditions and to the levels that images are grouped by
samples.py       images with what they show; dealing and matching them
phantoms.py, folders.py, asking.py      where images come from
collecting.py    the order, and the three samples of one organ
encoders.py      feature extractors
reading.py       phantom readers
measures.py      the report's rows, from services.maths.fairness.generator_quality
evaluating.py    all of it, organ by organ
assembling.py, wording.py               report.json and its sentences
page.py, page_tables.py, pictures.py    report.html and its pictures
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

FILES = ("report.json", "report.html", "contact-sheet.png")


def evaluate(
    order: Mapping[str, Any],
    served: Mapping[str, Any] | None,
    ask: Callable[[Mapping[str, Any]], Iterable[tuple[int, Any, Mapping[str, Any]]]] | None,
    progress: Callable[[str, int, int], None],
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The report, and the files of the evaluation by name. The client finds this function by its entry point.

    ``order`` has the fields of :class:`.collecting.Order`, paths as text; without ``registry`` it is the zoo's.
    ``served`` is what the platform says of the model and ``ask`` makes images (see :mod:`.asking`); both None where the
    images are in a folder.
    """
    from services.platform.evaluation.assembling import report_bytes, report_of
    from services.platform.evaluation.collecting import Order
    from services.platform.evaluation.evaluating import evaluate as run
    from services.platform.evaluation.page import quality_page
    from services.platform.evaluation.pictures import contact_sheet
    from services.training.zoo import ZOO

    fields = {name: value for name, value in order.items() if value not in (None, "", ())}
    fields["registry"] = Path(fields.get("registry") or os.environ.get("EVENHAND_ZOO") or ZOO)
    for name in ("synthetic", "reference", "training"):
        if name in fields:
            images, table = fields[name]
            fields[name] = (Path(images), Path(table))
    if "inception" in fields:
        fields["inception"] = Path(fields["inception"])
    counts = {"permutations": fields.pop("permutations")} if "permutations" in fields else {}
    asked = Order(**fields)
    evaluated = run(asked, served, ask, progress, **counts)
    progress("writing", 0, 1)
    report = report_of(asked, evaluated)
    page = quality_page(report, evaluated.shown)
    files = (report_bytes(report), page.encode(), contact_sheet(evaluated.shown))
    progress("writing", 1, 1)
    return report, dict(zip(FILES, files, strict=True))
