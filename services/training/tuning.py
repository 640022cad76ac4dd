"""What a fine-tuning of a reconstruction model is asked to be, as asked and once everything that it names was found.

Plain values that go through the ledger and the run's folder as JSON. Names are pinned by version and digest, so that a
run that is taken up again, days later, goes on with what it began with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from services.maths.mitigation.attributes import Missing

Method = Literal["none", "reweighting", "equalised-odds", "adversarial"]
METHODS: tuple[Method, ...] = get_args(Method)
MISSING: tuple[Missing, ...] = get_args(Missing)

DEFAULT_TEMPERATURE = 1.0
"""In logits of the predictor."""


@dataclass(frozen=True)
class Mitigation:
    """``attributes`` are names, or names joined by commas for intersections; ``weights`` are the values of λ."""

    method: Method = "none"
    attributes: tuple[str, ...] = ()
    weights: tuple[float, ...] = (1.0,)
    temperature: float = DEFAULT_TEMPERATURE
    label_conditional: bool = False
    missing: Missing = "refuse"
    labels: tuple[str, ...] = ()
    """Of the predictor, in its order; as asked, empty for all that the data have."""


@dataclass(frozen=True)
class Asked:
    """A fine-tuning as a request names it, by its own rules correct. Versions may be empty for the highest."""

    base: str
    base_version: str
    predictor: str
    predictor_version: str
    mitigation: Mitigation
    cohort: str
    world: str
    audit_cohort: str


@dataclass(frozen=True)
class Pin:
    """One version of a model."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True)
class Source:
    """Where images come from: the cohort "cohorts/…" with its manifest, or phantoms of ``world``."""

    cohort: str = ""
    cohort_digest: str = ""
    manifest_key: str = ""
    world: str = ""
    audit_cohort: str = ""
    """Another cohort, which shares no patient with what is learned from."""


@dataclass(frozen=True)
class Tuning:
    """A fine-tuning, everything found. ``store`` is the object store's address, ``registries`` folders of models."""

    base: Pin
    predictor: Pin
    mitigation: Mitigation
    source: Source
    store: str
    registries: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def tuning_from_dict(plain: Mapping[str, Any]) -> Tuning:
    """The inverse of :meth:`Tuning.to_dict`, after JSON has made lists of tuples."""
    mitigation = dict(plain["mitigation"])
    return Tuning(
        Pin(**plain["base"]),
        Pin(**plain["predictor"]),
        Mitigation(**mitigation | {key: tuple(mitigation[key]) for key in ("attributes", "weights", "labels")}),
        Source(**plain["source"]),
        plain["store"],
        tuple(plain["registries"]),
    )
