"""A whole run of one generative recipe in this process: draw, train, package. Each part may resume after a crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTokenizer

from services.adapters.diffusion_folder import load_latent_diffusion
from services.adapters.weights import DirectoryRegistry
from services.maths.diffusion.parameterisation import Parameterisation
from services.maths.diffusion.schedules import cosine_schedule, scaled_linear_schedule
from services.maths.networks.diffusion_unet import DiffusionUNet
from services.maths.phantoms.captions import compose, random_attributes
from services.maths.phantoms.pelvis import PELVIS_SPREADS
from services.training.generative.autoencoder import Autoencoder, encoded, reconstruction_loss
from services.training.generative.captioned import Captioned, captioned
from services.training.generative.class_to_image import denoising_loss, vectors
from services.training.generative.contrastive import TextAndImages, contrastive_loss
from services.training.generative.fitting import State, fit
from services.training.generative.images import TRAINING, Pictures, draw_pictures, spec
from services.training.generative.packages import write_controlnet, write_network, write_pipeline
from services.training.generative.recipes import GenerativeRecipe, find_generative_recipe
from services.training.generative.super_resolution import super_resolution_loss
from services.training.generative.text_to_image import Prompts, latent_loss
from services.training.generative.tokens import train_tokenizer

Report = Callable[[str, int, float], None]  # part, step, mean loss since the last report
CAPTIONS_FOR_TOKENS = 2000  # of each organ
MASK_LABELS = ("background", "left ventricle", "myocardium", "right ventricle")


@dataclass(frozen=True)
class Workshop:
    """Where a run works. ``registry`` takes the packages and holds those that a recipe builds on."""

    recipe: GenerativeRecipe
    registry: Path
    version: str
    work: Path
    report: Report
    device: str = "cpu"
    """Where a model that goes on from another learns; those from scratch are small, and learn on a processor."""

    def fit(self, part: str, module: torch.nn.Module, loss: Any) -> State:
        """Train one part, from its last checkpoint if it has one."""

        def tell(step: int, value: float) -> None:
            self.report(part, step, value)

        how, seed = self.recipe.fits[part], self.recipe.seed
        return fit(module, loss, how, seed=seed, folder=self.work / part, report=tell)

    def pictures(self, kind: Any) -> Pictures:
        recipe = self.recipe
        pixels = spec(recipe.channels, recipe.size)
        return draw_pictures(kind, recipe.world, TRAINING, patients=recipe.patients, seed=recipe.seed, pixels=pixels)

    def captioned(self) -> Captioned:
        return captioned({kind: self.pictures(kind) for kind in self.recipe.kinds})


def train_generative(
    name: str, registry: Path, version: str, work: Path, report: Report, *, device: str = "cpu"
) -> Path:
    """Train the recipe and write its package; checkpoints lie in ``work``. Returns the package's folder."""
    recipe = find_generative_recipe(name)
    _TRAINERS[recipe.task](Workshop(recipe, registry, version, work / name, report, device))
    return registry / name / version


def scalings(recipe: GenerativeRecipe) -> Parameterisation:
    """The recipe's schedule and prediction."""
    make = cosine_schedule if recipe.diffusion["schedule"] == "cosine" else scaled_linear_schedule
    schedule = make(zero_terminal_snr=bool(recipe.diffusion.get("zero_terminal_snr", False)))
    return Parameterisation(recipe.diffusion["prediction"], schedule, largest_weight=recipe.largest_weight)


def _seeded(recipe: GenerativeRecipe, build: Callable[[], Any]) -> Any:
    """A network whose initial weights depend on the recipe's seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return build().to(memory_format=torch.channels_last)


def _class_to_image(shop: Workshop) -> None:
    recipe = shop.recipe
    network: DiffusionUNet = _seeded(recipe, lambda: DiffusionUNet(**recipe.parts["network"]))
    pictures = shop.pictures(recipe.kinds[0])
    known = vectors(recipe.conditions, pictures.table)
    batch = recipe.fits["network"].batch
    loss = denoising_loss(
        network,
        scalings(recipe),
        pictures.pixels,
        known,
        recipe.conditions,
        batch=batch,
        always_given=recipe.always_given,
    )
    seen = {"shares": level_shares(recipe, pictures.table), "spreads": dict(PELVIS_SPREADS)}
    _publish_unet(shop, shop.fit("network", network, loss), seen)


def level_shares(recipe: GenerativeRecipe, table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The share of images with each level of each named attribute, of those that have one."""
    named = (attribute for attribute in recipe.conditions if attribute.levels)
    return {
        attribute.name: {
            level: round(float((table[attribute.name] == level).sum() / table[attribute.name].notna().sum()), 4)
            for level in attribute.levels
        }
        for attribute in named
    }


def _super_resolution(shop: Workshop) -> None:
    recipe = shop.recipe
    network: DiffusionUNet = _seeded(recipe, lambda: DiffusionUNet(**recipe.parts["network"]))
    pictures = shop.pictures(recipe.kinds[0])
    batch = recipe.fits["network"].batch
    loss = super_resolution_loss(network, scalings(recipe), pictures.pixels.half(), factor=recipe.factor, batch=batch)
    _publish_unet(shop, shop.fit("network", network, loss))


def _publish_unet(shop: Workshop, state: State, seen: Mapping[str, Any] | None = None) -> None:
    architecture = {key: _plain(value) for key, value in shop.recipe.parts["network"].items()}
    write_network(
        shop.registry, shop.recipe, shop.version, state, family="diffusion-unet", architecture=architecture, seen=seen
    )


def _clip(shop: Workshop) -> None:
    recipe = shop.recipe
    tokenizer = _tokenizer(recipe, shop.work / "tokenizer")
    network: TextAndImages = _seeded(recipe, lambda: clip_network(recipe, tokenizer))
    loss = contrastive_loss(network, tokenizer, shop.captioned(), recipe.fits["network"].batch)
    state = shop.fit("network", network, loss)
    image = {name.removeprefix("image."): tensor for name, tensor in state.items() if name.startswith("image.")}
    write_network(
        shop.registry,
        recipe,
        shop.version,
        image,
        family="resnet18",
        architecture=dict(recipe.parts["image"]),
    )


def clip_network(recipe: GenerativeRecipe, tokenizer: CLIPTokenizer) -> TextAndImages:
    """The CLIP of a recipe, over the vocabulary of its tokenizer."""
    text = {
        **recipe.parts["text"],
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return TextAndImages(text, dict(recipe.parts["image"]))


def _tokenizer(recipe: GenerativeRecipe, folder: Path) -> CLIPTokenizer:
    rng = np.random.default_rng(recipe.seed)
    captions = (
        compose(kind, random_attributes(kind, rng), rng) for _ in range(CAPTIONS_FOR_TOKENS) for kind in recipe.kinds
    )
    learned: Mapping[str, Any] = recipe.parts["tokenizer"]
    return train_tokenizer(captions, vocabulary=learned["vocabulary"], limit=learned["limit"], folder=folder)


def _text_to_image(shop: Workshop) -> None:
    """The autoencoder, then the U-Net in its latents, conditioned on the frozen text half of the CLIP's run."""
    recipe = shop.recipe
    if find_generative_recipe(recipe.base).task == "text-to-image":
        _continued(shop)
        return
    clip_recipe = find_generative_recipe(recipe.base)
    tokenizer = _tokenizer(clip_recipe, shop.work / "tokenizer")
    clip = clip_network(clip_recipe, tokenizer)
    clip.load_state_dict(_trained(shop.work.parent / recipe.base / "network"))
    clip.eval()
    examples = shop.captioned()
    vae: Autoencoder = _seeded(recipe, lambda: Autoencoder(**recipe.parts["vae"]))
    vae.load_state_dict(shop.fit("vae", vae, reconstruction_loss(vae, examples, recipe.fits["vae"].batch)))
    vae.eval()
    latents = encoded(vae.vae, examples.pixels)
    scale = 1.0 / float(latents[:, 0].std())
    vae.vae.register_to_config(scaling_factor=scale)
    unet: Any = _seeded(recipe, lambda: cast("Any", UNet2DConditionModel)(**recipe.parts["unet"]))
    prompts = Prompts(lambda said: clip.text(_padded(tokenizer, said)).last_hidden_state)
    batch = recipe.fits["unet"].batch
    loss = latent_loss(unet, scalings(recipe), latents, scale, examples=examples, prompts=prompts, batch=batch)
    unet.load_state_dict(shop.fit("unet", unet, loss))
    write_pipeline(shop.registry, recipe, shop.version, tokenizer=tokenizer, text=clip.text, vae=vae.vae, unet=unet)


def _continued(shop: Workshop) -> None:
    """The base's U-Net goes on with another corpus; its autoencoder and its text encoder stay as they are."""
    recipe = shop.recipe
    registry = DirectoryRegistry([shop.registry])
    model = load_latent_diffusion(registry.folder(registry.find(recipe.base)))
    examples = shop.captioned()
    unet = model.unet.requires_grad_(True).to(shop.device, memory_format=torch.channels_last)
    loss = latent_loss(
        unet,
        scalings(recipe),
        encoded(model.vae, examples.pixels),
        float(model.vae.config.scaling_factor),
        examples=examples,
        prompts=Prompts(lambda said: model.text.encode(model.text.tokens(said))),
        batch=recipe.fits["unet"].batch,
        skew=recipe.skew,
        unsaid=recipe.unsaid,
    )
    unet.load_state_dict(shop.fit("unet", unet, loss))
    seen = {"shares": {name: dict(shares) for name, shares in recipe.skew.items()}}
    text = model.text
    write_pipeline(
        shop.registry,
        recipe,
        shop.version,
        tokenizer=text.tokenizer,
        text=text.model,
        vae=model.vae,
        unet=unet.to("cpu"),
        seen=seen,
    )


def _mask_to_image(shop: Workshop) -> None:
    """The control branch alone; everything of its base stays as it is."""
    recipe = shop.recipe
    registry = DirectoryRegistry([shop.registry])
    base = registry.find(recipe.base)
    model = load_latent_diffusion(registry.folder(base))
    examples = shop.captioned()
    latents = encoded(model.vae, examples.pixels)
    prompts = Prompts(lambda said: model.text.encode(model.text.tokens(said)))

    def branch() -> Any:
        return cast("Any", ControlNetModel).from_unet(model.unet, conditioning_channels=3, **recipe.parts["controlnet"])

    controlnet = _seeded(recipe, branch).requires_grad_(True)
    loss = latent_loss(
        model.unet,
        scalings(recipe),
        latents,
        float(model.vae.config.scaling_factor),
        examples=examples,
        prompts=prompts,
        batch=recipe.fits["controlnet"].batch,
        controlnet=controlnet,
        rows_from=torch.arange(len(examples)),
    )
    controlnet.load_state_dict(shop.fit("controlnet", controlnet, loss))
    write_controlnet(shop.registry, recipe, shop.version, controlnet, base, mask_labels=MASK_LABELS)


def _padded(tokenizer: CLIPTokenizer, prompts: list[str]) -> torch.Tensor:
    """Exactly as serving pads: the encoder sees the same tokens in both."""
    limit = tokenizer.model_max_length
    return torch.as_tensor(tokenizer(prompts, padding="max_length", max_length=limit, return_tensors="pt").input_ids)


def _trained(folder: Path) -> State:
    """The averaged weights in a finished run's checkpoint."""
    flat = load_file(str(folder / "checkpoint.safetensors"))
    return {name.removeprefix("average/"): tensor for name, tensor in flat.items() if name.startswith("average/")}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


_TRAINERS: Mapping[str, Callable[[Workshop], None]] = {
    "class-to-image": _class_to_image,
    "super-resolution": _super_resolution,
    "image-embedding": _clip,
    "text-to-image": _text_to_image,
    "mask-to-image": _mask_to_image,
}
