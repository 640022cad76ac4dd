"""What the platform can train: one declared recipe a model of the zoo.

Recipes learn from phantoms of the *null* world, in which contrast and prevalence do not depend on a group: the
model has no group trick to learn, and a gap that an audit then finds in the planted world is the planted one. One does
not: what tells races apart in a pelvis exists in the planted world only. Training,
validation and held-out patients come from three different seeds, so that no patient is in two of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from services.errors import NotFound
from services.maths.phantoms import LABELS
from services.maths.phantoms.cardiac import BMI_CUTS
from services.maths.phantoms.worlds import RACES, Kind
from services.maths.pixels import PixelSpec

Task = Literal["classification", "attribute-classification", "segmentation", "reconstruction"]

PIXELS = PixelSpec(channels=1, height=64, width=64)
MODALITIES: Mapping[str, str] = {
    "chest": "chest-radiograph",
    "brain": "brain-flair",
    "pelvis": "pelvis-radiograph",
    "cardiac": "cardiac-short-axis",
}


@dataclass(frozen=True)
class Recipe:
    """All that decides a model's weights, but for the seed. ``degradation`` holds the keywords of ``degrade``.

    ``restoration`` is the record's field of that name; empty means one pass, trained on the squared error. ``ema`` is
    the share of the averaged weights that a step keeps; 0 keeps none and ships the best epoch's own. ``half`` stores
    weights in half precision.
    """

    name: str
    task: Task
    kind: Kind
    family: str
    architecture: Mapping[str, Any]
    labels: tuple[str, ...] = ()
    label_column: str = ""
    degradation: Mapping[str, Any] = field(default_factory=dict)
    patients: int = 2000
    epochs: int = 16
    batch: int = 64
    learning_rate: float = 2e-3
    seed: int = 1
    world: str = "null"
    restoration: Mapping[str, Any] = field(default_factory=dict)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-3
    ema: float = 0.0
    half: bool = False

    @property
    def pixels(self) -> PixelSpec:
        """Of its images: a heart has three channels, its frames at ED, ES and ED."""
        return replace(PIXELS, channels=3) if self.kind == "cardiac" else PIXELS

    @property
    def score(self) -> str:
        """The held-out score that a re-training is judged by."""
        return {"segmentation": "mean_dice", "reconstruction": "psnr_gain"}.get(self.task, "mean_auroc")

    @property
    def digest(self) -> str:
        """sha256 of the recipe's canonical JSON; what is usual is not named in it, so that old digests stay."""
        told = {key: value for key, value in asdict(self).items() if key not in _LATER or value != _LATER[key]}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _resnet(outputs: int, channels: int = 1) -> dict[str, int]:
    return {"in_channels": channels, "outputs": outputs, "width": 16}


def _unet(width: int, *, residual: bool) -> dict[str, Any]:
    return {"in_channels": 1, "out_channels": 1, "width": width, "levels": 3, "residual": residual}


# The same two acquisitions for every family, so that an audit compares families and nothing else.
LOW_DOSE = {"operator": "low-dose-xray", "photons": 1000}
UNDERSAMPLED = {"operator": "radial-kspace", "acceleration": 8}

# The network of IR-SDE at a size for 64 × 64 pixels and one core; the published one is in
# services.maths.networks.published.
_SAMPLED_NETWORK = {"width": 16, "depth": 2, "heads": 2, "head_width": 16, "patch": 2}
_KEYED = {"seed": 0, "noise": "pixels"}


def _pix2pix(name: str, kind: Kind, degradation: Mapping[str, Any]) -> Recipe:
    """The published optimiser, game and weight of L1; generator and discriminator for small images."""
    return Recipe(
        name,
        "reconstruction",
        kind,
        "pix2pix",
        {"generator": {"width": 16, "levels": 4}, "discriminator": {"width": 16, "layers": 2}},
        degradation=degradation,
        restoration={"method": "pix2pix", "mode": "evaluation", "l1_weight": 1000.0},
        patients=600,
        epochs=80,
        batch=16,
        learning_rate=2e-4,
        betas=(0.5, 0.999),
        weight_decay=0.0,
        half=True,
    )


def _ir_sde(name: str, kind: Kind, degradation: Mapping[str, Any], *, spread: float) -> Recipe:
    """The published process, loss and sampler, with 5 steps of its 100; ``spread`` is the root mean square of clean -
    degraded.

    A network of this size errs a little at every step: fewer are nearer to the original in PSNR and to the eye.
    """
    return Recipe(
        name,
        "reconstruction",
        kind,
        "restoration-unet",
        _SAMPLED_NETWORK,
        degradation=degradation,
        restoration={
            "method": "ir-sde",
            "times": 100,
            "deviation": 10 / 255,
            "remaining": 0.005,
            "offset": 0.008,
            "prediction": "velocity",
            "spread": spread,
            "sampler": "posterior",
            "steps": 5,
            **_KEYED,
        },
        epochs=14,
        **_SAMPLED_TRAINING,
    )


def _flow(name: str, kind: Kind, degradation: Mapping[str, Any], *, spread: float) -> Recipe:
    """A rectified flow from degraded to clean that is asked for two steps; ``spread`` as for IR-SDE."""
    return Recipe(
        name,
        "reconstruction",
        kind,
        "restoration-unet",
        _SAMPLED_NETWORK,
        degradation=degradation,
        restoration={
            "method": "flow",
            "deviation": 0.05,
            "spread": spread,
            "clock": 100.0,
            "sampler": "euler",
            "steps": 2,
            **_KEYED,
        },
        epochs=28,
        **_SAMPLED_TRAINING,
    )


_SAMPLED_TRAINING: Mapping[str, Any] = {
    "patients": 600,
    "batch": 8,
    "learning_rate": 1.5e-3,
    "betas": (0.9, 0.99),
    "weight_decay": 1e-4,
    "ema": 0.995,
    "half": True,
}

_ALL = (
    Recipe(
        "chest-classifier",
        "classification",
        "chest",
        "resnet18",
        _resnet(len(LABELS["chest"])),
        LABELS["chest"],
        patients=2400,
        epochs=14,
    ),
    Recipe(
        "sex-classifier",
        "attribute-classification",
        "chest",
        "resnet18",
        _resnet(2),
        ("Female", "Male"),
        label_column="sex",
        patients=1000,
        epochs=8,
    ),
    Recipe(
        "pelvis-race-classifier",
        "attribute-classification",
        "pelvis",
        "resnet18",
        _resnet(len(RACES)),
        RACES,
        label_column="race",
        patients=1000,
        epochs=8,
        world="planted",
    ),
    # Two that tell women's hearts from men's: one guides the tuning of a generator, the other, of another architecture
    # and from other patients, judges what came of it.
    Recipe(
        "cardiac-sex-classifier",
        "attribute-classification",
        "cardiac",
        "resnet18",
        _resnet(2, channels=3),
        ("Female", "Male"),
        label_column="sex",
        patients=800,
        epochs=6,
        half=True,
    ),
    Recipe(
        "cardiac-sex-judge",
        "attribute-classification",
        "cardiac",
        "vgg",
        {"in_channels": 3, "outputs": 2, "width": 16},
        ("Female", "Male"),
        label_column="sex",
        patients=800,
        epochs=6,
        seed=2,
        half=True,
    ),
    Recipe(
        "cardiac-bmi-classifier",
        "attribute-classification",
        "cardiac",
        "resnet18",
        _resnet(len(BMI_CUTS), channels=3),
        tuple(BMI_CUTS),
        label_column="bmi",
        patients=800,
        epochs=6,
        half=True,
    ),
    Recipe(
        "tumour-type-classifier",
        "classification",
        "brain",
        "resnet18",
        _resnet(1),
        ("glioblastoma",),
        patients=2000,
        epochs=14,
    ),
    Recipe(
        "tumour-grade-classifier",
        "classification",
        "brain",
        "resnet18",
        _resnet(1),
        ("tumour_grade_4",),
        patients=2000,
        epochs=14,
        half=True,
    ),
    Recipe(
        "tumour-segmenter",
        "segmentation",
        "brain",
        "unet",
        _unet(12, residual=False),
        ("tumour",),
        patients=800,
        epochs=10,
        batch=16,
    ),
    Recipe(
        "xray-unet",
        "reconstruction",
        "chest",
        "unet",
        _unet(16, residual=True),
        degradation=LOW_DOSE,
        patients=600,
        epochs=14,
        batch=16,
        learning_rate=1e-3,
    ),
    Recipe(
        "mri-unet",
        "reconstruction",
        "brain",
        "unet",
        _unet(16, residual=True),
        degradation=UNDERSAMPLED,
        patients=600,
        epochs=14,
        batch=16,
        learning_rate=1e-3,
    ),
    _pix2pix("xray-pix2pix", "chest", LOW_DOSE),
    _pix2pix("mri-pix2pix", "brain", UNDERSAMPLED),
    _ir_sde("xray-irsde", "chest", LOW_DOSE, spread=0.064),
    _ir_sde("mri-irsde", "brain", UNDERSAMPLED, spread=0.091),
    _flow("xray-flow", "chest", LOW_DOSE, spread=0.064),
    _flow("mri-flow", "brain", UNDERSAMPLED, spread=0.091),
)

_LATER = {
    "world": "null",
    "restoration": {},
    "betas": (0.9, 0.999),
    "weight_decay": 1e-3,
    "ema": 0.0,
    "half": False,
}
"""Fields that came after the first recipes, and what they were before."""

RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _ALL}


def find_recipe(name: str) -> Recipe:
    """NotFound RECIPE_NOT_FOUND for an unknown name."""
    if name not in RECIPES:
        known = ", ".join(RECIPES)
        raise NotFound(f"no recipe {name!r}; there are {known}", field="recipe", reason="RECIPE_NOT_FOUND")
    return RECIPES[name]
