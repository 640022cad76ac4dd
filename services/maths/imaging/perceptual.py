"""Perceptual distance of images to their references, one value a row.

The metrics ``lpips_alex`` and ``lpips_vgg``, and the same measure with an encoder that was trained on such images.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from services.maths.networks.lpips import LpipsNetwork, direction
from services.maths.networks.resnet import ResNet18


def lpips(
    images: npt.NDArray[np.floating], references: npt.NDArray[np.floating], network: LpipsNetwork
) -> npt.NDArray[np.float64]:
    """Return the LPIPS (Zhang et al. 2018) of each row of (N, C, H, W) in [0, 1] to the same row of ``references``.

    C is 1 (repeated to three channels) or 3 (RGB). Values are mapped to [-1, 1]; nothing is resized or rescaled. 0 for
    identical images, larger is worse, no unit and no upper limit: comparable only within one variant and image size.
    Rows go through the network one at a time, so a row's value does not depend on its neighbours, and a row equal to
    its reference gives exactly 0.

    Raises ValueError for other shapes, values outside [0, 1] or not finite, and images too small for the network.
    """
    _check(images, references, network)
    distances = np.empty(len(images), dtype=np.float64)
    with torch.inference_mode():
        for row in range(len(images)):
            distances[row] = network(_prepared(images[row]), _prepared(references[row])).item()
    return distances


def encoder_distance(
    images: npt.NDArray[np.float32], references: npt.NDArray[np.float32], encoder: ResNet18
) -> npt.NDArray[np.float64]:
    """Return the distance of each row of (N, C, H, W) to the same row of ``references`` in the features of ``encoder``.

    LPIPS (Zhang et al. 2018, equation 1) with all channel weights 1: the squared difference of features of unit length,
    averaged over pixels and summed over the stem and the four stages. Both arrays are what the encoder takes (see
    :func:`services.maths.pixels.to_model`), ``encoder`` is in evaluation mode. 0 for identical images, at most 4 a
    layer; comparable only within one encoder. Rows go through one at a time.
    """
    if images.ndim != 4 or images.shape != references.shape:
        raise ValueError(f"images must have the shape of their references, got {images.shape} and {references.shape}")
    distances = np.empty(len(images), dtype=np.float64)
    with torch.inference_mode():
        for row in range(len(images)):
            both = torch.from_numpy(np.ascontiguousarray(np.stack([images[row], references[row]])))
            layers = [direction(features) for features in encoder.stages(both)]
            distances[row] = sum(float((seen - wanted).square().sum(0).mean()) for seen, wanted in layers)
    return distances


def _prepared(image: npt.NDArray[np.floating]) -> torch.Tensor:
    """(C, H, W) in [0, 1] → (1, 3, H, W) float32 in [-1, 1]."""
    tensor = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
    return (2.0 * tensor - 1.0).expand(3, -1, -1).unsqueeze(0)


def _check(images: npt.NDArray[np.floating], references: npt.NDArray[np.floating], network: LpipsNetwork) -> None:
    if images.ndim != 4 or images.shape != references.shape or images.shape[1] not in (1, 3):
        raise ValueError(
            f"images must have the same shape (N, 1 or 3, H, W), got {images.shape} and {references.shape}"
        )
    if min(images.shape[2:]) < network.smallest:
        raise ValueError(
            f"{network.metric} needs images of at least {network.smallest} pixels a side, got {images.shape[2:]}"
        )
    for name, values in (("images", images), ("references", references)):
        if values.size and not (values.min() >= 0.0 and values.max() <= 1.0):  # NaN fails both
            raise ValueError(f"{name} must lie in [0, 1]")
