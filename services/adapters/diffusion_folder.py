"""Diffusion models in diffusers' folder layout: tokenizer/, text_encoder/, vae/, unet/, scheduler/ or controlnet/.

Every class is named here, so nothing in a folder decides which code runs; tokenizers are JSON and text, weights are
safetensors, and no hub is asked for anything. Whoever calls has checked the files' digests. Weights are stored in any
floating type and computed with in the one that is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers import CLIPTextModel, CLIPTokenizer
from transformers import logging as transformers_logging

from services.errors import FailedPrecondition, InvalidInput

# Both libraries print progress bars and advice about their hub; a server's log is for what went wrong.
diffusers_logging.set_verbosity_error()
diffusers_logging.disable_progress_bar()
transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

_PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "v", "sample": "x0"}
_SCHEDULES = {"scaled_linear": "scaled-linear", "squaredcos_cap_v2": "cosine"}


@dataclass(frozen=True)
class Scheduler:
    """What ``scheduler_config.json`` says of the noise that the U-Net was trained with, in this platform's words."""

    schedule: str
    prediction: str
    steps: int
    first: float
    last: float
    zero_terminal_snr: bool


@dataclass(frozen=True)
class TextEncoder:
    """A tokenizer and the encoder behind it. Prompts are refused when too long; they are never cut."""

    tokenizer: Any  # transformers states no types for what is used here
    model: Any

    @property
    def limit(self) -> int:
        """Tokens of a prompt at most, its start and its end among them."""
        return int(self.model.config.max_position_embeddings)

    def tokens(self, prompts: Sequence[str], *, field: str = "prompt") -> torch.Tensor:
        """(N, limit) int64, padded. InvalidInput PROMPT_TOO_LONG with the count and the limit."""
        for prompt in prompts:
            count = len(self.tokenizer(prompt, truncation=False).input_ids)
            if count > self.limit:
                raise InvalidInput(
                    f"the prompt has {count} tokens, the model's text encoder takes {self.limit}; it is never cut",
                    field=field,
                    reason="PROMPT_TOO_LONG",
                    details={"tokens": str(count), "limit": str(self.limit)},
                )
        padded = self.tokenizer(list(prompts), padding="max_length", max_length=self.limit, return_tensors="pt")
        return torch.as_tensor(padded.input_ids)

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """(N, limit) int64 → the last hidden states (N, limit, D)."""
        hidden = self.model(tokens.to(self.model.device)).last_hidden_state
        return torch.as_tensor(hidden)


@dataclass(frozen=True)
class LatentDiffusion:
    """The parts of a text-to-image model, in evaluation mode."""

    text: TextEncoder
    vae: Any  # AutoencoderKL, which is untyped
    unet: Any
    scheduler: Scheduler

    @property
    def latent_factor(self) -> int:
        """Pixels of the image along one side of a latent's pixel."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) as the U-Net sees them → images (N, 3, H, W), about [-1, 1]."""
        shift = getattr(self.vae.config, "shift_factor", None) or 0.0
        images = self.vae.decode(latents / self.vae.config.scaling_factor + shift).sample
        return torch.as_tensor(images)


def load_latent_diffusion(folder: Path, *, dtype: torch.dtype = torch.float32) -> LatentDiffusion:
    """A package's text-to-image model. FailedPrecondition names the subfolder that is missing or does not fit.

    model_index.json, feature_extractor/ and safety_checker/ may lie beside; nobody reads them.
    """
    unet = _weights(UNet2DConditionModel, folder, "unet", torch_dtype=dtype)
    text = load_text_encoder(folder, dtype=dtype)
    width = unet.config.cross_attention_dim
    if width != text.model.config.hidden_size:
        raise _unfit("unet", f"attends to {width} channels, the text encoder gives {text.model.config.hidden_size}")
    return LatentDiffusion(
        text=text,
        vae=_weights(AutoencoderKL, folder, "vae", torch_dtype=dtype),
        unet=unet,
        scheduler=read_scheduler(folder),
    )


def load_text_encoder(folder: Path, *, dtype: torch.dtype = torch.float32) -> TextEncoder:
    """tokenizer/ and text_encoder/ of a package."""
    model = _weights(CLIPTextModel, folder, "text_encoder", dtype=dtype)
    tokenizer = _reading(
        "tokenizer", lambda: CLIPTokenizer.from_pretrained(_part(folder, "tokenizer"), local_files_only=True)
    )
    if len(tokenizer) > model.config.vocab_size:
        raise _unfit("tokenizer", f"knows {len(tokenizer)} tokens, the text encoder {model.config.vocab_size}")
    return TextEncoder(tokenizer, model)


def load_controlnet(folder: Path, *, dtype: torch.dtype = torch.float32) -> Any:
    """The ControlNetModel of a mask-to-image package; the U-Net is its base package's."""
    return _weights(ControlNetModel, folder, "controlnet", torch_dtype=dtype)


def read_scheduler(folder: Path) -> Scheduler:
    """scheduler/scheduler_config.json. FailedPrecondition for a kind of noise that this platform does not know."""
    path = _part(folder, "scheduler") / "scheduler_config.json"
    stated = _reading("scheduler", lambda: json.loads(path.read_text("utf-8")))
    kind, prediction = str(stated.get("beta_schedule")), str(stated.get("prediction_type", "epsilon"))
    if kind not in _SCHEDULES or prediction not in _PREDICTIONS:
        raise _unfit("scheduler", f"has beta_schedule {kind!r} with prediction_type {prediction!r}, which is not known")
    return Scheduler(
        schedule=_SCHEDULES[kind],
        prediction=_PREDICTIONS[prediction],
        steps=int(stated.get("num_train_timesteps", 1000)),
        first=float(stated.get("beta_start", 0.00085)),
        last=float(stated.get("beta_end", 0.012)),
        zero_terminal_snr=bool(stated.get("rescale_betas_zero_snr", False)),
    )


def _weights(kind: Any, folder: Path, name: str, **types: torch.dtype) -> Any:
    """A model of exactly this class, every one of its weights read from safetensors."""
    path = _part(folder, name)
    model, info = _reading(
        name,
        lambda: kind.from_pretrained(
            path, use_safetensors=True, local_files_only=True, output_loading_info=True, **types
        ),
    )
    left_out = sorted(map(str, info["missing_keys"])) or sorted(map(str, info.get("mismatched_keys") or ()))
    if left_out:
        raise _unfit(name, f"has no fitting weights for {left_out[0]} and {len(left_out) - 1} others")
    return model.eval().requires_grad_(False)


def _part(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_dir():
        raise FailedPrecondition(
            f"the package has no folder {name}/, which diffusers' layout has", field=name, reason="WEIGHTS_MISSING"
        )
    return path


def _reading(name: str, read: Callable[[], Any]) -> Any:
    """``read()``, with the libraries' complaints as one that names the subfolder."""
    try:
        return read()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise FailedPrecondition(
            f"{name}/ cannot be read as diffusers' layout has it ({type(error).__name__})",
            field=name,
            reason="WEIGHTS_FORMAT_REFUSED",
        ) from error


def _unfit(name: str, what: str) -> FailedPrecondition:
    return FailedPrecondition(f"{name}/ {what}", field=name, reason="WEIGHTS_OF_ANOTHER_NETWORK")
