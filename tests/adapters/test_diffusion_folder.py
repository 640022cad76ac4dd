"""Diffusers' folders: Stable Diffusion 2.1-base's layout loads by the same path as the small models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from services.adapters.diffusion_folder import (
    load_controlnet,
    load_latent_diffusion,
    load_text_encoder,
    read_scheduler,
)
from services.errors import FailedPrecondition, InvalidInput
from tests.diffusion_packages import TOKENS, write_controlnet_folder, write_sd21_folder


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sd21_folder(tmp_path_factory.mktemp("sd21"))


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "copy"))


def test_stable_diffusion_2_1s_layout_makes_an_image(written: Path) -> None:
    model = load_latent_diffusion(written)
    with torch.inference_mode():
        hidden = model.text.encode(model.text.tokens(["axial mri of a female"]))
        latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        noise = model.unet(latents, torch.tensor([500]), encoder_hidden_states=hidden).sample
        image = model.decode(noise)
    assert hidden.shape == (1, TOKENS, 32)
    assert image.shape == (1, 3, 64, 64)
    assert model.latent_factor == 8


def test_half_precision_files_are_computed_with_in_single_precision(written: Path) -> None:
    stored = load_file(written / "unet/diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    model = load_latent_diffusion(written)
    for network in (model.unet, model.vae, model.text.model):
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
        assert not network.training


def test_the_schedulers_file_says_what_the_noise_is(written: Path) -> None:
    scheduler = read_scheduler(written)
    assert (scheduler.schedule, scheduler.prediction, scheduler.steps) == ("scaled-linear", "epsilon", 1000)
    assert (scheduler.first, scheduler.last, scheduler.zero_terminal_snr) == (0.00085, 0.012, False)


def test_prompts_are_padded_as_the_folder_says(written: Path) -> None:
    text = load_text_encoder(written)
    (tokens,) = text.tokens(["axial mri"])
    vocabulary = json.loads((written / "tokenizer/vocab.json").read_text())
    words = [vocabulary[word] for word in ("<|startoftext|>", "axial</w>", "mri</w>", "<|endoftext|>")]
    assert tokens[:4].tolist() == words
    assert set(tokens[4:].tolist()) == {vocabulary["!"]}


def test_a_long_prompt_is_refused_with_its_length_and_never_cut(written: Path) -> None:
    text = load_text_encoder(written)
    assert text.tokens(["a " * (TOKENS - 2)]).shape == (1, TOKENS)
    with pytest.raises(InvalidInput) as refused:
        text.tokens(["a " * (TOKENS - 1)], field="negative_prompt")
    assert refused.value.reason == "PROMPT_TOO_LONG"
    assert refused.value.field == "negative_prompt"
    assert refused.value.details == {"tokens": str(TOKENS + 1), "limit": str(TOKENS)}


def test_a_missing_subfolder_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "vae")
    with pytest.raises(FailedPrecondition) as refused:
        load_latent_diffusion(folder)
    assert (refused.value.field, refused.value.reason) == ("vae", "WEIGHTS_MISSING")


def test_weights_that_lack_a_tensor_are_refused_instead_of_made_up(folder: Path) -> None:
    for part, file in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        path = folder / part / f"{file}.safetensors"
        tensors = load_file(path)
        kept = dict(tensors)
        del kept[sorted(kept)[0]]
        save_file(kept, path, metadata={"format": "pt"})
        with pytest.raises(FailedPrecondition) as refused:
            load_latent_diffusion(folder)
        assert (refused.value.field, refused.value.reason) == (part, "WEIGHTS_OF_ANOTHER_NETWORK")
        save_file(tensors, path, metadata={"format": "pt"})


def test_a_pickle_beside_the_configuration_is_not_opened(folder: Path) -> None:
    (folder / "unet/diffusion_pytorch_model.safetensors").rename(folder / "unet/diffusion_pytorch_model.bin")
    with pytest.raises(FailedPrecondition) as refused:
        load_latent_diffusion(folder)
    assert (refused.value.field, refused.value.reason) == ("unet", "WEIGHTS_FORMAT_REFUSED")


def test_code_in_the_tokenizers_folder_does_not_run(folder: Path) -> None:
    (folder / "tokenizer/tokenization_evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    path = folder / "tokenizer/tokenizer_config.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps(stated | {"auto_map": {"AutoTokenizer": ["tokenization_evil.Evil", None]}}))
    load_text_encoder(folder)
    assert not (folder / "ran").exists()


def test_a_scheduler_of_another_kind_is_refused(folder: Path) -> None:
    path = folder / "scheduler/scheduler_config.json"
    path.write_text(path.read_text().replace("scaled_linear", "sigmoid"))
    with pytest.raises(FailedPrecondition) as refused:
        load_latent_diffusion(folder)
    assert refused.value.field == "scheduler"


def test_a_control_branch_steers_its_base(written: Path, tmp_path: Path) -> None:
    branch = load_controlnet(write_controlnet_folder(tmp_path))
    model = load_latent_diffusion(written)
    latents, t = torch.zeros(1, 4, 8, 8), torch.tensor([10])
    with torch.inference_mode():
        hidden = model.text.encode(model.text.tokens(["a"]))
        down, middle = branch(latents, t, hidden, torch.rand(1, 3, 64, 64), return_dict=False)
        steered = model.unet(
            latents, t, hidden, down_block_additional_residuals=down, mid_block_additional_residual=middle
        ).sample
        free = model.unet(latents, t, hidden).sample
    assert not torch.allclose(steered, free)
