"""Class-conditional diffusion in pixels (Khosravi et al. 2024): attributes as a vector, some of them left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from services.maths.diffusion.attributes import Attribute, attribute_vector
from services.maths.diffusion.parameterisation import Parameterisation
from services.maths.networks.diffusion_unet import DiffusionUNet

NULL_CHANCE = 0.1  # of a row to be trained without conditions, for guidance
MISSING_CHANCE = 0.1  # of an attribute not to be given


def vectors(attributes: tuple[Attribute, ...], table: pd.DataFrame) -> torch.Tensor:
    """(N, V) float32 of every row; NaN for what nobody recorded."""
    names = [attribute.name for attribute in attributes]
    rows = (
        attribute_vector(attributes, {str(name): value for name, value in row.items() if not _missing(value)})
        for row in table[names].to_dict("records")
    )
    return torch.from_numpy(np.stack(list(rows)))


def denoising_loss(
    network: DiffusionUNet,
    scalings: Parameterisation,
    pixels: torch.Tensor,
    conditions: torch.Tensor,
    attributes: tuple[Attribute, ...],
    *,
    batch: int,
    always_given: tuple[str, ...] = (),
) -> Any:
    """A loss for :func:`~services.training.generative.fitting.fit`: mean over a batch of random rows and times."""

    def loss(generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(len(pixels), (batch,), generator=generator)
        x0 = pixels[rows].contiguous(memory_format=torch.channels_last)
        t = torch.randint(scalings.schedule.steps, (batch,), generator=generator)
        eps = torch.randn(x0.shape, generator=generator)
        known = hidden(conditions[rows], attributes, generator, always_given)
        embedding = network.embed(known)
        null = torch.rand(batch, 1, generator=generator) < NULL_CHANCE
        embedding = torch.where(null, network.null_embedding, embedding)
        output = network(scalings.noisy(x0, eps, t), t, embedding)
        return scalings.loss(output, x0, eps, t).mean()

    return loss


def hidden(
    vectors: torch.Tensor,
    attributes: tuple[Attribute, ...],
    generator: torch.Generator,
    always_given: tuple[str, ...] = (),
) -> torch.Tensor:
    """The vectors with some attributes taken out, each independently of the others, all of its places together."""
    result, start = vectors.clone(), 0
    for attribute in attributes:
        chance = 0.0 if attribute.name in always_given else MISSING_CHANCE
        gone = torch.rand(len(vectors), generator=generator) < chance
        result[gone, start : start + attribute.places] = float("nan")
        start += attribute.places
    return result


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def shuffled(table: pd.DataFrame, column: str, rng: np.random.Generator) -> pd.DataFrame:
    """The negative control: the column's values dealt out to other patients."""
    changed: Mapping[str, Any] = {column: rng.permutation(table[column].to_numpy())}
    return table.assign(**changed)
