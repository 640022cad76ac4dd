"""Whether synthetic images have noise of their own."""

from __future__ import annotations

from collections.abc import Iterable


def distinct_noises(digests: Iterable[str]) -> int:
    """How many different initial noises images began from, by the digests of their noise.

    Less than the number of images is a fault. The released code of Skorupko et al. 2024 draws each seed from the
    generator that the seed before it had reset, so that thousands of images share a few hundred noises at most.
    """
    return len(set(digests))
