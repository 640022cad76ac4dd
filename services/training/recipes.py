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
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from services.errors import NotFound
from services.maths.phantoms import LABELS
from services.maths.phantoms.worlds import RACES, Kind
from services.maths.pixels import PixelSpec

Task = Literal["classification", "attribute-classification", "segmentation", "reconstruction"]

PIXELS = PixelSpec(channels=1, height=64, width=64)
MODALITIES: Mapping[str, str] = {
    "chest": "chest-radiograph",
    "brain": "brain-flair",
    "pelvis": "pelvis-radiograph",
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
    def score(self) -> str:
        """The held-out score that a re-training is judged by."""
        return {"segmentation": "mean_dice", "reconstruction": "psnr_gain"}.get(self.task, "mean_auroc")

    @property
    def digest(self) -> str:
        """sha256 of the recipe's canonical JSON; what is usual is not named in it, so that old digests stay."""
        told = {key: value for key, value in asdict(self).items() if key not in _LATER or value != _LATER[key]}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _resnet(outputs: int) -> dict[str, int]:
    return {"in_channels": 1, "outputs": outputs, "width": 16}


def _unet(width: int, *, residual: bool) -> dict[str, Any]:
    return {"in_channels": 1, "out_channels": 1, "width": width, "levels": 3, "residual": residual}


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
        degradation={"operator": "low-dose-xray", "photons": 1000},
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
        degradation={"operator": "radial-kspace", "acceleration": 8},
        patients=600,
        epochs=14,
        batch=16,
        learning_rate=1e-3,
    ),
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
