"""Trained generative models as packages that the hosts read: one weights file, or folders as diffusers lays them out.

Weights are stored in half precision and computed with in single precision, here as in serving: what is scored is what
is shipped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save

from services.adapters.weights import ModelRecord
from services.maths.diffusion.attributes import Attribute
from services.training.generative.fitting import State
from services.training.generative.images import spec
from services.training.generative.recipes import GenerativeRecipe
from services.training.packages import file_digests, write_record

WEIGHTS = "weights.safetensors"
LICENCE = "Apache-2.0"
MODALITIES = {"pelvis": "pelvis-radiograph", "cardiac": "cardiac-short-axis"}


def write_network(registry: Path, recipe: GenerativeRecipe, version: str, state: State, **stated: Any) -> ModelRecord:
    """A package of one network of ours."""
    folder = _fresh(registry, recipe, version)
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    (folder / WEIGHTS).write_bytes(save({name: tensor.contiguous() for name, tensor in half.items()}))
    return _describe(folder, recipe, version, **stated)


def write_pipeline(
    registry: Path,
    recipe: GenerativeRecipe,
    version: str,
    *,
    tokenizer: Any,
    text: Any,
    vae: Any,
    unet: Any,
    **stated: Any,
) -> ModelRecord:
    """A package in the layout of a Stable Diffusion folder, of diffusers' and transformers' (untyped) objects."""
    folder = _fresh(registry, recipe, version)
    tokenizer.save_pretrained(folder / "tokenizer")
    text.half().save_pretrained(folder / "text_encoder")
    vae.half().save_pretrained(folder / "vae")
    unet.half().save_pretrained(folder / "unet")
    (folder / "scheduler").mkdir()
    scheduler = json.dumps(scheduler_config(recipe.diffusion), indent=2) + "\n"
    (folder / "scheduler" / "scheduler_config.json").write_text(scheduler, "utf-8")
    return _describe(folder, recipe, version, family="latent-diffusion", **stated)


def write_controlnet(
    registry: Path,
    recipe: GenerativeRecipe,
    version: str,
    controlnet: Any,
    base: ModelRecord,
    **stated: Any,
) -> ModelRecord:
    """A control branch alone; its record names the text-to-image model that it steers."""
    folder = _fresh(registry, recipe, version)
    controlnet.half().save_pretrained(folder / "controlnet")
    named = {"name": base.name, "version": base.version, "digest": base.digest}
    return _describe(folder, recipe, version, family="controlnet", base=named, **stated)


def scheduler_config(diffusion: Mapping[str, Any]) -> dict[str, Any]:
    """scheduler_config.json as diffusers reads it, of what model.yaml says under ``diffusion``."""
    predictions = {"epsilon": "epsilon", "v": "v_prediction", "x0": "sample"}
    return {
        "_class_name": "DDIMScheduler",
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "clip_sample": False,
        "num_train_timesteps": 1000,
        "prediction_type": predictions[diffusion["prediction"]],
        "rescale_betas_zero_snr": bool(diffusion.get("zero_terminal_snr", False)),
        "set_alpha_to_one": True,
        "steps_offset": 0,
        "timestep_spacing": "trailing",
    }


def _fresh(registry: Path, recipe: GenerativeRecipe, version: str) -> Path:
    folder = registry / recipe.name / version
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _describe(
    folder: Path, recipe: GenerativeRecipe, version: str, *, seen: Mapping[str, Any] | None = None, **stated: Any
) -> ModelRecord:
    """Write model.yaml last and by rename, checked by the class that the hosts read it with.

    ``seen`` is what the model saw, for reports: ``shares`` of levels and ``spreads`` of features within groups.
    """
    pixels = asdict(spec(recipe.channels, recipe.size))
    small = asdict(spec(recipe.channels, recipe.size // recipe.factor))
    record = ModelRecord.model_validate(
        {
            "name": recipe.name,
            "version": version,
            "task": recipe.task,
            "input": small,
            "output": None if recipe.task == "image-embedding" else pixels,
            "modality": MODALITIES.get(recipe.kinds[0], "") if len(recipe.kinds) == 1 else "",
            "diffusion": dict(recipe.diffusion) or None,
            "conditions": [_condition(attribute, recipe) for attribute in recipe.conditions],
            "factor": recipe.factor if recipe.factor > 1 else None,
            "licence": LICENCE,
            "training": {
                "recipe": recipe.name,
                "digest": recipe.digest,
                "world": recipe.world,
                "organs": list(recipe.kinds),
                "patients": recipe.patients,
                "seed": recipe.seed,
                **(seen or {}),
            },
            "files": file_digests(folder),
            **stated,
        }
    )
    write_record(folder, record)
    return record


def _condition(attribute: Attribute, recipe: GenerativeRecipe) -> dict[str, Any]:
    values = {"levels": list(attribute.levels)} if attribute.levels else {"low": attribute.low, "high": attribute.high}
    return {"name": attribute.name, **values, "optional": attribute.name not in recipe.always_given}
