"""A small CLIP (Radford et al. 2021) of phantom pictures and captions.

Its text half conditions the text-to-image model, frozen; its image half is the in-domain encoder of distances between
pictures. Pictures with the same organ and attributes are as right an answer as a caption's own one, so the target of a
row is spread over all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel

from services.maths.networks.resnet import ResNet18
from services.training.generative.captioned import Captioned

TEMPERATURE = 0.07


class TextAndImages(nn.Module):
    """Both halves; ``text`` is stored in the text-to-image package, ``image`` in a package of its own."""

    def __init__(self, text: dict[str, Any], image: dict[str, Any]) -> None:
        super().__init__()
        self.text = CLIPTextModel(CLIPTextConfig(**text))
        self.image = ResNet18(**image)
        self.projection = nn.Linear(text["hidden_size"], image["outputs"], bias=False)
        self.scale = nn.Parameter(torch.tensor(1.0 / TEMPERATURE).log())

    def similarities(self, tokens: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        """(B, B) scaled cosines of captions (rows) and pictures (columns)."""
        said = functional.normalize(self.projection(self.text(tokens).pooler_output), dim=1)
        seen = functional.normalize(self.image(pictures), dim=1)
        scaled: torch.Tensor = self.scale.clamp(max=4.6).exp() * said @ seen.T
        return scaled


def contrastive_loss(network: TextAndImages, tokenizer: Any, examples: Captioned, batch: int) -> Any:
    """A loss for :func:`~services.training.generative.fitting.fit`: cross-entropy both ways."""

    def loss(generator: torch.Generator) -> torch.Tensor:
        rows = examples.balanced_rows(batch, generator)
        rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        tokens = tokenizer(examples.captions(rows, rng), padding=True, return_tensors="pt").input_ids
        pictures = varied(examples.pixels[rows].float(), generator)
        meaning = examples.meanings[rows]
        same = (meaning[:, None] == meaning[None]).float()
        target = same / same.sum(1, keepdim=True)
        logits = network.similarities(tokens, pictures.contiguous(memory_format=torch.channels_last))
        return 0.5 * (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target))

    return loss


def varied(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Gains, blur and noise, which generated and enlarged pictures have and which say nothing."""
    count = len(pictures)
    blurred = functional.avg_pool2d(functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    amount = torch.rand(count, 1, 1, 1, generator=generator) ** 2
    gain = 1 + 0.05 * (2 * torch.rand(count, 1, 1, 1, generator=generator) - 1)
    grain = 0.04 * torch.rand(count, 1, 1, 1, generator=generator)
    return gain * torch.lerp(pictures, blurred, amount) + grain * torch.randn(pictures.shape, generator=generator)
