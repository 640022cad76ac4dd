"""Who says which group an image shows: the readers of phantoms, and attribute classifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from services.adapters.learned import Learned, read_learned
from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.errors import InvalidInput, NotFound
from services.hosting.networks import load_network
from services.maths.alignment import cut_offsets
from services.maths.phantoms.caption_readers import read_attributes, read_organ
from services.maths.phantoms.captions import UNREAD, caption_attributes
from services.maths.phantoms.worlds import Kind
from services.maths.pixels import PixelSpec, to_model
from services.platform.prompt_grid.orders import Order
from services.platform.prompt_grid.prompts import Prompt, check_attribute
from services.training.recipes import MODALITIES
from services.training.scoring import predict

Pixels = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int64]

READERS = "readers"
TASK = "attribute-classification"
ORGAN = "organ"
UNSEEN = -1  # the code of an image of which a judge says nothing


class Judging(Protocol):
    """What a running platform answers about a classifier."""

    def describe(self, name: str) -> Mapping[str, Any]: ...

    def classify(self, name: str, images: Pixels) -> npt.NDArray[np.float32]: ...


@dataclass(frozen=True)
class Classifier:
    """``ask`` takes (N, C, H, W) as ``spec`` says to (N, K) probabilities in the order of ``labels``.

    ``thresholds`` are its package's, of each label against all others; without them it decides at even odds.
    ``learned`` says whom it learned from; None where nobody can say.
    """

    name: str
    version: str
    digest: str
    labels: tuple[str, ...]
    spec: PixelSpec
    ask: Callable[[Pixels], npt.NDArray[np.float32]]
    modality: str = ""
    learned: tuple[Learned, ...] | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.name}@{self.version}"

    def probabilities(self, images: Pixels, levels: Sequence[str]) -> npt.NDArray[np.float32]:
        """(N, K) in the order of ``levels`` for images (N, C, H, W) in [0, 1]; grey where the classifier is."""
        shown = images.mean(axis=1, keepdims=True) if self.spec.channels == 1 else images
        found = self.ask(to_model(np.ascontiguousarray(shown, np.float32), self.spec))
        return found[:, [self.labels.index(level) for level in levels]]

    def offsets(self, levels: Sequence[str]) -> npt.NDArray[np.float64]:
        """(K,) what its thresholds add to log-probabilities; all 0 where they decide nothing."""
        return cut_offsets([self.thresholds.get(level, 0.0) for level in levels])

    def decide(self, probabilities: npt.NDArray[np.floating], levels: Sequence[str]) -> Codes:
        """The group of each image, of :meth:`probabilities` (N, K); -1 where one is no number.

        It is the likeliest one at the cut of the thresholds. Where probabilities happen to be even says little: a
        classifier of groups that are apart may put that among the people of one of them.
        """
        known = np.isfinite(probabilities).all(axis=1)
        with np.errstate(divide="ignore"):
            logits = np.log(np.where(known[:, None], probabilities, 1.0)) + self.offsets(levels)
        return np.where(known, logits.argmax(axis=1), UNSEEN).astype(np.int64)


def find_classifier(name: str, registry: Path, platform: Judging | None) -> Classifier:
    """The package of ``registry``, else what the platform serves under ``name``, with @version where one is meant.

    Raises NotFound without either, InvalidInput MODEL_TASK_MISMATCH for a model that is no attribute classifier.
    """
    bare, _, version = name.removeprefix("models/").partition("@")
    packages = DirectoryRegistry([registry])
    try:
        record = packages.find(bare, version)
    except NotFound:
        if platform is None:
            raise
        return _served(name, platform)
    _check_task(record.name, record.task)
    return _packaged(packages, record)


def _packaged(packages: DirectoryRegistry, record: ModelRecord) -> Classifier:
    network = load_network(record, packages.load_tensors(record))
    data = packages.learned_from(record)

    def ask(images: Pixels) -> npt.NDArray[np.float32]:
        device = next(network.parameters()).device
        return predict(network, torch.from_numpy(images).to(device), record.task)

    learned = read_learned(data) if data else None
    spec = record.input.spec()
    return Classifier(
        record.name,
        record.version,
        record.digest,
        record.labels,
        spec,
        ask,
        record.modality,
        learned,
        record.thresholds,
    )


def _served(name: str, platform: Judging) -> Classifier:
    plain = platform.describe(name)
    bare = str(plain["name"]).removeprefix("models/")
    _check_task(bare, str(plain["task"]))
    extents = (int(plain["input"][extent]) for extent in ("channels", "height", "width"))
    version = str(plain["version"])
    labels = tuple(map(str, plain["labels"]))

    def ask(images: Pixels) -> npt.NDArray[np.float32]:
        return platform.classify(f"{bare}@{version}", images)

    thresholds = {label: float(threshold) for label, threshold in plain["thresholds"].items()}
    return Classifier(bare, version, str(plain["digest"]), labels, PixelSpec(*extents), ask, thresholds=thresholds)


def _check_task(name: str, task: str) -> None:
    if task != TASK:
        raise InvalidInput(
            f"{name} is a model for {task}; a judge is a model for {TASK}",
            field="classifier",
            reason="MODEL_TASK_MISMATCH",
        )


def check_channels(classifier: Classifier, made: PixelSpec) -> None:
    """InvalidInput CLASSIFIER_DIFFERS for a classifier that cannot be shown images of ``made``."""
    if made.channels != 1 and classifier.spec.channels not in (1, made.channels):
        raise InvalidInput(
            f"{classifier.title} takes {classifier.spec.channels} channels; the images have {made.channels}",
            field="classifier",
            reason="CLASSIFIER_DIFFERS",
        )


def groups_of(order: Order, prompts: Sequence[Prompt], classifiers: Sequence[Classifier]) -> tuple[str, ...]:
    """The levels of the audited attribute, which all judges must know.

    Raises UnknownAttribute, and InvalidInput READERS_CANNOT where readers are to judge what they cannot read, or
    CLASSIFIER_DIFFERS for a classifier of other groups or of other images.
    """
    kinds = sorted({prompt.kind for prompt in prompts})
    for kind in kinds:
        if kind:
            check_attribute(kind, order.attribute)
    if order.readers:
        _check_readable(order.attribute, kinds)
    known = {caption_attributes(cast("Kind", kind))[order.attribute] for kind in kinds if kind}
    levels = known.pop() if len(known) == 1 and "" not in kinds else classifiers[0].labels if classifiers else ()
    for classifier in classifiers:
        _check_classifier(classifier, levels, kinds)
    return levels


def _check_readable(attribute: str, kinds: Sequence[str]) -> None:
    unread = [kind for kind in kinds if not kind or attribute in UNREAD.get(kind, ())]
    if unread:
        what = f"{attribute} of {unread[0]} phantoms" if unread[0] else "images that are asked for in other words"
        raise InvalidInput(
            f"no reader takes {what} from the pixels; name a classifier, and --no-readers",
            field="readers",
            reason="READERS_CANNOT",
        )


def _check_classifier(classifier: Classifier, levels: Sequence[str], kinds: Sequence[str]) -> None:
    lacking = [level for level in levels if level not in classifier.labels]
    if lacking or len(classifier.labels) != len(levels):
        raise InvalidInput(
            f"{classifier.title} knows {', '.join(classifier.labels)}; the groups are {', '.join(levels)}",
            field="classifier",
            reason="CLASSIFIER_DIFFERS",
        )
    others = [kind for kind in kinds if kind and classifier.modality not in ("", MODALITIES.get(kind, ""))]
    if others:
        raise InvalidInput(
            f"{classifier.title} classifies a {classifier.modality}; the prompts also ask for {', '.join(others)}",
            field="classifier",
            reason="CLASSIFIER_DIFFERS",
        )


def read(kind: str, pixels: Pixels) -> pd.DataFrame:
    """What the readers see on (N, C, S, S): an attribute a column, and the organ. No columns where kind is ""."""
    if not kind:
        return pd.DataFrame(index=range(len(pixels)))
    with np.errstate(all="ignore"):  # where a landmark is missing the readers divide by nothing, and say NaN
        levels = read_attributes(cast("Kind", kind), pixels)
        levels[ORGAN] = pd.Series(read_organ(pixels), dtype=object)
    return levels


def codes_of(seen: pd.Series, levels: Sequence[str]) -> Codes:
    """Levels as places among ``levels``, -1 for what was not seen."""
    place = {level: number for number, level in enumerate(levels)}
    return np.array([place.get(level, UNSEEN) for level in seen], np.int64)
