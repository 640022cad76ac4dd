"""One evaluation from beginning to end: samples, features, numbers, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.maths.pixels import PixelSpec, to_model
from services.platform.evaluation import measures
from services.platform.evaluation.asking import Ask
from services.platform.evaluation.collecting import Collector, Order, Progress
from services.platform.evaluation.encoders import Encoder, inception_encoder, zoo_encoder
from services.platform.evaluation.generators import Generator, find_generator
from services.platform.evaluation.measures import Compared, Rows

Pixels = npt.NDArray[np.float32]
Pair = tuple[Mapping[str, Any], Pixels, Pixels]  # what is known of it, the synthetic image, the training image

SMALL = 32  # pixels a side on which images are compared as they are
TABLES = ("distances", "fidelity", "confusions", "unread", "shifts", "spreads", "manifolds", "closeness", "closest")
MOST_SHOWN, SHOWN_PAIRS = 12, 6


@dataclass(frozen=True)
class Shown:
    """Pictures for the page: real and synthetic images of the same conditions, and the pairs closest to training."""

    organ: str
    real: Pixels
    synthetic: Pixels
    closest: Sequence[Pair] = ()


@dataclass(frozen=True)
class Evaluated:
    """``tables`` by name, what each organ's numbers stand on (``samples``), and pictures."""

    generator: Generator
    encoder: Encoder
    tables: Mapping[str, Rows]
    samples: Rows
    pixels: Sequence[Pixels]
    """All synthetic images of each organ."""
    shown: Sequence[Shown]


def evaluate(
    order: Order, served: Mapping[str, Any] | None, ask: Ask | None, progress: Progress, **counts: int
) -> Evaluated:
    """Everything about one generator; ``counts`` are permutations of the tests where the default is not meant.

    ``ask`` makes the images unless the order names a folder of them. Errors name the field of the order.
    """
    generator = find_generator(order.model, order.registry, served)
    encoder = inception_encoder(order.inception) if order.inception else zoo_encoder(order.registry, order.encoder)
    collector = Collector(order, generator, ask, progress)
    tables: dict[str, Rows] = {name: [] for name in TABLES}
    samples: Rows = []
    pixels: list[Pixels] = []
    shown: list[Shown] = []
    for organ in collector.organs():
        triple, stated = collector.samples(organ)
        tick = collector.counter(f"encoding {organ}", sum(map(len, triple)))
        features = [encoder.encode(sample.pixels, tick) for sample in triple]
        compared = Compared(*triple, *features)
        samples.append({"organ": organ, **stated, "images": len(compared.real), "control": len(compared.control)})
        found = _measured(collector, encoder, compared, counts)
        closest = _nearest(collector, encoder, compared, found, samples[-1])
        for name, rows in found.items():
            tables[name] += rows
        pixels.append(compared.synthetic.pixels)
        shown.append(Shown(organ, compared.real.pixels[:MOST_SHOWN], compared.synthetic.pixels[:MOST_SHOWN], closest))
    return Evaluated(generator, encoder, tables, samples, pixels, shown)


def _measured(collector: Collector, encoder: Encoder, compared: Compared, counts: Mapping[str, int]) -> dict[str, Rows]:
    tick = collector.counter(f"comparing {compared.organ}", 4)
    seed, task = collector.order.seed, collector.generator.task
    found: dict[str, Rows] = {"distances": measures.distance_rows(compared, encoder.name, seed, **counts)}
    tick()
    found["fidelity"], found["confusions"], found["unread"], readings = measures.fidelity_rows(compared, task)
    tick()
    found["shifts"] = measures.shift_rows(compared, readings, task)
    tick()
    found["spreads"] = measures.spread_rows(compared, seed, **counts)
    found["manifolds"] = measures.manifold_rows(compared)
    tick()
    return found


def _nearest(
    collector: Collector, encoder: Encoder, compared: Compared, found: dict[str, Rows], stated: dict[str, Any]
) -> Sequence[Pair]:
    """Adds rows about nearness to the training images, where these are known; the closest pairs with their pictures."""
    taught = collector.training(compared.organ)
    if taught is None:
        return []
    pixels, patients = taught
    stated |= {"training_images": len(pixels), "training_patients": len(np.unique(patients))}
    features = encoder.encode(pixels, collector.counter(f"encoding what taught {compared.organ or 'it'}", len(pixels)))
    channels = pixels.shape[1]
    samples = (compared.synthetic, compared.real, compared.control)
    spaces = {
        encoder.name: ((compared.made, compared.true, compared.held), features),
        f"pixels {SMALL}×{SMALL}": ([_small(some.pixels, channels) for some in samples], _small(pixels, channels)),
    }
    found["closeness"], pairs = measures.closeness_rows(compared.organ, spaces, patients)
    found["closest"] = [{**pair, "patient": str(patients[pair["training_row"]])} for pair in pairs[:SHOWN_PAIRS]]
    return [(pair, compared.synthetic.pixels[pair["image"]], pixels[pair["training_row"]]) for pair in found["closest"]]


def _small(pixels: npt.NDArray[np.float32], channels: int) -> npt.NDArray[np.float32]:
    """(N, d): the images at 32 pixels a side, in as many channels as the training images have."""
    shown = pixels if pixels.shape[1] == channels else pixels.mean(axis=1, keepdims=True)
    side = min(SMALL, pixels.shape[2])
    parts = [to_model(shown[at : at + 512], PixelSpec(shown.shape[1], side, side)) for at in range(0, len(shown), 512)]
    return np.concatenate(parts).reshape(len(pixels), -1)
