"""What is known of the generator that is evaluated: its task, its conditions, and what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.errors import FailedPrecondition, InvalidInput, NotFound
from services.maths.diffusion.attributes import Attribute
from services.maths.phantoms import LABELS
from services.maths.pixels import PixelSpec

TASKS = ("text-to-image", "class-to-image", "mask-to-image")


@dataclass(frozen=True)
class Generator:
    """``training`` has recipe, world, organs, patients and seed of a model that phantoms taught; else it is empty."""

    name: str
    version: str
    digest: str
    task: str
    pixels: PixelSpec
    conditions: tuple[Attribute, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def organs(self) -> tuple[str, ...]:
        """The phantoms it was trained on; empty where it was trained on anything else."""
        return tuple(organ for organ in self.training.get("organs", ()) if organ in LABELS)


def find_generator(name: str, registry: Path, served: Mapping[str, Any] | None) -> Generator:
    """The generator by its package in ``registry``, or by what the platform says of it (``served``) without one.

    ``name`` may say a version behind @. ``served`` has name, version, digest, task, output {channels, height, width}
    and conditions. Raises InvalidInput for a model that does not generate, FailedPrecondition where the platform serves
    other weights than the package holds.
    """
    bare, _, version = name.removeprefix("models/").partition("@")
    try:
        record = DirectoryRegistry([registry]).find(bare, str((served or {}).get("version", "")) or version)
    except NotFound:
        if served is None:
            raise
        return _checked(_of_served(bare, served))
    if served is not None and served.get("digest") not in ("", None, record.digest):
        raise FailedPrecondition(
            f"the platform serves {bare} with digest {str(served['digest'])[:12]}, the package here has "
            f"{record.digest[:12]}; name the registry that the platform reads",
            field="registry",
            reason="MODEL_DIGEST_MISMATCH",
        )
    return _checked(_of_record(record))


def _of_record(record: ModelRecord) -> Generator:
    output = record.output or record.input
    return Generator(
        name=record.name,
        version=record.version,
        digest=record.digest,
        task=record.task,
        pixels=PixelSpec(output.channels, output.height, output.width),
        conditions=record.attributes(),
        training=record.training,
    )


def _of_served(name: str, served: Mapping[str, Any]) -> Generator:
    output = served.get("output") or {}
    return Generator(
        name=name,
        version=str(served.get("version", "")),
        digest=str(served.get("digest", "")),
        task=str(served.get("task", "")),
        pixels=PixelSpec(*(int(output.get(extent) or 1) for extent in ("channels", "height", "width"))),
        conditions=tuple(
            Attribute(
                str(condition["name"]),
                tuple(condition.get("levels", ())),
                float(condition.get("low", 0)),
                float(condition.get("high", 0)),
            )
            for condition in served.get("conditions", ())
        ),
    )


def _checked(generator: Generator) -> Generator:
    if generator.task not in TASKS:
        raise InvalidInput(
            f"{generator.name} is a model for {generator.task}; models for {', '.join(TASKS)} can be evaluated",
            field="model",
            reason="MODEL_TASK_MISMATCH",
        )
    return generator
