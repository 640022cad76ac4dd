"""The four kinds of diffusion model behind one protocol, so that the engine need not know which one it samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional

from services.adapters.weights import ModelRecord
from services.errors import InvalidInput
from services.hosting.diffusion.settings import Placement
from services.maths.diffusion.parameterisation import Parameterisation

Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Condition:
    """What one image shall show: an embedding (E,) or hidden states (L, D), and an image (C, H, W) to go by."""

    embedding: torch.Tensor | None = None
    hint: torch.Tensor | None = None


@dataclass(frozen=True)
class Window:
    """The top left corner of what one call of the network sees of a larger image."""

    top: int = 0
    left: int = 0


class Denoiser(Protocol):
    """A loaded model. Tensors are float32 on the model's device outside; the network's own type stays inside."""

    record: ModelRecord
    parameterisation: Parameterisation

    @property
    def shape(self) -> Shape:
        """What one call of the network sees: (C, H, W) of its latents or pixels."""
        ...

    def canvas(self, condition: Condition) -> Shape:
        """The extents of the image that this condition is for; larger than ``shape`` only where windows are allowed."""
        ...

    def null(self, condition: Condition) -> Condition:
        """The same without what guidance leads towards."""
        ...

    def output(
        self, x: torch.Tensor, t: torch.Tensor, conditions: Sequence[Condition], windows: Sequence[Window]
    ) -> torch.Tensor:
        """(B, C, H, W) noisy and (B,) int64 → the network's raw output (B, C, H, W)."""
        ...

    def pixels(self, x0: torch.Tensor) -> np.ndarray:
        """One clean image (C, H, W) as canonical pixels, float32 in [0, 1]."""
        ...


class _Sampled:
    """What all families share: the record's scalings and its range of values."""

    def __init__(self, record: ModelRecord, placement: Placement, parameterisation: Parameterisation) -> None:
        self.record = record
        self.parameterisation = parameterisation
        self._placement = placement

    def _moved(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Tensors for the network: on its device, in its type."""
        place = self._placement
        return tuple(tensor.to(place.device, place.dtype) for tensor in tensors)

    def _canonical(self, images: torch.Tensor) -> np.ndarray:
        spec = self.record.output
        assert spec is not None  # ModelRecord checks it
        scaled = (images.float().cpu() - spec.low) / (spec.high - spec.low)
        return np.ascontiguousarray(scaled.clamp(0.0, 1.0).numpy(), np.float32)


class ClassToImage(_Sampled):
    """Pixel diffusion conditioned on an attribute vector, whose embedding is added to that of the time."""

    def __init__(self, record: ModelRecord, network: Any, placement: Placement, scalings: Parameterisation) -> None:
        super().__init__(record, placement, scalings)
        self._network = network
        spec = record.output
        assert spec is not None
        self.shape: Shape = (spec.channels, spec.height, spec.width)

    def canvas(self, condition: Condition) -> Shape:
        return self.shape

    def embed(self, vector: np.ndarray) -> torch.Tensor:
        """The embedding (E,) of an attribute vector (V,), computed alone so that nothing else decides its bits."""
        (row,) = self._moved(torch.from_numpy(np.array(vector, np.float32))[None])
        embedded: torch.Tensor = self._network.embed(row)[0].float()
        return embedded

    def null(self, condition: Condition) -> Condition:
        return Condition(self._network.null_embedding.detach().float())

    def output(
        self, x: torch.Tensor, t: torch.Tensor, conditions: Sequence[Condition], windows: Sequence[Window]
    ) -> torch.Tensor:
        x, embedding = self._moved(x, _stacked([condition.embedding for condition in conditions]))
        raw: torch.Tensor = self._network(x, t.to(x.device), embedding)
        return raw.float()

    def pixels(self, x0: torch.Tensor) -> np.ndarray:
        return self._canonical(x0)


class SuperResolution(_Sampled):
    """Pixel diffusion beside the small image, which is brought to full size and concatenated. Any size, by windows."""

    def __init__(
        self, record: ModelRecord, network: Any, placement: Placement, scalings: Parameterisation, tile: int
    ) -> None:
        super().__init__(record, placement, scalings)
        spec = record.output
        assert spec is not None
        self._network = network
        self.shape: Shape = (spec.channels, tile, tile)

    def canvas(self, condition: Condition) -> Shape:
        assert condition.hint is not None
        channels, height, width = condition.hint.shape
        return channels, height, width

    def tiled(self, tile: int) -> SuperResolution:
        """The same network, shown windows of ``tile`` pixels a side."""
        return SuperResolution(self.record, self._network, self._placement, self.parameterisation, tile)

    def enlarge(self, image: np.ndarray) -> torch.Tensor:
        """A canonical image (C, h, w) as the network's condition (C, factor h, factor w), bicubic, in its range."""
        spec, factor = self.record.output, self.record.factor
        assert spec is not None and factor is not None
        values = torch.from_numpy(np.array(image, np.float32))[None] * (spec.high - spec.low) + spec.low
        large = functional.interpolate(values, scale_factor=factor, mode="bicubic", align_corners=False)
        return large[0].clamp(spec.low, spec.high).to(self._placement.device)

    def null(self, condition: Condition) -> Condition:
        raise InvalidInput(
            f"{self.record.name} cannot be guided", field="guidance.scale", reason="GUIDANCE_UNSUPPORTED"
        )

    def output(
        self, x: torch.Tensor, t: torch.Tensor, conditions: Sequence[Condition], windows: Sequence[Window]
    ) -> torch.Tensor:
        _, height, width = self.shape
        hints = [
            _cut(condition.hint, window, height, width) for condition, window in zip(conditions, windows, strict=True)
        ]
        (both,) = self._moved(torch.cat([x, torch.stack(hints)], 1))
        raw: torch.Tensor = self._network(both, t.to(both.device), None)
        return raw.float()

    def pixels(self, x0: torch.Tensor) -> np.ndarray:
        return self._canonical(x0)


class TextToImage(_Sampled):
    """Latent diffusion whose U-Net attends to a prompt's hidden states; with a control branch, to a mask besides."""

    def __init__(
        self,
        record: ModelRecord,
        model: Any,
        placement: Placement,
        scalings: Parameterisation,
        control: Any = None,
    ) -> None:
        super().__init__(record, placement, scalings)
        self._model = model
        self._control = control
        self._encoded: dict[str, torch.Tensor] = {}
        spec = record.output
        assert spec is not None
        factor = model.latent_factor
        self.shape: Shape = (model.unet.config.in_channels, spec.height // factor, spec.width // factor)
        self.image: Shape = (spec.channels, spec.height, spec.width)

    def canvas(self, condition: Condition) -> Shape:
        return self.shape

    def check(self, prompt: str, field: str) -> None:
        """InvalidInput PROMPT_TOO_LONG with the prompt's number of tokens and the encoder's limit."""
        self._model.text.tokens([prompt], field=field)

    @property
    def limit(self) -> int:
        """Tokens of a prompt at most."""
        return int(self._model.text.limit)

    def embed(self, prompt: str) -> torch.Tensor:
        """The hidden states (L, D) of one prompt, encoded alone so that nothing else decides their bits."""
        if prompt not in self._encoded:
            if len(self._encoded) >= MOST_ENCODED:
                self._encoded.pop(next(iter(self._encoded)))
            self._encoded[prompt] = self._model.text.encode(self._model.text.tokens([prompt]))[0].float()
        return self._encoded[prompt]

    def condition(self, prompt: str, planes: np.ndarray | None = None) -> Condition:
        """A prompt and, for a control branch, label planes (P, H, W)."""
        return Condition(self.embed(prompt), None if planes is None else self._hint(planes))

    def _hint(self, planes: np.ndarray) -> torch.Tensor:
        """(3, H, W) in [0, 1]: labels over the highest one, planes as the picture shows them: ED, ES and ED again."""
        highest = max(len(self.record.mask_labels) - 1, 1)
        shown = np.asarray(planes, np.float32)[[0, min(1, len(planes) - 1), 0]] / highest
        return torch.from_numpy(np.ascontiguousarray(shown)).to(self._placement.device)

    def null(self, condition: Condition) -> Condition:
        return Condition(self.embed(""), condition.hint)

    def output(
        self, x: torch.Tensor, t: torch.Tensor, conditions: Sequence[Condition], windows: Sequence[Window]
    ) -> torch.Tensor:
        x, hidden = self._moved(x, _stacked([condition.embedding for condition in conditions]))
        t = t.to(x.device)
        steered = {}
        if self._control is not None:
            (hints,) = self._moved(_stacked([condition.hint for condition in conditions]))
            down, middle = self._control(x, t, hidden, hints, return_dict=False)
            steered = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        raw: torch.Tensor = self._model.unet(x, t, hidden, return_dict=False, **steered)[0]
        return raw.float()

    def pixels(self, x0: torch.Tensor) -> np.ndarray:
        (latents,) = self._moved(x0[None])
        images = self._canonical(self._model.decode(latents)[0])
        spec = self.record.output
        assert spec is not None
        return images[: spec.channels]


MOST_ENCODED = 64


def _stacked(parts: Sequence[torch.Tensor | None]) -> torch.Tensor:
    return torch.stack([part for part in parts if part is not None])


def _cut(hint: torch.Tensor | None, window: Window, height: int, width: int) -> torch.Tensor:
    assert hint is not None
    return hint[:, window.top : window.top + height, window.left : window.left + width]
