"""Tiny diffusion packages with random weights, in exactly the layouts that real ones have."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
import yaml
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from services.adapters.weights import load_record
from services.maths.networks import build_network

TOKENS = 77
WORDS = ("female", "male", "chest", "mri", "axial", "age", "obese", "in", "of", "a", ",")


def write_sd21_folder(folder: Path, *, seed: int = 0, half: bool = True) -> Path:
    """Stable Diffusion 2.1-base's own files and settings, with networks a child's size."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        _write_tokenizer(folder / "tokenizer")
        _save(_text_encoder(), folder / "text_encoder", half)
        _save(_vae(), folder / "vae", half)
        _save(_unet(), folder / "unet", half)
    _write(folder / "scheduler/scheduler_config.json", SCHEDULER)
    _write(folder / "feature_extractor/preprocessor_config.json", {"feature_extractor_type": "CLIPFeatureExtractor"})
    _write(folder / "model_index.json", MODEL_INDEX)
    return folder


def write_controlnet_folder(folder: Path, *, seed: int = 1) -> Path:
    """A control branch for :func:`write_sd21_folder`'s U-Net, its zero convolutions no longer zero."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ControlNetModel.from_unet(_unet(), conditioning_embedding_out_channels=(8, 8, 8, 16))
        for parameter in network.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
        _save(network, folder / "controlnet", half=True)
    return folder


SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.8.0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
MODEL_INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.8.0",
    "feature_extractor": ["transformers", "CLIPFeatureExtractor"],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def _text_encoder() -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(_vocabulary()),
            hidden_size=32,
            intermediate_size=64,
            num_attention_heads=4,
            num_hidden_layers=2,
            max_position_embeddings=TOKENS,
            hidden_act="gelu",
            projection_dim=32,
            bos_token_id=_vocabulary()["<|startoftext|>"],
            eos_token_id=_vocabulary()["<|endoftext|>"],
        )
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
    )


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(16, 16),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=[2, 4],
        use_linear_projection=True,
        norm_num_groups=8,
    )


def _save(network: Any, folder: Path, half: bool) -> None:
    (network.half() if half else network).save_pretrained(folder, safe_serialization=True)


def _write(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def _vocabulary() -> dict[str, int]:
    """Byte-level CLIP vocabulary without merges but for a few words; "!" is token 0, as in CLIP's own."""
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(letter + "</w>" for letter in letters), *_merged()]
    return {word: index for index, word in enumerate([*dict.fromkeys(words), "<|startoftext|>", "<|endoftext|>"])}


def _merges() -> list[tuple[str, str]]:
    found: dict[tuple[str, str], None] = {}
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            found[parts[0], parts[1]] = None
            parts = [parts[0] + parts[1], *parts[2:]]
    return list(found)


def _merged() -> list[str]:
    return [first + second for first, second in _merges()]


def _write_tokenizer(folder: Path) -> None:
    """Stable Diffusion 2's four files; its padding token is "!", not the end of the text."""
    _write(folder / "vocab.json", _vocabulary())
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in _merges()) + "\n")
    start, end = (
        {"content": token, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
        for token in ("<|startoftext|>", "<|endoftext|>")
    )
    special = {"bos_token": start, "eos_token": end, "pad_token": "!", "unk_token": end}
    _write(folder / "special_tokens_map.json", special)
    _write(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "bos_token": {"__type": "AddedToken", **start},
            "do_lower_case": True,
            "eos_token": {"__type": "AddedToken", **end},
            "errors": "replace",
            "model_max_length": TOKENS,
            "name_or_path": "hf-models/stable-diffusion-v2-768x768/tokenizer",
            "pad_token": "<|endoftext|>",
            "special_tokens_map_file": "./special_tokens_map.json",
            "tokenizer_class": "CLIPTokenizer",
            "unk_token": {"__type": "AddedToken", **end},
        },
    )


def file_digests(folder: Path) -> dict[str, str]:
    """sha256 of every file that a package lists, by its path in the folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("model.yaml", "model_index.json")
    }


def write_record(folder: Path, **fields: Any) -> Path:
    """model.yaml over all files of ``registry/<name>/<version>``."""
    record = {
        "name": folder.parent.name,
        "version": folder.name,
        "licence": "Apache-2.0",
        "files": file_digests(folder),
        **fields,
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(record))
    return folder


PELVIS = [
    {"name": "sex", "levels": ["Female", "Male"]},
    {"name": "age", "low": 18, "high": 95},
    {"name": "race", "levels": ["White", "Black"]},
]
SMALL = {"width": 8, "multipliers": [1, 2], "blocks": 1, "attention_factors": [2], "heads": 2}


def write_class_to_image(root: Path, *, name: str = "pelvis-diffusion", seed: int = 0, **changes: Any) -> Path:
    """An untrained class-to-image package: one channel, 16 × 16, cosine schedule without terminal signal, v."""
    places = sum(len(condition.get("levels", [1])) for condition in PELVIS)
    architecture = {"in_channels": 1, "out_channels": 1, "conditions": places, **SMALL}
    fields = {
        "task": "class-to-image",
        "family": "diffusion-unet",
        "architecture": architecture,
        "input": {"channels": 1, "height": 16, "width": 16, "low": -1.0, "high": 1.0},
        "output": {"channels": 1, "height": 16, "width": 16, "low": -1.0, "high": 1.0},
        "modality": "pelvis",
        "conditions": PELVIS,
        "diffusion": {"schedule": "cosine", "zero_terminal_snr": True, "prediction": "v"},
    }
    return _write_network(root / name / str(changes.get("version", "1")), seed, fields | changes)


def write_super_resolution(root: Path, *, name: str = "pelvis-upscaler", seed: int = 0, **changes: Any) -> Path:
    """An untrained super-resolution package: 16 × 16 to 32 × 32."""
    fields = {
        "task": "super-resolution",
        "family": "diffusion-unet",
        "architecture": {"in_channels": 2, "out_channels": 1, "conditions": 0, **SMALL},
        "input": {"channels": 1, "height": 16, "width": 16, "low": -1.0, "high": 1.0},
        "output": {"channels": 1, "height": 32, "width": 32, "low": -1.0, "high": 1.0},
        "modality": "pelvis",
        "factor": 2,
        "diffusion": {"schedule": "cosine", "zero_terminal_snr": True, "prediction": "v"},
    }
    return _write_network(root / name / str(changes.get("version", "1")), seed, fields | changes)


def _write_network(folder: Path, seed: int, fields: dict[str, Any]) -> Path:
    """Random weights everywhere: a network as it is initialised says nothing but zero."""
    folder.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_network(fields["family"], fields["architecture"])
        for parameter in network.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, folder / "weights.safetensors")
    return write_record(folder, **fields)


def write_text_to_image(root: Path, *, name: str = "phantom-diffusion", **changes: Any) -> Path:
    """:func:`write_sd21_folder` as a package: 3 × 64 × 64."""
    folder = write_sd21_folder(root / name / "1")
    spec = {"channels": 3, "height": 64, "width": 64, "low": -1.0, "high": 1.0}
    fields = {
        "task": "text-to-image",
        "family": "latent-diffusion",
        "input": spec,
        "output": spec,
        "modality": "phantom",
        "diffusion": {"schedule": "scaled-linear", "prediction": "epsilon", "clip": False, "guidance_scale": 3.0},
    }
    return write_record(folder, **(fields | changes))


def write_mask_to_image(root: Path, base: Path, *, name: str = "phantom-controlnet", **changes: Any) -> Path:
    """A control branch over the text-to-image package in ``base``."""
    folder = write_controlnet_folder(root / name / "1")
    record = load_record(base)
    spec = {"channels": 3, "height": 64, "width": 64, "low": -1.0, "high": 1.0}
    fields = {
        "task": "mask-to-image",
        "family": "latent-diffusion",
        "input": spec,
        "output": spec,
        "modality": "cardiac",
        "diffusion": {"schedule": "scaled-linear", "prediction": "epsilon", "clip": False, "guidance_scale": 3.0},
        "base": {"name": record.name, "version": record.version, "digest": record.digest},
        "mask_labels": ["background", "left ventricle", "myocardium", "right ventricle"],
    }
    return write_record(folder, **(fields | changes))
