"""What is to be evaluated, and the three samples of one organ that the numbers are computed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from services.errors import FailedPrecondition, InvalidInput
from services.platform.evaluation import folders, phantoms
from services.platform.evaluation.asking import Ask, make_images
from services.platform.evaluation.encoders import PHANTOM_CLIP
from services.platform.evaluation.generators import Generator
from services.platform.evaluation.samples import Sample, deal, matched, one_image_each

Progress = Callable[[str, int, int], None]  # stage, done, total
Folder = tuple[Path, Path]  # images, table
Stated = dict[str, Any]


@dataclass(frozen=True)
class Order:
    """What is to be evaluated. ``images`` and the training patients are for each organ; None is all of the recipe's."""

    model: str
    registry: Path
    organs: tuple[str, ...] = ()
    images: int = 200
    seed: int = 1
    sampling: Mapping[str, Any] = field(default_factory=dict)
    synthetic: Folder | None = None
    reference: Folder | None = None
    training: Folder | None = None
    training_patients: int | None = None
    encoder: str = PHANTOM_CLIP
    inception: Path | None = None


@dataclass(frozen=True)
class Collector:
    """Brings the samples of an order together; ``ask`` makes the images unless the order names a folder of them."""

    order: Order
    generator: Generator
    ask: Ask | None
    progress: Progress

    def organs(self) -> tuple[str, ...]:
        """What is evaluated one after the other; ("",) where it has no name. Errors name the field of the order."""
        order, generator = self.order, self.generator
        for organ in order.organs:
            if organ not in generator.organs and order.reference is None:
                known = ", ".join(generator.organs) or "none"
                raise InvalidInput(f"{generator.name} has learned these organs: {known}; not {organ!r}", field="organ")
        organs = order.organs or generator.organs
        from_files = order.synthetic is not None or order.reference is not None
        if from_files and len(organs) > 1:
            raise InvalidInput(f"{generator.name} draws {', '.join(organs)}; say which the files are of", field="organ")
        if not organs and order.reference is None:
            raise FailedPrecondition(
                f"model.yaml of {generator.name} names no phantoms; give reference images and a table",
                field="reference",
                reason="REFERENCE_UNKNOWN",
            )
        return organs or ("",)

    def samples(self, organ: str) -> tuple[tuple[Sample, Sample, Sample], Stated]:
        """Synthetic, real and control images, and where they come from."""
        pool, stated = self._reference(organ)
        if self.order.synthetic is not None:
            return self._from_files(organ, self.order.synthetic, pool, stated)
        order, generator = self.order, self.generator
        real, control = deal(pool, order.seed, order.images)
        if not real.requests:
            asked = ", ".join(condition.name for condition in generator.conditions)
            needed = "prompt" if generator.task == "text-to-image" else asked
            raise InvalidInput(f"the reference table must say what to ask for: columns {needed}", field="reference")
        if self.ask is None:
            raise FailedPrecondition("no platform was named that makes the images", field="model")
        settings = {"seed": order.seed, **order.sampling}
        tick = self.counter(f"asking for {organ or 'images'}", len(real))
        made = make_images(self.ask, real.requests, generator.pixels, settings, on_image=tick)
        synthetic = Sample(organ, made.pixels, real.patients, real.levels)
        stated |= {"source": "the platform", "distinct_noises": made.distinct_noises, "left_out": 0}
        return (synthetic, real, control), stated

    def training(self, organ: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.str_]] | None:
        """(T, C, H, W) images in [0, 1] that taught the generator, and their patients; None where nobody knows them."""
        if self.order.training is not None:
            sample = self._folder(self.order.training, organ, "reading what taught it")
            return sample.pixels, sample.patients
        if organ not in self.generator.organs:
            return None
        patients = self.order.training_patients or phantoms.training_patients(self.generator)
        return phantoms.training(
            self.generator, organ, patients, self.counter(f"drawing what taught {organ}", patients)
        )

    def counter(self, stage: str, total: int) -> Callable[..., None]:
        """Counts up by one, or by the number it is given, and reports."""
        done = 0
        self.progress(stage, done, total)

        def tick(more: int = 1) -> None:
            nonlocal done
            done += more
            self.progress(stage, done, total)

        return tick

    def _reference(self, organ: str) -> tuple[Sample, Stated]:
        """One image a patient, of patients that the generator has not seen."""
        order = self.order
        if order.reference is None:
            tick = self.counter(f"drawing {organ}", 0)
            sample = phantoms.held_out(self.generator, organ, 2 * order.images, order.seed, tick)
            return sample, {"reference": f"held-out phantoms of the {self.generator.training['world']} world"}
        everything = self._folder(order.reference, organ, "reading the reference")
        sample = one_image_each(everything, order.seed)
        more = len(everything) - len(sample)
        return sample, {"reference": "images of a folder", "more_images_of_patients": more}

    def _from_files(
        self, organ: str, files: Folder, pool: Sample, stated: Stated
    ) -> tuple[tuple[Sample, Sample, Sample], Stated]:
        """Images made elsewhere, each with a real one of the same attributes; half of the reference is for control."""
        everything = self._folder(files, organ, "reading the images")
        partners, control = deal(pool, self.order.seed, len(pool))
        rows, chosen = matched(everything, partners, self.order.seed)
        kept = np.sort(np.random.default_rng([self.order.seed, 9]).permutation(len(rows))[: self.order.images])
        shared = [name for name in partners.levels if name in everything.levels]  # of others nothing was asked
        real, control = (replace(some, levels=some.levels[shared]) for some in (partners.take(chosen[kept]), control))
        made = everything.take(rows[kept])
        synthetic = Sample(organ, made.pixels, real.patients, real.levels)
        left_out = len(everything) - len(synthetic)
        stated |= {"source": "images of a folder", "distinct_noises": None, "left_out": left_out}
        return (synthetic, real, control), stated

    def _folder(self, files: Folder, organ: str, stage: str) -> Sample:
        return folders.read_folder(*files, self.generator, organ=organ, on_image=self.counter(stage, 0))
