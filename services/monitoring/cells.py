"""A window's sums: their form in the object store, and their values by label and group.

The object is the canonical JSON of what a window's digest is taken over, so its key is that digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from services.adapters.object_store import ObjectStore
from services.maths.canonical import canonical_json
from services.maths.fairness.drift.moments import FIELDS, QUANTITIES, SCORE_UNIT
from services.maths.fairness.drift.windows import WindowCells

NUMERATOR, DENOMINATOR = FIELDS.index("numerator"), FIELDS.index("denominator")
SHOWN = ("tpr", "fpr", "prevalence", "flag_rate", "mean_score")


def window_document(monitor_digest: str, index: int, sums: WindowCells, **more: Any) -> bytes:
    """What a window's digest is the sha256 of. ``more``: its start, end, records, patients and versions.

    Who of its patients had been seen before is left out, for it depends on other windows.
    """
    alone = replace(sums, returning=np.zeros_like(sums.returning))
    return canonical_json({"monitor": monitor_digest, "index": index, "sums": alone.to_dict(), **more})


def read_sums(store: ObjectStore, summary: Mapping[str, Any]) -> WindowCells:
    """The sums of a closed window, with the patients who had been seen before."""
    sums = WindowCells.from_dict(json.loads(store.get(summary["key"]))["sums"])
    return replace(sums, returning=np.array(summary["returning"], np.int64))


def put_patients(store: ObjectStore, monitor: str, keys: np.ndarray) -> str:
    """Keep who was in a window, as (K,) ascending uint64, for later windows; the object's key.

    It lies under the monitor's name, with which all of it is deleted: that of all revisions and of killed attempts.
    """
    data = keys.astype("<u8").tobytes()
    return store.put_named(f"{monitor}/patients/{hashlib.sha256(data).hexdigest()}", data).key


def seen_before(store: ObjectStore, keys: np.ndarray, earlier: Iterable[Mapping[str, Any]]) -> np.ndarray:
    """(K,) bool: which of the ascending keys of patients were in windows with these summaries."""
    seen = np.zeros(len(keys), bool)
    for summary in earlier:
        known = np.frombuffer(store.get(summary["patients_key"]), "<u8")
        if len(known):
            places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            seen |= known[places] == keys
    return seen


def window_cell_rows(sums: WindowCells) -> Iterator[dict[str, Any]]:
    """Fields of WindowCell per label and group; of each attribute also everyone with a known level, as group ""."""
    everyone = [(attribute, "") for attribute, _ in sums.attributes]
    values = quantity_values(sums)
    for place, label in enumerate(sums.label_names):
        for row, (attribute, group) in enumerate([*sums.cells, *everyone]):
            known = {name: float(values[place, row, QUANTITIES.index(name)]) for name in SHOWN}
            yield {
                "label": label,
                "attribute": attribute,
                "group": group,
                "records": int(sums.records[row]),
                "patients": int(sums.patients[row]),
                "labelled": int(sums.labelled[place, row]),
                "positives": int(sums.moments[place, row, QUANTITIES.index("prevalence"), NUMERATOR]),
                "values": {name: value for name, value in known.items() if np.isfinite(value)},
            }


def quantity_values(sums: WindowCells) -> np.ndarray:
    """(L, R, Q) value of each quantity in each row of the sums, NaN where undefined."""
    numerators, denominators = (sums.moments[..., field].astype(np.float64) for field in (NUMERATOR, DENOMINATOR))
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(denominators > 0, numerators / denominators, np.nan)
    for place, name in enumerate(QUANTITIES):
        if name.startswith("mean"):
            values[..., place] *= SCORE_UNIT
    return np.asarray(values)
