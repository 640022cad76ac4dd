"""The papers' sizes of reconstruction networks, for 256 × 256 images of one channel: (family, architecture)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PUBLISHED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    # Wohlrapp et al. 2026: the widths 64 to 1024 of Ronneberger et al. 2015.
    "unet-mri": ("unet", {"width": 64, "levels": 4}),
    "unet-xray": ("unet", {"width": 64, "levels": 4, "sigmoid": True}),
    # Isola et al. 2017's unet_128 and its 70 × 70 discriminator, as Wohlrapp et al. 2026 used them.
    "pix2pix": (
        "pix2pix",
        {"generator": {"width": 64, "levels": 7}, "discriminator": {"width": 64, "layers": 3}},
    ),
    # Luo et al. 2023.
    "ir-sde": ("restoration-unet", {"width": 64, "depth": 4}),
}
