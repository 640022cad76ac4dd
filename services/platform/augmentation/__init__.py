"""The downstream study of synthetic data: does a classifier that also learns from it serve groups more alike?

orders.py        what is asked
records.py       images, labels and patients as arrays; who may not meet whom
phantoms.py      phantom hearts as records, and the oracle that draws balanced ones
cohorts.py       a folder of images, or the shards of a synthetic cohort, as records
fidelity.py      whether synthetic hearts show what was asked for
learning.py      arms × repeats, resumable
measuring.py     metrics by group, named gaps, paired changes
distances.py     Fréchet and kernel distances between groups, real and synthetic
studying.py      all of it → report.json, predictions.parquet
page.py, page_tables.py, pictures.py     index.html
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def augment(
    order: Mapping[str, Any],
    sources: Mapping[str, Any],
    folder: Path,
    progress: Callable[[str, int, int], None],
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The report, and the files of the study by name. The client finds this function by its entry point.

    ``order`` has the fields of :class:`.orders.Order`. ``sources`` says where records come from, paths as text:
    ``real`` is {images, table, schema, demographics} of a folder or {phantoms: {world, patients, seed}}; ``synthetic``
    is, by name, {shards: folder} of a downloaded cohort or {oracle: {world, images, seed, balance}}; ``on_infidelity``
    is "refuse" or "flag". ``folder`` keeps finished repeats between runs.
    """
    from services.platform.augmentation.cohorts import gather
    from services.platform.augmentation.orders import read_order
    from services.platform.augmentation.page import study_page
    from services.platform.augmentation.studying import study
    from services.platform.evaluation.encoders import PHANTOM_CLIP, zoo_encoder
    from services.training.zoo import ZOO

    asked = read_order(order)
    gathered = gather(asked, sources, folder, progress)
    encoder = zoo_encoder(Path(os.environ.get("EVENHAND_ZOO") or ZOO), PHANTOM_CLIP)
    report, files = study(
        asked,
        gathered.real,
        gathered.synthetic,
        gathered.names,
        folder,
        facts=gathered.facts,
        fidelity=gathered.fidelity,
        encode=encoder.encode,
        encoder=f"{encoder.name} version {encoder.version}, {encoder.digest[:12]}",
        progress=progress,
    )
    return report, {**files, "index.html": study_page(report).encode()}
