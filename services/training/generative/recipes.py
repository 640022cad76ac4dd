"""What generative models the platform can train: one declared recipe a package of the zoo."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from services.errors import NotFound
from services.maths.diffusion.attributes import Attribute
from services.maths.phantoms.pelvis import GRADES, LATERALITIES, PROJECTIONS
from services.maths.phantoms.worlds import RACES, Kind
from services.training.generative.fitting import Fit


@dataclass(frozen=True)
class GenerativeRecipe:
    """All that decides a model's weights, but for the seed.

    ``parts`` holds the architecture of each network of the package, ``fits`` how each is trained, in order.
    ``diffusion`` and ``conditions`` go into model.yaml as they are; conditions that are not
    ``always_given`` are left out at random. ``skew`` gives attributes shares of their levels in the corpus, whatever
    else the pictures show, and ``unsaid`` how often a caption does not name an attribute.
    """

    name: str
    task: str
    kinds: tuple[Kind, ...]
    world: str
    size: int
    channels: int
    parts: Mapping[str, Mapping[str, Any]]
    fits: Mapping[str, Fit]
    diffusion: Mapping[str, Any] = field(default_factory=dict)
    conditions: tuple[Attribute, ...] = ()
    always_given: tuple[str, ...] = ()
    factor: int = 1
    base: str = ""
    largest_weight: float | None = None
    patients: int = 8000
    seed: int = 1
    skew: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    unsaid: Mapping[str, float] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """sha256 of the recipe's canonical JSON; what is usual is not named in it, so that old digests stay."""
        told = {key: value for key, value in asdict(self).items() if key not in ("skew", "unsaid") or value}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


# What the published model was told (Khosravi et al. 2024) …
PELVIS_ATTRIBUTES = (
    Attribute("sex", ("Female", "Male")),
    Attribute("age", low=18, high=95),
    Attribute("race", RACES),
    Attribute("bmi", low=15, high=50),
    Attribute("laterality", LATERALITIES),
    Attribute("projection", PROJECTIONS),
)
# … and the confounder, which it was not.
SEVERITY = Attribute("osteoarthritis", tuple(str(grade) for grade in range(GRADES + 1)))


def _pelvis_diffusion(name: str, attributes: tuple[Attribute, ...], always_given: tuple[str, ...]) -> GenerativeRecipe:
    return GenerativeRecipe(
        name=name,
        task="class-to-image",
        kinds=("pelvis",),
        world="planted",
        size=32,
        channels=1,
        parts={
            "network": {
                "width": 32,
                "multipliers": (1, 2, 2),
                "blocks": 1,
                "attention_factors": (2, 4),
                "conditions": sum(attribute.places for attribute in attributes),
                "patch": 2,
            }
        },
        fits={"network": Fit(steps=6000, batch=32, learning_rate=2e-3)},
        diffusion={
            "schedule": "cosine",
            "zero_terminal_snr": True,
            "prediction": "v",
            "clip": True,
            "spacing": "quadratic",
        },
        conditions=attributes,
        always_given=always_given,
        largest_weight=4.0,
        patients=4000,
    )


ORGANS: tuple[Kind, ...] = ("chest", "brain", "pelvis", "cardiac")
TOKENS = 32  # the longest caption has 25

_ALL = (
    _pelvis_diffusion("pelvis-diffusion", PELVIS_ATTRIBUTES, ()),
    _pelvis_diffusion("pelvis-severity-diffusion", (*PELVIS_ATTRIBUTES, SEVERITY), (SEVERITY.name,)),
    GenerativeRecipe(
        name="pelvis-upscaler",
        task="super-resolution",
        kinds=("pelvis",),
        world="null",
        size=128,
        channels=1,
        parts={
            "network": {
                "in_channels": 2,
                "width": 32,
                "multipliers": (1, 2),
                "blocks": 2,
                "attention_factors": (),
                "patch": 4,
            }
        },
        fits={"network": Fit(steps=3000, batch=16, learning_rate=1e-3)},
        diffusion={
            "schedule": "cosine",
            "zero_terminal_snr": True,
            "prediction": "x0",
            "clip": True,
            "null_condition": False,
            "default_steps": 8,
        },
        factor=4,
        patients=1500,
    ),
    GenerativeRecipe(
        name="phantom-clip",
        task="image-embedding",
        kinds=ORGANS,
        world="null",
        size=64,
        channels=3,
        parts={
            "tokenizer": {"vocabulary": 1024, "limit": TOKENS},
            "text": {
                "hidden_size": 96,
                "intermediate_size": 256,
                "num_hidden_layers": 3,
                "num_attention_heads": 4,
                "max_position_embeddings": TOKENS,
                "hidden_act": "gelu",
            },
            "image": {"in_channels": 3, "outputs": 64, "width": 16},
        },
        fits={"network": Fit(steps=800, batch=64, learning_rate=1e-3, ema=0.99)},
        patients=2400,
        seed=7,
    ),
    GenerativeRecipe(
        name="phantom-diffusion",
        task="text-to-image",
        kinds=ORGANS,
        world="null",
        size=64,
        channels=3,
        parts={
            "vae": {
                "in_channels": 3,
                "out_channels": 3,
                "down_block_types": ("DownEncoderBlock2D",) * 3,
                "up_block_types": ("UpDecoderBlock2D",) * 3,
                "block_out_channels": (16, 32, 32),
                "layers_per_block": 1,
                "latent_channels": 4,
                "norm_num_groups": 8,
                "sample_size": 64,
            },
            "unet": {
                "sample_size": 16,
                "in_channels": 4,
                "out_channels": 4,
                "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
                "block_out_channels": (48, 64),
                "layers_per_block": 1,
                "cross_attention_dim": 96,
                "attention_head_dim": 4,
                "norm_num_groups": 16,
            },
        },
        fits={
            "vae": Fit(steps=2000, batch=8, learning_rate=2e-3, ema=0.99),
            "unet": Fit(steps=7000, batch=16, learning_rate=2e-3),
        },
        diffusion={
            "schedule": "scaled-linear",
            "prediction": "v",
            "zero_terminal_snr": True,
            "clip": False,
            "guidance_scale": 3.0,
        },
        base="phantom-clip",
        largest_weight=4.0,
        patients=2400,
        seed=7,
    ),
    # What a generator learns from a corpus in which three hearts in four are women's and captions seldom say so.
    GenerativeRecipe(
        name="cardiac-skewed-diffusion",
        task="text-to-image",
        kinds=("cardiac",),
        world="null",
        size=64,
        channels=3,
        parts={},
        fits={"unet": Fit(steps=3000, batch=32, learning_rate=1e-3)},
        diffusion={
            "schedule": "scaled-linear",
            "prediction": "v",
            "zero_terminal_snr": True,
            "clip": False,
            "guidance_scale": 2.0,
        },
        base="phantom-diffusion",
        largest_weight=4.0,
        patients=2400,
        seed=8,
        skew={"sex": {"Female": 0.75, "Male": 0.25}},
        unsaid={"sex": 0.8, "age": 0.3, "bmi": 0.3, "diagnosis": 0.3},
    ),
    GenerativeRecipe(
        name="phantom-controlnet",
        task="mask-to-image",
        kinds=("cardiac",),
        world="null",
        size=64,
        channels=3,
        parts={"controlnet": {"conditioning_embedding_out_channels": (16, 32, 64)}},
        fits={"controlnet": Fit(steps=9000, batch=12, learning_rate=2e-3)},
        diffusion={
            "schedule": "scaled-linear",
            "prediction": "v",
            "zero_terminal_snr": True,
            "clip": False,
            "guidance_scale": 3.0,
        },
        base="phantom-diffusion",
        largest_weight=4.0,
        patients=2400,
        seed=7,
    ),
)

GENERATIVE_RECIPES: Mapping[str, GenerativeRecipe] = {recipe.name: recipe for recipe in _ALL}


def find_generative_recipe(name: str) -> GenerativeRecipe:
    """NotFound RECIPE_NOT_FOUND for an unknown name."""
    if name not in GENERATIVE_RECIPES:
        known = ", ".join(GENERATIVE_RECIPES)
        raise NotFound(f"no recipe {name!r}; there are {known}", field="recipe", reason="RECIPE_NOT_FOUND")
    return GENERATIVE_RECIPES[name]
