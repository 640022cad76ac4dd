"""One attribute vector per patient: what a permutation deals out to other patients.

The whole vector moves (sex, age and race of one patient stay together), so that groups keep their sizes and their
overlaps, intersections stay intersections, and the labels, scores and metrics of a patient stay with the patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.groups import Grouping, numbered_patients, require_names

Cells = NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class PatientVectors:
    """The attribute vectors of K patients, as numbers of C finest cells.

    Attributes:
        patient_ids: (K,) sorted and distinct.
        cell: (K,) uint8 (uint16 from 257 vectors on), each patient's vector as a place in the cells.
        cells: one grouping of the C distinct vectors per attribute; -1 where the vector has no level ("(missing)").
        varying_patients: patients with more than one vector, who take part with their most frequent one.
    """

    patient_ids: NDArray[np.generic]
    cell: Cells
    cells: tuple[Grouping, ...]
    varying_patients: int

    @property
    def members(self) -> NDArray[np.int64]:
        """(2, E) pairs (group, cell): which cells add up to which group, groups of all attributes in one row."""
        pairs, first = [], 0
        for grouping in self.cells:
            cell = np.flatnonzero(grouping.codes >= 0)
            pairs.append(np.array([first + grouping.codes[cell], cell]))
            first += len(grouping.groups)
        return np.concatenate(pairs, axis=1).astype(np.int64) if pairs else np.empty((2, 0), dtype=np.int64)

    def columns(self, attribute: str) -> slice:
        """Where the groups of an attribute are among the groups of all attributes."""
        first = 0
        for grouping in self.cells:
            if grouping.attribute == attribute:
                return slice(first, first + len(grouping.groups))
            first += len(grouping.groups)
        raise ValueError(f"attribute {attribute!r} is not among {[grouping.attribute for grouping in self.cells]}")


def attribute_vectors(cluster: NDArray[np.generic], sensitive_features: Sequence[Grouping]) -> PatientVectors:
    """The vector that each patient has on most of their records; the first in the order of levels on ties.

    ``cluster`` is (N,) patient ids, ``sensitive_features`` one grouping of the N records per attribute; intersections
    may be among them. A missing level is a level like any other here: such patients are permuted along.

    Raises ValueError when lengths differ, or with more than 65,536 distinct vectors.
    """
    for grouping in sensitive_features:
        if len(grouping.codes) != len(cluster):
            raise ValueError(
                f"attribute {grouping.attribute!r} has {len(grouping.codes)} records, cluster {len(cluster)}"
            )
    require_names(sensitive_features)
    patient_ids, patient = numbered_patients(cluster)
    vector = np.zeros(len(cluster), dtype=np.int64)
    for grouping in sensitive_features:
        longer = vector * (len(grouping.groups) + 1) + grouping.codes + 1
        vector = np.unique(longer, return_inverse=True)[1].astype(np.int64)
    distinct = np.unique(vector, return_index=True)[1]
    if len(distinct) > np.iinfo(np.uint16).max + 1:
        raise ValueError(f"{len(distinct)} distinct attribute vectors; audit fewer attributes or coarser levels")
    pairs, count = np.unique(patient * len(distinct) + vector, return_counts=True)
    owner, choice = np.divmod(pairs, max(len(distinct), 1))
    order = np.lexsort((choice, -count, owner))
    firsts = order[np.unique(owner[order], return_index=True)[1]]
    narrow = np.uint8 if len(distinct) <= np.iinfo(np.uint8).max + 1 else np.uint16
    return PatientVectors(
        patient_ids=patient_ids,
        cell=choice[firsts].astype(narrow),
        cells=tuple(
            Grouping(grouping.attribute, grouping.groups, grouping.codes[distinct]) for grouping in sensitive_features
        ),
        varying_patients=int((np.bincount(owner, minlength=len(patient_ids)) > 1).sum()),
    )
