"""The model registry: folders of ``model.yaml`` + safetensors, found by name and verified by digest.

A registry root holds ``<name>/<version>/model.yaml`` and the files it lists. Nothing is ever unpickled: a package that
lists anything but safetensors is refused by its format, before a byte of it is read.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from services.errors import FailedPrecondition, Internal, InvalidInput, NotFound, UnsupportedFormat
from services.maths.canonical import digest
from services.maths.pixels import PixelSpec

Task = Literal["reconstruction", "classification", "segmentation", "attribute-classification"]

PICKLE_FORMATS = {".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".npz", ".joblib"}


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


class ThresholdSource(BaseModel):
    """The data that a model's thresholds were chosen on. ``cohort`` is a cohort's digest, or that of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    split: Literal["training", "validation", "test"]
    cohort: str = ""
    patients: int | None = Field(default=None, ge=0)


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
    labels: tuple[str, ...] = ()
    label_column: str = ""
    thresholds: dict[str, float] = {}
    threshold_source: ThresholdSource | None = None
    training: dict[str, Any] = {}
    licence: str
    scores: dict[str, float] = {}
    files: dict[str, str] = {}

    @model_validator(mode="after")
    def _consistent(self) -> ModelRecord:
        if (self.backend == "triton") != (self.triton is not None):
            raise ValueError("backend triton and the field triton belong together")
        if self.task == "reconstruction" and self.output is None:
            raise ValueError("a reconstruction model needs an output pixel spec")
        if self.task != "reconstruction" and not self.labels:
            raise ValueError(f"a model for {self.task} needs labels")
        unknown = sorted(set(self.thresholds) - set(self.labels))
        if unknown:
            raise ValueError(f"thresholds for labels the model does not have: {unknown}")
        if not all(0 <= threshold <= 1 for threshold in self.thresholds.values()):
            raise ValueError("thresholds must lie in [0, 1], as the probabilities that they are compared with")
        return self

    @property
    def digest(self) -> str:
        """sha256 over everything that decides an answer: architecture, specs, labels, thresholds and file digests."""
        return digest(self.model_dump(mode="json", exclude={"licence", "scores", "threshold_source", "training"}))


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


def _refuse_pickle(filename: str) -> None:
    suffix = Path(filename).suffix
    if suffix == ".safetensors" and Path(filename).name == filename:
        return
    kind = "a pickle, which can run code when loaded" if suffix in PICKLE_FORMATS else "not safetensors"
    raise UnsupportedFormat(
        f"weights file {filename!r} is {kind}; convert it with safetensors.torch.save_file",
        field=f"files.{filename}",
        reason="WEIGHTS_FORMAT_REFUSED",
    )


class DirectoryRegistry:
    """Model packages in one or more folders; of two packages with the same name and version the first root wins."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._packages: dict[tuple[str, str], tuple[ModelRecord, Path]] = {}
        for folder in self._folders(roots):
            record = load_record(folder)
            if (record.name, record.version) != (folder.parent.name, folder.name):
                raise InvalidInput(
                    f"model.yaml says {record.name}/{record.version}, its folder {folder.parent.name}/{folder.name}",
                    field="name",
                    reason="MODEL_RECORD_INVALID",
                )
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
        folder = self._packages[record.name, record.version][1]
        tensors: dict[str, np.ndarray] = {}
        for filename, expected in record.files.items():
            _refuse_pickle(filename)
            try:
                data = (folder / filename).read_bytes()
            except OSError as error:
                raise FailedPrecondition(
                    f"{record.name}/{record.version} lists {filename}, which is not there; "
                    "copy the weights beside model.yaml",
                    field=filename,
                    reason="WEIGHTS_MISSING",
                ) from error
            if hashlib.sha256(data).hexdigest() != expected:
                raise Internal(
                    f"{filename} of {record.name}/{record.version} does not have the digest that model.yaml states",
                    field=filename,
                    reason="WEIGHTS_CORRUPT",
                )
            try:
                tensors |= load_safetensors(data)
            except SafetensorError as error:
                raise UnsupportedFormat(
                    f"{filename} of {record.name}/{record.version} is not a safetensors file, whatever its name says",
                    field=filename,
                    reason="WEIGHTS_FORMAT_REFUSED",
                ) from error
        return tensors
