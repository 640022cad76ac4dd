"""LPIPS weights from a local folder: ``lpips_alex.safetensors`` and ``lpips_vgg.safetensors``.

They are never downloaded and never made up: without the file there is no LPIPS. Whoever has the official package writes
the file once, where that package is installed:

    state = lpips.LPIPS(net="alex").state_dict()
    kept = {k: v.contiguous() for k, v in state.items() if k.startswith(("net.", "lin")) and not k.startswith("lins.")}
    safetensors.torch.save_file(kept, "lpips_alex.safetensors")
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from services.errors import FailedPrecondition, InvalidInput, UnsupportedFormat
from services.maths.networks.lpips import CHANNELS, LpipsNetwork, Variant

# The official package registers its linear heads twice and its scaling constants as buffers; neither is a weight.
_NOT_WEIGHTS = ("lins.", "scaling_layer.")


def load_lpips(folder: Path, variant: Variant) -> LpipsNetwork:
    """The network with the weights of ``folder / lpips_<variant>.safetensors``, in evaluation mode, gradients off.

    Its ``digest`` is the file's sha256, for the report's metric card.

    Raises FailedPrecondition LPIPS_WEIGHTS_ABSENT without the file, UnsupportedFormat WEIGHTS_FORMAT_REFUSED for
    anything but safetensors, InvalidInput LPIPS_WEIGHTS_INVALID for keys, shapes, dtypes or values that LPIPS never
    has.
    """
    if variant not in CHANNELS:
        raise InvalidInput(f"LPIPS variant must be one of {', '.join(CHANNELS)}, not {variant!r}", field="variant")
    path = folder / f"lpips_{variant}.safetensors"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FailedPrecondition(
            f"lpips_{variant} needs the file {path.name}, which is not in the folder of metric weights; convert the "
            "official weights as services/adapters/perceptual.py shows and put the file there, or leave the metric out",
            field=path.name,
            reason="LPIPS_WEIGHTS_ABSENT",
        ) from error
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise UnsupportedFormat(
            f"{path.name} is not a safetensors file; write it with safetensors.torch.save_file",
            field=path.name,
            reason="WEIGHTS_FORMAT_REFUSED",
        ) from error
    network = LpipsNetwork(variant)
    weights = {key: tensor for key, tensor in tensors.items() if not key.startswith(_NOT_WEIGHTS)}
    _check(weights, network, path.name)
    network.load_state_dict(weights)
    network.digest = hashlib.sha256(data).hexdigest()
    return network.eval().requires_grad_(False)


def _check(weights: dict[str, torch.Tensor], network: LpipsNetwork, filename: str) -> None:
    """InvalidInput LPIPS_WEIGHTS_INVALID with the first key that is wrong and what was expected of it."""
    expected = network.state_dict()
    missing, unknown = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing:
        raise _invalid(f"{filename} lacks {missing[0]} ({len(missing)} missing)", missing[0])
    if unknown:
        raise _invalid(f"{filename} holds {unknown[0]}, which lpips_{network.variant} does not have", unknown[0])
    for key, tensor in weights.items():
        wanted = tuple(expected[key].shape)
        if tuple(tensor.shape) != wanted or tensor.dtype != torch.float32:
            found = f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
            raise _invalid(f"{filename}: {key} must be float32 {wanted}, not {found}", key)
        if not bool(torch.isfinite(tensor).all()):
            raise _invalid(f"{filename}: {key} holds NaN or infinity", key)
        if key.startswith("lin") and bool((tensor < 0).any()):
            raise _invalid(f"{filename}: {key} has negative channel weights, which no distance has", key)


def _invalid(message: str, key: str) -> InvalidInput:
    return InvalidInput(message, field=key, reason="LPIPS_WEIGHTS_INVALID")
