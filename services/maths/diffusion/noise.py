"""The noise of an image: keyed, so that any one image can be made again from its record alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

LARGEST_SEED = 2**63 - 1


def image_noise(seed: int, index: int, stage: str, shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """``shape`` float32, standard normal: Philox keyed by the digest of (seed, index, stage).

    ``index`` is the image's place in its request and ``stage`` what the noise is for: "base", "upscale", or "step-<k>"
    for a sampler that draws more at each step. The digest spreads over all 128 bits of the key, so that no two images
    of any two requests share noise unless their seed, index and stage are equal. ValueError unless 0 <= seed < 2**63
    and index >= 0.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"seed must lie in 0..2**63 - 1, got {seed}")
    if index < 0:
        raise ValueError(f"index must be at least 0, got {index}")
    name = f"image-noise:{int(seed)}:{int(index)}:{stage}".encode()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(hashlib.sha256(name).digest()[:16])))
    return generator.standard_normal(math.prod(shape), dtype=np.float32).reshape(tuple(shape))
