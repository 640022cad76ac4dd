"""What a report is asked for, besides its rows: everything else that decides a number, checked and with its default."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from services.audit.results.attributes import GroupSpec, group_specs
from services.errors import InvalidInput, OutOfRange, UnknownAttribute
from services.maths.fairness.cells import Minimums

MIN_PATIENTS, MIN_CASES = 5, 10
PERMUTATIONS, REPLICATES = 1999, 1000
MOST_PERMUTATIONS, MOST_REPLICATES, LARGEST_SEED = 100_000, 10_000, 2**63 - 1

_SOFTWARE = ("evenhand-platform", "numba", "numpy", "pandas", "scipy")


@dataclass(frozen=True)
class Settings:
    """Checked settings of one report. ``software`` are the versions that the methods text names."""

    baseline: str
    specs: tuple[GroupSpec, ...]
    minimums: Minimums
    reference_groups: dict[str, str]
    permutations: int
    replicates: int
    seed: int
    software: dict[str, str]

    @property
    def levels(self) -> dict[str, list[str]]:
        """Every attribute that takes part, alone or in an intersection, with its levels."""
        pairs = [pair for spec in self.specs for pair in zip(spec.parts, spec.levels, strict=True)]
        return {name: list(levels) for name, levels in pairs}

    def stream(self, purpose: str) -> int:
        """The seed of one purpose's random stream: another purpose, or another audit seed, is another stream."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{purpose}".encode()).digest()[:7])


def settings(
    *,
    attributes: Sequence[str],
    baseline: str,
    levels: Mapping[str, Sequence[str]],
    min_patients: int,
    min_cases: int,
    reference_groups: Mapping[str, str] | None,
    permutations: int,
    replicates: int,
    seed: int,
    software: Mapping[str, str] | None,
) -> Settings:
    """Check what was asked for. Raises InvalidInput, or a kind of it, with the argument's name as the field."""
    specs = group_specs(attributes, levels)
    for name, value, smallest, largest in (
        ("min_patients", min_patients, 1, None),
        ("min_cases", min_cases, 1, None),
        ("permutations", permutations, 1, MOST_PERMUTATIONS),
        ("replicates", replicates, 0, MOST_REPLICATES),
        ("seed", seed, 0, LARGEST_SEED),
    ):
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidInput(f"{name} must be a whole number", field=name)
        if value < smallest or (largest is not None and value > largest):
            raise OutOfRange(f"{name} is {value}; it must be at least {smallest}{_at_most(largest)}", field=name)
    return Settings(
        baseline=baseline,
        specs=tuple(specs),
        minimums=Minimums(cases=min_cases, patients=min_patients),
        reference_groups=_references(reference_groups or {}, specs),
        permutations=permutations,
        replicates=replicates,
        seed=seed,
        software=dict(_versions() if software is None else software),
    )


def _at_most(largest: int | None) -> str:
    return "" if largest is None else f" and at most {largest}"


def _references(asked: Mapping[str, str], specs: Sequence[GroupSpec]) -> dict[str, str]:
    groups = {spec.name: spec.groups for spec in specs}
    for name, group in asked.items():
        if name not in groups:
            raise UnknownAttribute(
                f"a reference group is named for {name!r}, which is not audited", field="reference_groups"
            )
        if group not in groups[name]:
            known = ", ".join(groups[name])
            raise InvalidInput(f"{name!r} has no group {group!r}; it has: {known}", field="reference_groups")
    return dict(asked)


def _versions() -> dict[str, Any]:
    return {name: metadata.version(name) for name in _SOFTWARE}
