"""What an audit is asked to group by ("sex", or "sex,age" for intersections), and the groups of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from services.audit.results.formats import ATTRIBUTE_PREFIX
from services.errors import InvalidInput, UnknownAttribute
from services.maths.fairness.groups import MISSING, OVERALL, Grouping, intersect


@dataclass(frozen=True)
class GroupSpec:
    """One requested attribute or intersection; ``levels`` belong to ``parts``, in the order of the cohort schema."""

    name: str
    parts: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of all its groups, those without any record included."""
        nobody = np.zeros(0, dtype=np.int64)
        return intersect([Grouping(*part, nobody) for part in zip(self.parts, self.levels, strict=True)]).groups

    def group(self, rows: pd.DataFrame) -> Grouping:
        """The group of each canonical row. Raises InvalidInput for a value that is not a level."""
        parts = [_group(rows, part, levels) for part, levels in zip(self.parts, self.levels, strict=True)]
        whole = intersect(parts)
        return Grouping(self.name, whole.groups, whole.codes)


def group_specs(attributes: Sequence[str], levels: Mapping[str, Sequence[str]]) -> list[GroupSpec]:
    """Checked specs, in the order asked for. Raises UnknownAttribute or InvalidInput with the field ``attributes``."""
    specs = []
    for name in attributes:
        if not isinstance(name, str):
            raise InvalidInput("attributes are asked for by name", field="attributes")
        parts = tuple(part.strip() for part in name.split(","))
        for part in parts:
            if part not in levels:
                known = ", ".join(sorted(levels))
                raise UnknownAttribute(f"the cohort has no attribute {part!r}; it has: {known}", field="attributes")
            if {MISSING, OVERALL} & set(levels[part]):
                raise InvalidInput(f"{MISSING!r} and {OVERALL!r} cannot be levels of {part!r}", field="attributes")
        if len(set(parts)) < len(parts):
            raise InvalidInput(f"{name!r} names an attribute twice", field="attributes")
        spec = GroupSpec(",".join(parts), parts, tuple(tuple(levels[part]) for part in parts))
        _require_distinct(spec)
        specs.append(spec)
    if len({spec.name for spec in specs}) < len(specs):
        raise InvalidInput("the same attribute is asked for twice", field="attributes")
    return specs


def _require_distinct(spec: GroupSpec) -> None:
    """Two levels of one name would be one cell, and so would "a" with "b, c" and "a, b" with "c"."""
    for part, levels in zip(spec.parts, spec.levels, strict=True):
        if len(set(levels)) < len(levels):
            raise InvalidInput(f"two levels of {part!r} have one name", field="levels")
    names = [", ".join(names) for names in product(*spec.levels)]
    if len(set(names)) < len(names):
        raise InvalidInput(f"two groups of {spec.name!r} have one name; rename levels with a comma", field="levels")


def varying_patients(specs: Sequence[GroupSpec], tables: Sequence[tuple[pd.DataFrame, np.ndarray]]) -> dict[str, int]:
    """How many patients are in more than one group of an attribute, such as an age that changes; only where any are.

    ``tables`` are canonical rows with the patient number of each row. A missing group is no other group.
    """
    counts = {}
    for spec in specs:
        pairs = []
        for rows, patient in tables:
            code = spec.group(rows).codes
            pairs.append(np.unique(patient[code >= 0] * len(spec.groups) + code[code >= 0]))
        owners = np.unique(np.concatenate(pairs)) // max(len(spec.groups), 1)
        varying = int((np.unique(owners, return_counts=True)[1] > 1).sum())
        if varying:
            counts[spec.name] = varying
    return counts


def _group(rows: pd.DataFrame, attribute: str, levels: tuple[str, ...]) -> Grouping:
    column = ATTRIBUTE_PREFIX + attribute
    if not len(rows):  # an empty table has no columns to speak of
        return Grouping(attribute, levels, np.zeros(0, dtype=np.int64))
    if column not in rows.columns:
        raise UnknownAttribute(f"the rows have no column {column!r}", field=column)
    values = rows[column].cat
    unknown = sorted(set(values.categories) - set(levels))
    if unknown:
        raise InvalidInput(f"{attribute!r} has values that are not among its levels: {unknown}", field=column)
    # The last place serves code -1, the missing value.
    places = np.array([*(levels.index(category) for category in values.categories), -1], dtype=np.int64)
    return Grouping(attribute, levels, places[values.codes.to_numpy()])
