"""From a small image to a sampled large one: what the engine is told, and what is cut off again at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.adapters.weights import ModelRecord
from services.errors import NonFinite, OutOfRange, ShapeMismatch, TooLarge
from services.hosting.diffusion.families import Condition, SuperResolution
from services.hosting.diffusion.host import DiffusionHost
from services.hosting.diffusion.rows import Order, windows_of
from services.hosting.diffusion.sampling import checked_sampler, checked_seed, checked_steps, diffusion_of
from services.maths.diffusion.plans import Plan

TASKS = ("super-resolution",)
STAGE = "upscale"


@dataclass(frozen=True)
class Sampling:
    """How to upscale, everything decided. ``tile`` is the network's window in pixels of the large image."""

    plan: Plan
    sampler: str
    steps: int
    seed: int
    tile: int


def resolve(
    host: DiffusionHost,
    record: ModelRecord,
    *,
    sampler: str,
    steps: int,
    seed: int,
    tile: int,
    most_steps: int,
    at: str,
) -> Sampling:
    """``tile`` is in pixels of the small image, 0 for the model's own; errors name fields under ``at``."""
    name = checked_sampler(sampler, field=f"{at}.sampler")
    count = checked_steps(diffusion_of(record), steps, most_steps, field=f"{at}.steps")
    chosen = checked_tile(record, tile, field=f"{at}.tile")
    return Sampling(host.plan(record, name, count), name, count, checked_seed(seed, field=f"{at}.seed"), chosen)


def checked_tile(record: ModelRecord, tile: int, *, field: str) -> int:
    """The window's side in pixels of the large image. It must suit the network's halvings."""
    assert record.output is not None and record.factor is not None
    if not tile:
        return record.output.height
    halvings = len(record.architecture.get("multipliers", (1,))) - 1
    unit = int(record.architecture.get("patch", 1)) * 2**halvings
    side = tile * record.factor
    if tile < 0 or side % unit or side > 4 * record.output.height:
        raise OutOfRange(
            f"a tile of {record.name} times {record.factor} is a multiple of {unit}, at most "
            f"{4 * record.output.height}; got {tile}",
            field=field,
        )
    return side


def check_image(record: ModelRecord, image: np.ndarray, most_side: int, *, field: str) -> None:
    """(C, h, w) canonical, with the model's channels, and not too large when it comes out."""
    assert record.factor is not None
    if image.ndim != 3 or min(image.shape) < 1 or image.shape[0] != record.input.channels:
        raise ShapeMismatch(f"{record.name} takes ({record.input.channels}, h, w), got {image.shape}", field=field)
    if not np.isfinite(image).all():
        raise NonFinite("NaN or infinity among the pixels", field=field)
    if image.min() < 0 or image.max() > 1:
        raise OutOfRange("canonical pixels lie in [0, 1]", field=field)
    if max(image.shape[1:]) * record.factor > most_side:
        raise TooLarge(
            f"an image may have {most_side} pixels a side when it comes out, this one would have "
            f"{max(image.shape[1:]) * record.factor}",
            field=field,
        )


async def order_for(
    host: DiffusionHost, record: ModelRecord, image: np.ndarray, sampling: Sampling, *, index: int
) -> Order:
    """An image smaller than the window is continued at its edges; :func:`cropped` takes that off again."""
    denoiser = host.denoiser(record)
    assert isinstance(denoiser, SuperResolution) and record.factor is not None
    least = sampling.tile // record.factor
    missing = [max(0, least - side) for side in image.shape[1:]]
    whole = np.pad(image, ((0, 0), *((0, more) for more in missing)), mode="edge") if any(missing) else image
    hint = await host.engine.run(denoiser.enlarge, whole)
    return Order(Condition(hint=hint), sampling.plan, sampling.seed, index=index, stage=STAGE, tag=index)


def cropped(record: ModelRecord, large: np.ndarray, small: np.ndarray) -> np.ndarray:
    """(…, C, H, W) without what was continued beyond the image."""
    assert record.factor is not None
    height, width = (side * record.factor for side in small.shape[-2:])
    return np.ascontiguousarray(large[..., :height, :width])


def tiles_of(record: ModelRecord, small: np.ndarray, sampling: Sampling) -> int:
    """How many windows the network is shown of the image."""
    assert record.factor is not None
    sides = [max(sampling.tile, side * record.factor) for side in small.shape[-2:]]
    canvas, seen = (small.shape[0], *sides), (small.shape[0], sampling.tile, sampling.tile)
    return len(windows_of(canvas, seen))  # type: ignore[arg-type]
