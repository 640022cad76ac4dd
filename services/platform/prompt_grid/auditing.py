"""One audit from beginning to end: checks, the judges' errors, the images of every prompt, who shows what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from services.errors import FailedPrecondition, InvalidInput
from services.maths.phantoms.captions import caption_attributes
from services.maths.phantoms.worlds import Kind
from services.platform.evaluation.asking import Ask
from services.platform.evaluation.generators import Generator, find_generator
from services.platform.prompt_grid import labelled as labelling
from services.platform.prompt_grid.judges import (
    READERS,
    Classifier,
    Codes,
    Judging,
    check_channels,
    codes_of,
    find_classifier,
    groups_of,
    read,
)
from services.platform.prompt_grid.making import Folder, Made, Platform, Source
from services.platform.prompt_grid.orders import Order, Progress, Target, parse_targets
from services.platform.prompt_grid.prompts import (
    Prompt,
    check_prompts,
    phantom_prompts,
    read_prompts,
    understood,
)

AFTER, BEFORE = "model", "baseline"
SHOWN_PROMPTS, SHOWN_IMAGES = 4, 8
_TASK = "text-to-image"

Pixels = npt.NDArray[np.float32]


class RunningPlatform(Judging, Protocol):
    """A platform that makes images, too."""

    def ask(self, name: str) -> Ask: ...


@dataclass(frozen=True)
class Judge:
    """``confusion`` (K, K) true by predicted, None where its errors are not measured; ``classifier`` None: readers."""

    title: str
    classifier: Classifier | None = None
    confusion: npt.NDArray[np.int64] | None = None
    measured_on: str = ""


@dataclass(frozen=True)
class Shown:
    """The first images of one prompt by role, (N, C, H, W), and their groups by the first judge."""

    prompt: Prompt
    pixels: Mapping[str, Pixels]
    codes: Mapping[str, Codes]


@dataclass(frozen=True)
class Grid:
    """``images`` has a row for each image: see :func:`_rows`. ``models`` and ``sources`` are by role."""

    order: Order
    models: Mapping[str, Generator]
    sources: Mapping[str, str]
    prompts: tuple[Prompt, ...]
    levels: tuple[str, ...]
    targets: tuple[Target, ...]
    judges: tuple[Judge, ...]
    images: pd.DataFrame
    shown: Sequence[Shown]

    def of(self, role: str) -> pd.DataFrame:
        """The images of one role, in the order of prompts and numbers."""
        return self.images[self.images["role"] == role].reset_index(drop=True)


def audit(order: Order, platform: RunningPlatform | None, progress: Progress) -> Grid:
    """Everything that the order asks for. What can be refused is refused before an image is made."""
    models = {AFTER: _generator(order, order.model, platform if order.made is None else None)}
    if order.compares:
        served = platform if order.baseline_made is None else None
        models[BEFORE] = _generator(order, order.baseline or order.model, served)
    sources = _sources(order, models, platform)
    prompts = _prompts(order, models, sources[AFTER])
    classifiers = [find_classifier(name, order.registry, platform) for name in order.classifiers]
    for classifier in classifiers:
        check_channels(classifier, models[AFTER].pixels)
    levels = groups_of(order, prompts, classifiers)
    targets = parse_targets(order.targets, levels)
    check_prompts(prompts, order.attribute, levels)
    _check_counts(sources, prompts)
    judges = _judges(order, prompts, levels, classifiers, model=models[AFTER], progress=progress)

    parts: list[pd.DataFrame] = []
    shown: list[Shown] = []
    total = len(sources) * sum(sources[AFTER].count(prompt.text) for prompt in prompts)
    tick = _counter(progress, "making and judging images", total)
    for number, prompt in enumerate(prompts):
        made = {role: source.of(prompt.text, tick) for role, source in sources.items()}
        _check_noise(made)
        rows = {
            role: _rows(role, number, prompt, some, judges=judges, attribute=order.attribute, levels=levels)
            for role, some in made.items()
        }
        parts += rows.values()
        if number < SHOWN_PROMPTS:
            shown.append(_shown(prompt, made, rows, judges, levels))
    images = pd.concat(parts, ignore_index=True)
    words = {role: source.words for role, source in sources.items()}
    return Grid(order, models, words, prompts, levels, targets, judges, images, shown)


def _generator(order: Order, name: str, platform: RunningPlatform | None) -> Generator:
    generator = find_generator(name, order.registry, None if platform is None else platform.describe(name))
    if generator.task != _TASK:
        raise InvalidInput(
            f"{generator.name} is a model for {generator.task}; prompts are for models of {_TASK}",
            field="model",
            reason="MODEL_TASK_MISMATCH",
        )
    return generator


def _sources(order: Order, models: Mapping[str, Generator], platform: RunningPlatform | None) -> dict[str, Source]:
    sources: dict[str, Source] = {}
    for role, files in ((AFTER, order.made), (BEFORE, order.baseline_made)):
        if role not in models:
            continue
        model = models[role]
        if files is not None:
            sources[role] = Folder(*files, model.pixels)
        elif platform is not None:
            ask = platform.ask(f"{model.name}@{model.version}")
            sources[role] = Platform(ask, model.pixels, order.sampling, order.seed, order.images)
        else:
            raise FailedPrecondition("no platform was named that makes the images", field="model")
    return sources


def _prompts(order: Order, models: Mapping[str, Generator], source: Source) -> tuple[Prompt, ...]:
    """Of a file, of the folder's table, or of the grid of the organs that the model, or its baseline, has learned."""
    if order.prompts is not None:
        return understood(read_prompts(order.prompts))
    if isinstance(source, Folder):
        return understood(source.prompts)
    model = models[AFTER]
    learned = next((some.organs for some in models.values() if some.organs), ())
    unknown = [organ for organ in order.organs if learned and organ not in learned]
    if unknown:
        raise InvalidInput(
            f"{model.name} has learned these organs: {', '.join(learned)}; not {unknown[0][:40]!r}",
            field="organ",
            reason="NO_PROMPT_GRID",
        )
    shown = (kind for kind in learned if order.attribute in caption_attributes(cast("Kind", kind)))
    organs = order.organs or tuple(shown)
    if not organs:
        known = f"{', '.join(learned)}, none of which shows {order.attribute[:40]!r}" if learned else "is not known"
        raise InvalidInput(
            f"what {model.name} has learned: {known}; name an organ of phantoms, or a file of prompts",
            field="prompts",
            reason="NO_PROMPT_GRID",
        )
    return phantom_prompts(organs, order.attribute)


def _check_counts(sources: Mapping[str, Source], prompts: Sequence[Prompt]) -> None:
    for number, prompt in enumerate(prompts, 1):
        counts = {source.count(prompt.text) for source in sources.values()}
        if len(counts) > 1:
            raise InvalidInput(
                f"prompt {number} has {' and '.join(map(str, sorted(counts)))} images; before and after need as many",
                field="table",
                reason="IMAGES_UNPAIRED",
            )


def _check_noise(made: Mapping[str, Made]) -> None:
    """Before and after are compared image by image, which means nothing from different noise."""
    if len({tuple(some.noises) for some in made.values()}) > 1:
        raise FailedPrecondition(
            "the two models draw from different noise (latents of another shape?), so that their images are no pairs; "
            "audit them one by one",
            field="baseline",
            reason="NOISE_DIFFERS",
        )


def _judges(
    order: Order,
    prompts: Sequence[Prompt],
    levels: Sequence[str],
    classifiers: Sequence[Classifier],
    *,
    model: Generator,
    progress: Progress,
) -> tuple[Judge, ...]:
    readers = [Judge(READERS)] if order.readers else []
    if not classifiers:
        return tuple(readers)
    if order.labelled_images is not None:
        tick = _counter(progress, "reading labelled images", 0)
        known = labelling.of_folder(order.labelled_images, order.attribute, levels, model.pixels, tick)
    elif order.labelled and all(prompt.kind for prompt in prompts):
        tick = _counter(progress, "drawing labelled images", 0)
        how = {"spec": model.pixels, "patients": order.labelled, "seed": order.seed}
        known = labelling.drawn(prompts, order.attribute, levels, tick=tick, **how)  # type: ignore[arg-type]
    else:
        return (*readers, *(Judge(classifier.title, classifier) for classifier in classifiers))
    for classifier in classifiers:
        labelling.check_strangers(classifier, known)
    measured = (Judge(one.title, one, labelling.confusion_of(one, known, levels), known.words) for one in classifiers)
    return (*readers, *measured)


def _rows(
    role: str,
    number: int,
    prompt: Prompt,
    made: Made,
    *,
    judges: Sequence[Judge],
    attribute: str,
    levels: Sequence[str],
) -> pd.DataFrame:
    """A row an image: prompt, seed, index, digests, ``group_<judge>`` (None: not seen), ``p_<judge>_<level>``, and what
    readers see of everything else as ``read_<attribute>``."""
    seen = read(prompt.kind, made.pixels)
    count = len(made.pixels)
    columns: dict[str, Any] = {
        "role": [role] * count,
        "prompt_number": [number] * count,
        "prompt": [prompt.text] * count,
        "kind": [prompt.kind] * count,
        "seed": [made.seed] * count,
        "index": range(count),
        "noise_digest": list(made.noises),
        "pixels_digest": made.digests,
    }
    for judge in judges:
        if judge.classifier is None:
            codes = codes_of(seen[attribute], levels)
        else:
            found = judge.classifier.probabilities(made.pixels, levels)
            codes = judge.classifier.decide(found, levels)
            columns |= {f"p_{judge.title}_{level}": found[:, place] for place, level in enumerate(levels)}
        columns[f"group_{judge.title}"] = [levels[code] if code >= 0 else None for code in codes]
    columns |= {f"read_{name}": seen[name].tolist() for name in seen if name != attribute}
    return pd.DataFrame(columns)


def _shown(
    prompt: Prompt,
    made: Mapping[str, Made],
    rows: Mapping[str, pd.DataFrame],
    judges: Sequence[Judge],
    levels: Sequence[str],
) -> Shown:
    codes = {role: codes_of(some[f"group_{judges[0].title}"], levels)[:SHOWN_IMAGES] for role, some in rows.items()}
    return Shown(prompt, {role: some.pixels[:SHOWN_IMAGES].copy() for role, some in made.items()}, codes)


def _counter(progress: Progress, stage: str, total: int) -> Callable[[], None]:
    done = 0
    progress(stage, done, total)

    def tick() -> None:
        nonlocal done
        done += 1
        progress(stage, done, total)

    return tick
