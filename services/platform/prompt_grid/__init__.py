"""``evenhand models prompt-grid``: prompts × seeds from pinned noise to bias(T), with report.json, report.html and a
table of all images.

orders.py       what is to be audited, and the wanted shares
prompts.py      the prompts, none of which names the attribute
making.py       images from a platform or a folder; the noise of each
judges.py       readers and classifiers
labelled.py     images of known groups, on which a classifier's errors are measured
auditing.py     all of it, prompt by prompt
shares.py, measures.py, others.py       the report's rows
assembling.py, wording.py   report.json, grid.parquet and the sentences
page.py, page_tables.py, dots.py, sheet.py      report.html and its drawings
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.platform.prompt_grid.auditing import RunningPlatform

FILES = ("report.json", "report.html", "grid.parquet")
_FOLDERS = ("labelled_images", "made", "baseline_made")


def prompt_grid(
    order: Mapping[str, Any], platform: RunningPlatform | None, progress: Callable[[str, int, int], None]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The report, and the files of the audit by name. The client finds this function by its entry point.

    ``order`` has the fields of :class:`.orders.Order`, paths as text; without ``registry`` it is the zoo's.
    ``platform`` makes images and describes models; None where the images are in a folder.
    """
    from services.platform.prompt_grid.assembling import grid_bytes, report_bytes, report_of
    from services.platform.prompt_grid.auditing import audit
    from services.platform.prompt_grid.orders import Order
    from services.platform.prompt_grid.page import grid_page
    from services.training.zoo import ZOO

    fields = {name: value for name, value in order.items() if value not in (None, "", ())}
    fields["registry"] = Path(fields.get("registry") or os.environ.get("EVENHAND_ZOO") or ZOO)
    if "prompts" in fields:
        fields["prompts"] = Path(fields["prompts"])
    for name in _FOLDERS:
        if name in fields:
            images, table = fields[name]
            fields[name] = (Path(images), Path(table))
    grid = audit(Order(**fields), platform, progress)
    progress("writing", 0, 1)
    report = report_of(grid)
    files = (report_bytes(report), grid_page(report, grid.shown).encode(), grid_bytes(grid))
    progress("writing", 1, 1)
    return report, dict(zip(FILES, files, strict=True))
