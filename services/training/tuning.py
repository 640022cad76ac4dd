"""What a fine-tuning is asked to be, as asked and once everything that it names was found: of a reconstruction model,
so that a classifier errs alike in all groups, or of a text-to-image model, so that groups have the wanted shares.

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
    allow_synthetic: bool = False
    """Whether the cohort's images may be those of a model."""


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
    synthetic: bool = False
    """Whether a model drew the cohort's images."""


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


AdapterMethod = Literal["full", "lora"]
AdapterPart = Literal["unet", "prompt-path"]
ADAPTER_METHODS: tuple[AdapterMethod, ...] = get_args(AdapterMethod)
ADAPTER_PARTS: tuple[AdapterPart, ...] = get_args(AdapterPart)


@dataclass(frozen=True)
class Adapter:
    """Which weights of a U-Net learn: all, or low-rank additions; everywhere, or where it meets the prompt."""

    method: AdapterMethod = "full"
    part: AdapterPart = "unet"
    rank: int = 16


@dataclass(frozen=True)
class Batches:
    """How an alignment samples and steps. ``steps`` is a range, both ends included; guidance 0 is the model's own.

    Gradients go through ``evaluations`` of an image's steps, of those at which at least ``least_noise`` of the noise
    levels are still to come: an image's group is decided there. Later steps draw details, and details that please the
    guide are what a generator fools it with; they are held to the original's.
    """

    iterations: int = 240
    prompts: int = 4
    images: int = 10
    steps: tuple[int, int] = (6, 8)
    sampler: str = "dpmpp-2m"
    guidance: float = 0.0
    evaluations: int = 2
    least_noise: float = 0.5
    learning_rate: float = 2e-4
    test_images: int = 40


@dataclass(frozen=True)
class Shares:
    """The shares that the levels of an attribute are to have, by the classifier that guides, in its order of levels.

    ``judge`` is another classifier, which never guides and says what came of it; as asked it may be None.
    """

    attribute: str
    guide: Pin
    levels: tuple[str, ...]
    target: tuple[float, ...]
    judge: Pin | None = None
    cohort: str = ""
    """Whose images, as the guide reads them, are the set of targets; ``target`` is empty then."""
    manifest_key: str = ""


@dataclass(frozen=True)
class AskedShares:
    """Shares as a request names them; versions may be empty for the highest, ``target`` for equal shares."""

    attribute: str
    target: Mapping[str, float]
    classifier: str
    classifier_version: str
    judge: str
    judge_version: str
    cohort: str


@dataclass(frozen=True)
class AskedAlignment:
    """An alignment as a request names it, by its own rules correct. No prompts mean those of the phantoms."""

    base: str
    base_version: str
    shares: tuple[AskedShares, ...]
    encoder: str
    encoder_version: str
    prompts: tuple[str, ...]
    test_prompts: tuple[str, ...]
    joint: bool
    threshold: float
    preservation: float
    flipped_weight: float
    holding: float
    adapter: Adapter
    batches: Batches


@dataclass(frozen=True)
class Alignment:
    """An alignment of a text-to-image model (SDAT), everything found. ``joint`` aligns the attributes' crossing."""

    base: Pin
    shares: tuple[Shares, ...]
    encoder: Pin
    prompts: tuple[str, ...]
    test_prompts: tuple[str, ...]
    registries: tuple[str, ...]
    store: str = ""
    joint: bool = False
    threshold: float = 0.6
    preservation: float = 12.0
    flipped_weight: float = 1.0
    holding: float = 300.0
    adapter: Adapter = Adapter()
    batches: Batches = Batches()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def alignment_from_dict(plain: Mapping[str, Any]) -> Alignment:
    """The inverse of :meth:`Alignment.to_dict`, after JSON has made lists of tuples."""
    batches = dict(plain["batches"])
    told = {
        "base": Pin(**plain["base"]),
        "shares": tuple(_shares(one) for one in plain["shares"]),
        "encoder": Pin(**plain["encoder"]),
        "adapter": Adapter(**plain["adapter"]),
        "batches": Batches(**batches | {"steps": tuple(batches["steps"])}),
        **{key: tuple(plain[key]) for key in ("prompts", "test_prompts", "registries")},
    }
    return Alignment(**{**plain, **told})


def _shares(plain: Mapping[str, Any]) -> Shares:
    told = {
        "guide": Pin(**plain["guide"]),
        "levels": tuple(plain["levels"]),
        "target": tuple(plain["target"]),
        "judge": Pin(**plain["judge"]) if plain["judge"] else None,
    }
    return Shares(**{**plain, **told})
