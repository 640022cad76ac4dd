"""The model registry: folders of ``model.yaml`` + safetensors, found by name and verified by digest.

A registry root holds ``<name>/<version>/model.yaml`` and the files it lists. Nothing is ever unpickled: a package that
lists anything but safetensors is refused by its format, before a byte of it is read.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from services.adapters.restoration import Restoration, SampledRestoration
from services.errors import FailedPrecondition, Internal, InvalidInput, NotFound, UnsupportedFormat
from services.maths.canonical import digest
from services.maths.diffusion.attributes import Attribute
from services.maths.diffusion.schedules import NoiseSchedule, cosine_schedule, scaled_linear_schedule
from services.maths.pixels import PixelSpec

Task = Literal[
    "reconstruction",
    "classification",
    "segmentation",
    "attribute-classification",
    "text-to-image",
    "mask-to-image",
    "class-to-image",
    "super-resolution",
    "image-embedding",
]

LABELLED = ("classification", "segmentation", "attribute-classification")
GENERATIVE = ("text-to-image", "mask-to-image", "class-to-image", "super-resolution")
PICKLE_FORMATS = {".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".npz", ".joblib"}
# What a package may hold: weights, and in the folders of a diffusers pipeline the texts that describe them.
TEXT_FORMATS = {".json", ".txt"}


class Pixels(BaseModel):
    """Extents and value range of a model's image tensor, as written in ``model.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    channels: int = Field(gt=0)
    height: int = Field(gt=0)
    width: int = Field(gt=0)
    low: float = 0.0
    high: float = 1.0

    @model_validator(mode="after")
    def _is_a_range(self) -> Pixels:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low must be below high and both finite, got low={self.low}, high={self.high}")
        return self

    def spec(self) -> PixelSpec:
        return PixelSpec(self.channels, self.height, self.width, self.low, self.high)


class TritonAddress(BaseModel):
    """Where a model with ``backend: triton`` is served from, and under which tensor names."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: str
    model: str
    input: str = "image"
    output: str = "output"


class Diffusion(BaseModel):
    """How a diffusion network was trained, which decides how it is sampled."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    schedule: Literal["cosine", "scaled-linear"] = "cosine"
    steps: int = Field(default=1000, ge=2)
    zero_terminal_snr: bool = False
    prediction: Literal["epsilon", "v", "x0"] = "epsilon"
    clip: bool = True
    """Whether the estimate of the clean image is clipped to the pixels' range at each step; not for latents."""
    guidance_scale: float = Field(default=1.0, ge=0)
    """The scale that the model's authors suggest; 1 is no guidance."""
    default_steps: int = Field(default=20, ge=1)
    spacing: Literal["trailing", "quadratic"] = "trailing"
    """Which of the levels so many steps visit: see :func:`services.maths.diffusion.schedules.sampling_levels`."""
    null_condition: bool = True
    """Whether it learned what an image looks like without conditions, as guidance needs."""

    def schedule_of(self) -> NoiseSchedule:
        if self.schedule == "cosine":
            return cosine_schedule(self.steps, zero_terminal_snr=self.zero_terminal_snr)
        return scaled_linear_schedule(self.steps, zero_terminal_snr=self.zero_terminal_snr)


class Condition(BaseModel):
    """An attribute that a class-to-image model is conditioned on: levels, or a number from ``low`` to ``high``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    levels: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    optional: bool = True
    """Whether the model has seen images for which it was not given."""

    @model_validator(mode="after")
    def _is_one_kind(self) -> Condition:
        ranged = self.low is not None and self.high is not None and self.low < self.high
        if bool(self.levels) == ranged or (self.low is None) != (self.high is None):
            raise ValueError(f"condition {self.name!r} needs either levels or low < high")
        return self

    def attribute(self) -> Attribute:
        return Attribute(self.name, self.levels, self.low or 0.0, self.high or 0.0)


class BaseModelReference(BaseModel):
    """The text-to-image model that a ControlNet steers, by name, version and digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    version: str
    digest: str


class ThresholdSource(BaseModel):
    """The data that a model's thresholds were chosen on. ``cohort`` is a cohort's digest, or that of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    split: Literal["training", "validation", "test"]
    cohort: str = ""
    patients: int | None = Field(default=None, ge=0)


class LearnedFrom(BaseModel):
    """The file of a package that lists whom the model learned from: :mod:`services.adapters.learned`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    file: str = Field(pattern=r"^[a-z_]{1,40}\.json$")
    sha256: str
    patients: int = Field(ge=0)
    """Training and validation patients of its own, without those of its base."""


class ModelRecord(BaseModel):
    """One ``model.yaml``: what the model does, what it eats, and the digest of each of its files."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    version: str = Field(pattern=r"^[0-9]{1,6}$")
    task: Task
    family: str
    architecture: dict[str, Any] = {}
    backend: Literal["torch", "triton"] = "torch"
    triton: TritonAddress | None = None
    input: Pixels
    output: Pixels | None = None
    modality: str = ""
    degradation: dict[str, Any] | None = None
    diffusion: Diffusion | None = None
    restoration: Restoration | None = None
    conditions: tuple[Condition, ...] = ()
    factor: int | None = Field(default=None, ge=2)
    base: BaseModelReference | None = None
    mask_labels: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    label_column: str = ""
    thresholds: dict[str, float] = {}
    threshold_source: ThresholdSource | None = None
    training: dict[str, Any] = {}
    learned_from: LearnedFrom | None = None
    licence: str
    scores: dict[str, float] = {}
    files: dict[str, str] = {}

    @model_validator(mode="after")
    def _consistent(self) -> ModelRecord:
        if (self.backend == "triton") != (self.triton is not None):
            raise ValueError("backend triton and the field triton belong together")
        if self.task in ("reconstruction", *GENERATIVE) and self.output is None:
            raise ValueError(f"a model for {self.task} needs an output pixel spec")
        if self.task in LABELLED and not self.labels:
            raise ValueError(f"a model for {self.task} needs labels")
        if (self.task in GENERATIVE) != (self.diffusion is not None):
            raise ValueError(f"diffusion belongs to {', '.join(GENERATIVE)}, and each of them needs it")
        if self.restoration is not None and self.task != "reconstruction":
            raise ValueError("restoration belongs to a model for reconstruction")
        if isinstance(self.restoration, SampledRestoration) and self.backend != "torch":
            raise ValueError("a model that samples runs on backend torch")
        for task, field in _FIELDS_OF_TASK.items():
            if (self.task == task) != bool(getattr(self, field)):
                raise ValueError(f"{field} belongs to a model for {task}, which needs it")
        unknown = sorted(set(self.thresholds) - set(self.labels))
        if unknown:
            raise ValueError(f"thresholds for labels the model does not have: {unknown}")
        if not all(0 <= threshold <= 1 for threshold in self.thresholds.values()):
            raise ValueError("thresholds must lie in [0, 1], as the probabilities that they are compared with")
        return self

    def attributes(self) -> tuple[Attribute, ...]:
        """The conditions in the order of the network's attribute vector."""
        return tuple(condition.attribute() for condition in self.conditions)

    @property
    def digest(self) -> str:
        """sha256 over everything that decides an answer: architecture, specs, labels, thresholds and file digests."""
        apart = {"licence", "scores", "threshold_source", "training", "learned_from"}
        described = self.model_dump(mode="json", exclude=apart)
        # What a model does not have is no part of its digest, so that new fields leave old models' digests alone.
        if self.diffusion is not None and self.diffusion.spacing == "trailing":
            del described["diffusion"]["spacing"]
        return digest({key: value for key, value in described.items() if key not in _LATER_FIELDS or value})


_FIELDS_OF_TASK = {"class-to-image": "conditions", "super-resolution": "factor", "mask-to-image": "base"}
_LATER_FIELDS = ("diffusion", "restoration", "conditions", "factor", "base", "mask_labels")


def load_record(folder: Path) -> ModelRecord:
    """Read and check ``folder/model.yaml``. Raises InvalidInput or UnsupportedFormat with the field that is wrong."""
    path = folder / "model.yaml"
    try:
        record = ModelRecord.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except OSError as error:
        raise NotFound(f"no model.yaml in {folder.name}", field="model.yaml", reason="MODEL_NOT_FOUND") from error
    except yaml.YAMLError as error:
        raise InvalidInput("model.yaml is not valid YAML", field="model.yaml", reason="MODEL_RECORD_INVALID") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "model.yaml"
        raise InvalidInput(
            f"model.yaml of {folder.parent.name}: {first['msg']}", field=where, reason="MODEL_RECORD_INVALID"
        ) from error
    for filename in record.files:
        _refuse_pickle(filename)
    return record


def _record_in_place(folder: Path) -> ModelRecord:
    """:func:`load_record`, of a package that lies in ``<name>/<version>``; InvalidInput elsewhere."""
    record = load_record(folder)
    if (record.name, record.version) != (folder.parent.name, folder.name):
        raise InvalidInput(
            f"model.yaml says {record.name}/{record.version}, its folder {folder.parent.name}/{folder.name}",
            field="name",
            reason="MODEL_RECORD_INVALID",
        )
    return record


def _refuse_pickle(filename: str) -> None:
    """Weights are safetensors; one folder deep, as diffusers lays pipelines out, they may have texts beside them."""
    path = Path(filename)
    suffix = path.suffix
    inside = not path.is_absolute() and ".." not in path.parts and len(path.parts) <= 2
    if inside and (suffix == ".safetensors" or (suffix in TEXT_FORMATS and len(path.parts) == 2)):
        return
    kind = "a pickle, which can run code when loaded" if suffix in PICKLE_FORMATS else "not safetensors"
    raise UnsupportedFormat(
        f"weights file {filename!r} is {kind}; convert it with safetensors.torch.save_file",
        field=f"files.{filename}",
        reason="WEIGHTS_FORMAT_REFUSED",
    )


OnLeftOut = Callable[[str, Exception], None]
"""Is told "name/version" of a package that cannot be used, and why."""


class DirectoryRegistry:
    """Model packages in one or more folders; of two packages with the same name and version the first root wins.

    A package that cannot be read is told to ``left_out`` and is not there; without ``left_out`` its error is raised.
    """

    def __init__(self, roots: Sequence[Path], *, left_out: OnLeftOut | None = None) -> None:
        self._packages: dict[tuple[str, str], tuple[ModelRecord, Path]] = {}
        for folder in self._folders(roots):
            try:
                record = _record_in_place(folder)
            except Exception as error:
                if left_out is None:
                    raise
                left_out(f"{folder.parent.name}/{folder.name}", error)
            else:
                self._packages.setdefault((record.name, record.version), (record, folder))

    @staticmethod
    def _folders(roots: Sequence[Path]) -> Iterator[Path]:
        for root in roots:
            yield from (path.parent for path in sorted(root.glob("*/*/model.yaml")))

    def models(self) -> list[ModelRecord]:
        """Every version of every model, by name, then by version number."""
        return [self._packages[key][0] for key in sorted(self._packages, key=lambda key: (key[0], int(key[1])))]

    def find(self, name: str, version: str = "") -> ModelRecord:
        """The named model; without a version, its highest. NotFound MODEL_NOT_FOUND otherwise."""
        matching = [record for record in self.models() if record.name == name and version in ("", record.version)]
        if not matching:
            known = ", ".join(sorted({record.name for record in self.models()}))
            wanted = f"{name} version {version}" if version else name
            raise NotFound(f"no model {wanted!r}; the registry has {known}", field="model", reason="MODEL_NOT_FOUND")
        return matching[-1]

    def load_tensors(self, record: ModelRecord) -> dict[str, np.ndarray]:
        """All tensors of a package by name, after each file's sha256 was checked."""
        folder = self._place(record)
        tensors: dict[str, np.ndarray] = {}
        for filename, data in self._checked(record, folder):
            if Path(filename).suffix in TEXT_FORMATS:
                continue
            try:
                tensors |= load_safetensors(data)
            except SafetensorError as error:
                raise UnsupportedFormat(
                    f"{filename} of {record.name}/{record.version} is not a safetensors file, whatever its name says",
                    field=filename,
                    reason="WEIGHTS_FORMAT_REFUSED",
                ) from error
        return tensors

    def folder(self, record: ModelRecord) -> Path:
        """Where a package lies, after each file's sha256 was checked; for what reads a diffusers folder itself."""
        folder = self._place(record)
        for _ in self._checked(record, folder):
            pass
        return folder

    def learned_from(self, record: ModelRecord) -> bytes:
        """The package's list of those whom it learned from, checked as weights are; empty where it has none."""
        if record.learned_from is None:
            return b""
        return _read(record, self._place(record), record.learned_from.file, record.learned_from.sha256)

    def _place(self, record: ModelRecord) -> Path:
        """The package's folder. A host may still serve a package that this registry, read later, no longer found."""
        found = self._packages.get((record.name, record.version))
        if found is None:
            raise FailedPrecondition(
                f"the package {record.name}/{record.version} is no longer in the registry; put its folder back",
                field="model",
                reason="PACKAGE_GONE",
            )
        return found[1]

    @staticmethod
    def _checked(record: ModelRecord, folder: Path) -> Iterator[tuple[str, bytes]]:
        for filename, expected in record.files.items():
            _refuse_pickle(filename)
            yield filename, _read(record, folder, filename, expected)


def _read(record: ModelRecord, folder: Path, filename: str, expected: str) -> bytes:
    """One file of a package, whose sha256 is ``expected``."""
    try:
        data = (folder / filename).read_bytes()
    except OSError as error:
        raise FailedPrecondition(
            f"{record.name}/{record.version} lists {filename}, which is not there; copy it beside model.yaml",
            field=filename,
            reason="WEIGHTS_MISSING",
        ) from error
    if hashlib.sha256(data).hexdigest() != expected:
        raise Internal(
            f"{filename} of {record.name}/{record.version} does not have the digest that model.yaml states",
            field=filename,
            reason="WEIGHTS_CORRUPT",
        )
    return data
