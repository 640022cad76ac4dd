"""The pelvis pair and its super-resolution as the load tests sample them: by the engine that serves, and as published.

The published recipe (Khosravi et al. 2024, with what their code adds) is written out here by itself: it shares the
networks' definition, the schedule's numbers and the noise with the platform, and nothing of its sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.hosting.diffusion.families import Condition
from services.hosting.diffusion.host import DiffusionHost
from services.hosting.diffusion.loading import scalings_of
from services.hosting.diffusion.rows import Order
from services.hosting.diffusion.sampling import diffusion_of
from services.hosting.diffusion.settings import DiffusionSettings
from services.maths.diffusion.attributes import attribute_vector
from services.maths.diffusion.guidance import Guidance
from services.maths.diffusion.noise import image_noise
from services.maths.diffusion.parameterisation import Parameterisation
from services.maths.diffusion.paths import embedding_path
from services.maths.diffusion.schedules import Levels, Spacing, sampling_levels
from services.maths.networks import build_network
from services.training.generative.packages import write_network
from services.training.generative.recipes import find_generative_recipe

ZOO = Path(__file__).resolve().parents[1] / "deploy/zoo"
BASE, UPSCALER, ENCODER = "pelvis-severity-diffusion", "pelvis-upscaler", "phantom-clip"
TASKS = ("class-to-image", "super-resolution")
SEED = 11
# Osteoarthritis is held, too, so that it has a grade from which two per cent can be taken.
HELD = {"sex": "Female", "age": 63.0, "bmi": 26.0, "laterality": "left", "projection": "AP", "osteoarthritis": "2"}
SOURCE, TARGET = {"race": "White"}, {"race": "Black"}


@dataclass(frozen=True)
class Recipe:
    """How both stages are sampled."""

    sampler: str
    steps: int
    upscale_sampler: str
    upscale_steps: int


def shipped() -> bool:
    return all((ZOO / name).is_dir() for name in (BASE, UPSCALER, ENCODER))


def random_registry(folder: Path) -> Path:
    """Untrained packages of the shipped architectures: good for timing, not for reading features."""
    encoder = find_generative_recipe(ENCODER)
    _write_random(folder, BASE, "diffusion-unet", find_generative_recipe(BASE).parts["network"])
    _write_random(folder, UPSCALER, "diffusion-unet", find_generative_recipe(UPSCALER).parts["network"])
    _write_random(folder, ENCODER, "resnet18", encoder.parts["image"])
    return folder


def _write_random(folder: Path, name: str, family: str, architecture: object) -> None:
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in dict(architecture).items()}  # type: ignore[call-overload]
    torch.manual_seed(SEED)
    network = build_network(family, plain)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)  # as initialised, a network says nothing but zero
    write_network(folder, find_generative_recipe(name), "1", network.state_dict(), family=family, architecture=plain)


class Pair:
    """Both models in the engine that serves, one thread, ``batch`` rows a call."""

    def __init__(
        self, registry: Path, guidance: Guidance, *, interval: tuple[float, float] = (0.0, 1.0), batch: int = 0
    ) -> None:
        settings = DiffusionSettings(registries=(registry,), batch=batch, device="cpu", most_waiting=10_000)
        self.host = DiffusionHost(settings, TASKS)
        self.base, self.upscaler = self.host.find(BASE), self.host.find(UPSCALER)
        self.guidance = guidance
        self._interval = interval

    def filled(self, recipe: Recipe) -> Recipe:
        """Steps of 0 become the models' own."""
        base, upscaler = (diffusion_of(record).default_steps for record in (self.base, self.upscaler))
        return replace(recipe, steps=recipe.steps or base, upscale_steps=recipe.upscale_steps or upscaler)

    async def path(self, frames: int) -> torch.Tensor:
        """(frames, E) embeddings from source to target."""

        def walk() -> torch.Tensor:
            source, target = (self._embedding(HELD | end) for end in (SOURCE, TARGET))
            return embedding_path(source, target, frames)

        return await self.host.engine.run(walk)

    async def patients(self, count: int) -> torch.Tensor:
        """(count, E) embeddings of patients who differ in everything."""
        return await self.host.engine.run(lambda: torch.stack([self._embedding(_someone(i)) for i in range(count)]))

    async def sample(
        self,
        embeddings: torch.Tensor,
        sampler: str,
        steps: int,
        *,
        indices: Sequence[int] | None = None,
        spacing: Spacing | None = None,
    ) -> np.ndarray:
        """Base images (N, 1, 32, 32). One noise for all, or one for each of ``indices``; the model's own spacing."""
        denoiser = self.host.denoiser(self.base)
        plan = self.host.plan(self.base, sampler, steps, spacing=spacing)
        null = await self.host.engine.run(denoiser.null, Condition(embeddings[0]))
        keys = indices or [0] * len(embeddings)
        guidance = replace(self.guidance, interval=self._interval)
        orders = [
            Order(Condition(embedding), plan, SEED, index, guidance=guidance, null=null)
            for index, embedding in zip(keys, embeddings, strict=True)
        ]
        return await self.host.images(self.base, orders)

    async def upscale(self, images: np.ndarray, sampler: str, steps: int) -> np.ndarray:
        """(N, 1, 128, 128), with one noise for all."""
        denoiser, plan = self.host.denoiser(self.upscaler), self.host.plan(self.upscaler, sampler, steps)
        hints = [await self.host.engine.run(denoiser.enlarge, image) for image in images]
        orders = [Order(Condition(hint=hint), plan, SEED, stage="upscale") for hint in hints]
        return await self.host.images(self.upscaler, orders)

    async def frames(self, embeddings: torch.Tensor, recipe: Recipe) -> np.ndarray:
        """Both stages, as a counterfactual of the service is made."""
        small = await self.sample(embeddings, recipe.sampler, recipe.steps)
        return await self.upscale(small, recipe.upscale_sampler, recipe.upscale_steps)

    def _embedding(self, given: dict[str, str | float]) -> torch.Tensor:
        embedded: torch.Tensor = self.host.denoiser(self.base).embed(attribute_vector(self.base.attributes(), given))
        return embedded


def _someone(index: int) -> dict[str, str | float]:
    draw = np.random.default_rng(index)
    return {
        "sex": ("Female", "Male")[index % 2],
        "age": float(draw.uniform(40, 80)),
        "race": ("White", "Black")[index // 2 % 2],
        "bmi": float(draw.uniform(20, 34)),
        "laterality": ("left", "right")[index // 4 % 2],
        "projection": "AP",
        "osteoarthritis": str(draw.integers(0, 5)),
    }


class PlainRecipe:
    """DDIM of 200 steps at both stages, guidance at every base step, one frame at a time, float32, torch's own layout.

    The clean image is clipped and the noise derived again from the clipped one, as the published code does. It visits
    every fifth level from the noisiest ("trailing"), where the published code visits every fifth from the cleanest
    ("leading"): the shipped models are trained to a zero terminal SNR, and pure noise is what they know at the last
    level, not at the fifth to last.
    """

    def __init__(self, registry: Path, guidance: Guidance, *, steps: int = 200, spacing: Spacing = "trailing") -> None:
        packages = DirectoryRegistry([registry])
        self._base, self._upscaler = (_Stage(packages, name, steps, spacing) for name in (BASE, UPSCALER))
        self._guidance = guidance

    @torch.inference_mode()
    def frame(self, embedding: torch.Tensor, null: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The base image (1, 32, 32) and the super-resolved one (1, 128, 128), canonical."""
        both = torch.stack([embedding, null])

        def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            cond, uncond = self._base.network(torch.cat([x, x]), t.expand(2), both).chunk(2)
            return self._guide(cond, uncond)

        small = self._base.sample(predict, "base")
        hint = functional.interpolate(small, scale_factor=4, mode="bicubic", align_corners=False).clamp(-1.0, 1.0)
        large = self._upscaler.sample(lambda x, t: self._upscaler.network(torch.cat([x, hint], 1), t), "upscale")
        return _canonical(small), _canonical(large)

    def _guide(self, cond: torch.Tensor, uncond: torch.Tensor) -> torch.Tensor:
        pushed = uncond + self._guidance.scale * (cond - uncond)
        share = self._guidance.rescale
        return share * pushed * cond.std() / pushed.std() + (1.0 - share) * pushed


class _Stage:
    """One network with the levels that it is sampled at."""

    def __init__(self, packages: DirectoryRegistry, name: str, steps: int, spacing: Spacing) -> None:
        record: ModelRecord = packages.find(name)
        assert record.output is not None
        self.network = build_network(record.family, dict(record.architecture)).eval().requires_grad_(False)
        tensors = packages.load_tensors(record)
        self.network.load_state_dict(
            {key: torch.from_numpy(np.array(value, np.float32)) for key, value in tensors.items()}
        )
        self._scalings: Parameterisation = scalings_of(record)
        self._levels: Levels = sampling_levels(self._scalings.schedule, steps, spacing=spacing)
        self._shape = (record.output.channels, record.output.height, record.output.width)

    def sample(self, predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], noise: str) -> torch.Tensor:
        x = torch.from_numpy(image_noise(SEED, 0, noise, self._shape))[None]
        weights = pairwise(zip(self._levels.alphas.tolist(), self._levels.sigmas.tolist(), strict=True))
        for step, ((alpha, sigma), (to_alpha, to_sigma)) in zip(self._levels.timesteps.tolist(), weights, strict=True):
            t = torch.tensor([step])
            clean = self._scalings.denoised(predict(x, t), x, t).clamp(-1.0, 1.0)
            x = to_alpha * clean + to_sigma * (x - alpha * clean) / sigma
        return x


def _canonical(image: torch.Tensor) -> np.ndarray:
    return ((image[0] + 1.0) / 2.0).clamp(0.0, 1.0).numpy()


class Encoder:
    """The image half of the shipped CLIP: what KID is taken over."""

    def __init__(self, registry: Path) -> None:
        packages = DirectoryRegistry([registry])
        record = packages.find(ENCODER)
        self._spec = record.input
        self._network = build_network(record.family, dict(record.architecture)).eval()
        tensors = packages.load_tensors(record)
        self._network.load_state_dict(
            {key: torch.from_numpy(np.array(value, np.float32)) for key, value in tensors.items()}
        )

    @torch.inference_mode()
    def features(self, images: np.ndarray) -> np.ndarray:
        """(N, 1, S, S) canonical → (N, D) directions, which are what the CLIP was trained on, of length √D."""
        spec = self._spec
        sized = functional.interpolate(torch.from_numpy(images), (spec.height, spec.width), mode="bicubic")
        values = sized.clamp(0.0, 1.0) * (spec.high - spec.low) + spec.low
        features = functional.normalize(self._network(values.expand(-1, spec.channels, -1, -1)).double(), dim=1)
        spread: np.ndarray = (features * features.shape[1] ** 0.5).numpy()
        return spread
