"""Synthetic images as they arrive, and the files that they are kept in."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from evenhand.artifacts import write_whole
from evenhand.errors import InvalidInput
from evenhand.generation.v1 import generation_service_pb2
from evenhand.images import Floats, tensor_array
from evenhand.records import RECORD_KEY


@dataclass(frozen=True)
class GeneratedImage:
    """One synthetic image, or a preview of one: ``pixels`` are (C, H, W) float32 in [0, 1].

    ``record`` is all that is needed to make it again, as JSON data (``client.generations.repeat(image.record)``);
    previews have none.
    """

    index: int
    pixels: Floats
    preview: bool
    step: int
    steps: int
    record: Mapping[str, Any]

    def numpy(self) -> Floats:
        """The pixels."""
        return self.pixels

    @property
    def digest(self) -> str:
        """sha256 of the pixels: float32, little-endian, row-major, as in the record."""
        return hashlib.sha256(np.ascontiguousarray(self.pixels, "<f4").tobytes()).hexdigest()

    def save(self, path: str | Path) -> Path:
        """Write it as .npy (every bit of it) or as .png (8 bits, with the record inside)."""
        target = Path(path)
        if target.suffix == ".npy":
            file = io.BytesIO()
            np.save(file, self.pixels, allow_pickle=False)
            return write_whole(target, file.getvalue())
        if target.suffix == ".png":
            return write_whole(target, self._repr_png_())
        raise InvalidInput("an image is saved as .npy or .png", field=str(path))

    def to_dict(self) -> dict[str, Any]:
        """A table's row."""
        plain = {"index": self.index, "preview": self.preview, "step": self.step, "steps": self.steps}
        return {**plain, "shape": list(self.pixels.shape), "digest": self.digest}

    def _repr_png_(self) -> bytes:
        """Notebooks show it."""
        levels = np.rint(np.clip(self.pixels, 0.0, 1.0) * 255.0).astype(np.uint8)
        grey = len(levels) == 1 or (levels == levels[:1]).all()
        words = PngInfo()
        words.add_text("Synthetic", "YES")
        if self.record:
            words.add_itxt(RECORD_KEY, json.dumps(self.record, ensure_ascii=False, sort_keys=True))
        file = io.BytesIO()
        picture = levels[0] if grey else levels[:3].transpose(1, 2, 0)
        Image.fromarray(np.ascontiguousarray(picture)).save(file, "PNG", pnginfo=words)
        return file.getvalue()

    def __repr__(self) -> str:
        kind = f"preview at step {self.step} of {self.steps}" if self.preview else "image"
        return f"<{kind} {self.index} {self.pixels.shape}>"


def generated_image(reply: generation_service_pb2.GenerateImagesResponse) -> GeneratedImage:
    """A message of the stream."""
    return GeneratedImage(
        index=reply.index,
        pixels=tensor_array(reply.image),
        preview=reply.preview,
        step=reply.step,
        steps=reply.steps,
        record=json.loads(reply.record_json) if reply.record_json else {},
    )


def pixels_of_file(data: bytes, filename: str) -> Floats:
    """(C, H, W) float32 in [0, 1] of an NPY or a PNG file of the platform's; a grey PNG has one channel."""
    try:
        if filename.endswith(".npy"):
            return np.asarray(np.load(io.BytesIO(data), allow_pickle=False), np.float32)
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            levels = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidInput(f"the file cannot be read as an image: {error}", field=filename) from error
    top = 255.0 if levels.dtype == np.uint8 else 65535.0
    stacked = levels[np.newaxis] if levels.ndim == 2 else levels.transpose(2, 0, 1)
    return (stacked.astype(np.float64) / top).astype(np.float32)
