"""The generator as a synthetic cohort sees it: by handle, or in process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol

import numpy as np

from services.hosting.envelope import unseal
from services.hosting.handles import Handles

APP = "generator"


class ImageMaker(Protocol):
    """Every method raises only ServiceErrors, and may be asked again."""

    async def resolve(self, asked: Mapping[str, Any], prompts: Sequence[str]) -> dict[str, Any]:
        """What was asked of a model (model, seed, steps, sampler, guidance_scale, negative_prompt) with its defaults
        filled in and with what decides the images' bits, if the model can take all ``prompts``."""
        ...

    def make(
        self, resolved: Mapping[str, Any], prompts: Sequence[str], planes: np.ndarray | None, first: int
    ) -> AsyncGenerator[dict[str, Any], None]:
        """An image for each prompt as they are done: {index, pixels (C, H, W), noise, digest}, numbered from ``first``.

        Closing it ends the work.
        """
        ...


class RayImageMaker:
    """Over Serve handles."""

    def __init__(self) -> None:
        self._handles = Handles()

    async def resolve(self, asked: Mapping[str, Any], prompts: Sequence[str]) -> dict[str, Any]:
        found: dict[str, Any] = unseal(await self._handles.call(APP, "resolve_images", dict(asked), list(prompts)))
        return found

    async def make(
        self, resolved: Mapping[str, Any], prompts: Sequence[str], planes: np.ndarray | None, first: int
    ) -> AsyncGenerator[dict[str, Any], None]:
        replies = self._handles.stream(APP, "make_images", dict(resolved), list(prompts), planes, first)
        async with aclosing(replies):
            async for reply in replies:
                yield unseal(reply)
