"""Asking a running platform for images, several requests at a time; every image has an index, so its own noise."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.errors import InvalidInput, ShapeMismatch
from services.maths.pixels import PixelSpec

# Fields of a request (prompt, attributes or mask; seed, first_index, count; steps, sampler, guidance where given) to
# (index, pixels (C, H, W) in [0, 1], record) of each image as it is done.
Image = tuple[int, npt.NDArray[np.floating], Mapping[str, Any]]
Ask = Callable[[Mapping[str, Any]], Iterable[Image]]

AT_ONCE = 4  # requests
MOST_IMAGES = 32  # of one request


@dataclass(frozen=True)
class Made:
    """(N, C, H, W) float32 in [0, 1] in the order of the requests, and the record of each image."""

    pixels: npt.NDArray[np.float32]
    records: Sequence[Mapping[str, Any]]

    @property
    def distinct_noises(self) -> int | None:
        """Different initial noises among the images; None where the records do not say."""
        digests = [str(record.get("noise_digest") or record.get("noiseDigest") or "") for record in self.records]
        return len(set(digests)) if digests and all(digests) else None


def make_images(
    ask: Ask,
    requests: Sequence[Mapping[str, Any]],
    spec: PixelSpec,
    settings: Mapping[str, Any],
    *,
    first_index: int = 0,
    on_image: Callable[[], None] = lambda: None,
) -> Made:
    """One image for each request; equal requests travel together. ``settings`` go into all of them.

    Raises ShapeMismatch for an image of other extents than ``spec``, InvalidInput for one that nobody asked for, and
    whatever ``ask`` raises.
    """
    pixels = np.zeros((len(requests), *spec.shape), np.float32)
    records: list[Mapping[str, Any]] = [{} for _ in requests]
    seen = np.zeros(len(requests), bool)
    counting, ended = threading.Lock(), threading.Event()

    def one(rows: list[int], start: int) -> None:
        wanted = {**settings, **requests[rows[0]], "first_index": first_index + start, "count": len(rows)}
        for index, image, record in _until(ended, ask(wanted)):
            place = index - first_index - start
            if not 0 <= place < len(rows) or seen[rows[place]]:
                raise InvalidInput(f"the platform sent image {index}, which was not asked for", field="index")
            if tuple(image.shape) != spec.shape:
                raise ShapeMismatch(f"images have shape {spec.shape}, the platform sent {image.shape}", field="image")
            pixels[rows[place]], records[rows[place]], seen[rows[place]] = image, record, True
            with counting:
                on_image()

    parts = _together(requests)
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in parts])])
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="ask") as threads:
        running = [threads.submit(one, rows, int(start)) for rows, start in zip(parts, starts, strict=False)]
        try:
            for future in wait(running, return_when=FIRST_EXCEPTION).done:
                future.result()
        except BaseException:
            ended.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    if not seen.all():
        raise ShapeMismatch(f"the platform ended with {int((~seen).sum())} images missing", field="count")
    return Made(np.clip(pixels, 0.0, 1.0), records)


def _until(ended: threading.Event, images: Iterable[Image]) -> Iterator[Image]:
    """The images until ``ended``; a stream that is left is closed, so that the platform stops working on it."""
    try:
        for image in images:
            if ended.is_set():
                return
            yield image
    finally:
        if isinstance(images, Generator):
            images.close()


def _together(requests: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Rows of equal requests, at most 32 in one."""
    groups: dict[str, list[int]] = {}
    for row, request in enumerate(requests):
        groups.setdefault(json.dumps(request, sort_keys=True, default=_spelled), []).append(row)
    return [rows[at : at + MOST_IMAGES] for rows in groups.values() for at in range(0, len(rows), MOST_IMAGES)]


def _spelled(value: Any) -> str:
    return f"{value.shape}{value.tobytes().hex()}" if isinstance(value, np.ndarray) else str(value)
