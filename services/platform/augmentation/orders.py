"""What is asked of a downstream study, checked before anything is drawn, sampled or learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.errors import InvalidInput
from services.training.classifying import Fit

METRICS = ("balanced_accuracy", "auroc", "tpr", "fpr")
SAMPLERS = ("group-balanced", "as-they-come")
REAL = "real"
LEAST_REPEATS = 2


@dataclass(frozen=True)
class Gap:
    """A difference that is named before the data are seen: ``metric`` in ``better`` minus in ``worse``."""

    attribute: str
    better: str
    worse: str
    metric: str = "balanced_accuracy"


@dataclass(frozen=True)
class Arm:
    """What one classifier learns from: all real training images or none, and so many synthetic ones.

    ``source`` names the synthetic cohort; ``shuffled`` gives its labels to the wrong images, a negative control.
    """

    name: str
    real: bool
    synthetic: int
    source: str = ""
    shuffled: bool = False


@dataclass(frozen=True)
class Distances:
    """``records`` on a side of each Fréchet distance (500 in the paper), ``draws`` of it, groups of ``attributes``."""

    attributes: tuple[str, ...] = ()
    records: int = 100
    draws: int = 4
    permutations: int = 999


@dataclass(frozen=True)
class Order:
    """A study. ``balance`` are the attributes whose intersections with the label the sampler draws equally often."""

    label: str
    attributes: tuple[str, ...]
    arms: tuple[Arm, ...]
    balance: tuple[str, ...]
    gaps: tuple[Gap, ...] = ()
    sampler: str = "group-balanced"
    repeats: int = 8
    seed: int = 7
    size: int = 64
    fit: Fit = field(default_factory=Fit)
    prevalence: float | None = None
    """Share of the training images with the label, reached by leaving out patients without it, drawn at random."""
    distances: Distances = field(default_factory=Distances)
    workers: int = 2

    @property
    def baseline(self) -> Arm:
        """The arm that the others are compared with: real images only."""
        return next(arm for arm in self.arms if arm.real and not arm.synthetic)

    def single_attributes(self) -> list[str]:
        """Every attribute that is named anywhere, each once."""
        named = [*self.attributes, *self.balance, *(gap.attribute for gap in self.gaps), *self.distances.attributes]
        return list(dict.fromkeys(part.strip() for name in named for part in name.split(",")))


def read_order(plain: Mapping[str, Any]) -> Order:
    """The order of plain data. InvalidInput names the field that is wrong."""
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}
    try:
        arms = tuple(Arm(**arm) for arm in given.pop("arms"))
        gaps = tuple(Gap(**gap) for gap in given.pop("gaps", ()))
        fit = Fit(**given.pop("fit", {}))
        distances = given.pop("distances", {})
        order = Order(
            arms=arms,
            gaps=gaps,
            fit=fit,
            distances=Distances(**{**distances, "attributes": tuple(distances.get("attributes", ()))}),
            **given,
        )
    except (TypeError, KeyError) as error:
        raise InvalidInput(f"not the order of a downstream study: {error}", field="augmentation") from error
    _check_arms(order.arms)
    _check_numbers(order)
    for place, gap in enumerate(order.gaps):
        if gap.metric not in METRICS:
            raise InvalidInput(f"metrics are {', '.join(METRICS)}", field=f"gaps[{place}].metric")
        if gap.attribute not in order.attributes:
            raise InvalidInput(
                f"{gap.attribute!r} is none of attributes: {', '.join(order.attributes)}",
                field=f"gaps[{place}].attribute",
            )
    return order


def _check_arms(arms: Sequence[Arm]) -> None:
    names = [arm.name for arm in arms]
    if len(set(names)) < len(names):
        raise InvalidInput("arms must have different names", field="arms")
    if sum(arm.real and not arm.synthetic for arm in arms) != 1:
        raise InvalidInput(
            "exactly one arm has real images and no synthetic ones: what the others are compared with", field="arms"
        )
    for place, arm in enumerate(arms):
        at = f"arms[{place}]"
        if arm.synthetic < 0 or not (arm.real or arm.synthetic):
            raise InvalidInput("an arm learns from real images, from synthetic ones, or from both", field=at)
        if arm.synthetic and str(arm.synthetic) not in arm.name:
            raise InvalidInput(
                f"the name must say that there are {arm.synthetic} synthetic images; {arm.name!r} does not", field=at
            )


def _check_numbers(order: Order) -> None:
    for name, value, least in (
        ("repeats", order.repeats, LEAST_REPEATS),
        ("seed", order.seed, 0),
        ("size", order.size, 16),
        ("workers", order.workers, 1),
        ("fit.steps", order.fit.steps, 1),
        ("fit.batch", order.fit.batch, 2),
        ("fit.width", order.fit.width, 1),
        ("distances.records", order.distances.records, 2),
        ("distances.draws", order.distances.draws, 1),
    ):
        if type(value) is not int or value < least:
            raise InvalidInput(f"a whole number of at least {least}, got {value!r}", field=name)
    if order.sampler not in SAMPLERS:
        raise InvalidInput(f"samplers are {' and '.join(SAMPLERS)}", field="sampler")
    if order.prevalence is not None and not 0 < order.prevalence < 1:
        raise InvalidInput("a share between 0 and 1", field="prevalence")
