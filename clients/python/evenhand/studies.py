"""A study: one YAML document with several audits of several cohorts.

name: reconstruction
audits:
- name: chest
  schema: chexpert                       # of a folder without a schema.yaml of its own
  phantoms: {kind: chest, patients: 600, seed: 7, world: planted}
  optional_attributes: [race]            # left out where the cohort has none
  files: ["*_FLAIR.nii.gz"]              # of a folder whose table names no files: all that is sent
  spec:                                  # an audit spec without its cohort
    pipelines: [...]
    attributes: [sex, age, race, "sex,race"]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from evenhand.audit.v1 import audit_pb2
from evenhand.calls import resource_name
from evenhand.cohorts import Cohort
from evenhand.errors import InvalidInput, UnknownAttribute
from evenhand.spec import spec_proto

MODEL_STAGES = ("reconstruct", "classify", "segment")
RESERVED = ("out", "model", "json", "help")  # options of `studies run` beside those that audits are named by
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_NAME_RULE = "small letters, digits and hyphens: it names a folder and an option"


@dataclass(frozen=True)
class Phantoms:
    """The phantom cohort that stands in where no folder is given: arguments of `evenhand phantoms write`."""

    kind: str
    patients: int = 600
    seed: int = 7
    world: str = "null"


@dataclass(frozen=True)
class StudyAudit:
    """One audit of a study: the spec without its cohort, and what its cohort may be.

    Attributes:
        name: unique in the study.
        schema: a ready-made schema or a YAML file, for folders that have no schema.yaml of their own.
        spec: as an audit's, with no cohort.
        phantoms: what to draw where no folder is given; None if a folder is needed.
        optional_attributes: those that are left out, with their intersections, where the cohort has none.
        files: patterns of what is sent of a folder whose table names no files; all of it without patterns.
    """

    name: str
    schema: str
    spec: audit_pb2.AuditSpec
    phantoms: Phantoms | None = None
    optional_attributes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def models(self) -> list[tuple[str, str]]:
        """(kind of stage, "models/…" or "models/…@2") of every model, each once, in the order of the stages."""
        return list(dict.fromkeys((kind, getattr(stage, kind)) for kind, stage in _model_stages(self.spec)))

    def spec_of(self, cohort: Cohort) -> audit_pb2.AuditSpec:
        """The spec for one cohort, without the optional attributes that it lacks.

        Raises:
            UnknownAttribute: it lacks an attribute that is not optional, or all of them.
        """
        spec = audit_pb2.AuditSpec()
        spec.CopyFrom(self.spec)
        spec.cohort = cohort.name
        lacking = {part for grouping in spec.attributes for part in _parts(grouping)} - set(cohort.attributes)
        kept = [grouping for grouping in spec.attributes if not lacking.intersection(_parts(grouping))]
        needed = sorted(lacking - set(self.optional_attributes))
        if needed or (spec.attributes and not kept):
            raise UnknownAttribute(
                f"{cohort.name} has no attribute {', '.join(needed or sorted(lacking))}; it has "
                f"{', '.join(cohort.attributes) or 'none'}",
                field=f"audits[{self.name}].spec.attributes",
                hint=f"optional_attributes: [{', '.join(needed)}] leaves out what a cohort lacks" if needed else "",
            )
        del spec.attributes[:]
        spec.attributes.extend(kept)
        for grouping in [name for name in spec.reference_groups if lacking.intersection(_parts(name))]:
            del spec.reference_groups[grouping]
        return spec


@dataclass(frozen=True)
class Study:
    """Several audits under one name."""

    name: str
    audits: tuple[StudyAudit, ...]

    def with_models(self, instead: Mapping[str, str]) -> Study:
        """The study with other models in its stages: {"xray-unet": "my-unet"} or {"xray-unet": "my-unet@2"}.

        Raises:
            InvalidInput: no stage has a model of that name.
        """
        short = {_short(name): other for name, other in instead.items()}
        named = {_short(model) for audit in self.audits for _, model in audit.models()}
        for name in short:
            if name not in named:
                raise InvalidInput(f"the study uses no model {name!r}; it uses {_list(named)}", field="--model")
        return replace(self, audits=tuple(_with_models(audit, short) for audit in self.audits))


def read_study(path: str | Path) -> Study:
    """The study in a YAML file.

    Raises:
        InvalidInput: it cannot be read, has a field that a study has not, or lacks one; ``field`` says which.
    """
    path = Path(path)
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read the study: {error}", field=str(path)) from error
    except yaml.YAMLError as error:
        raise InvalidInput(f"not YAML: {' '.join(str(error).split())}", field=str(path)) from error
    check_fields(plain, "study", required=("name", "audits"))
    if not isinstance(plain["audits"], list) or not plain["audits"]:
        raise InvalidInput("a study has a list of at least one audit", field="audits")
    audits = tuple(_audit(entry, f"audits[{index}]", path.parent) for index, entry in enumerate(plain["audits"]))
    names = [audit.name for audit in audits]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise InvalidInput(f"a second audit is named {name!r}; names must differ", field=f"audits[{index}].name")
    return Study(study_name(plain["name"], "name"), audits)


def _audit(plain: Any, at: str, folder: Path) -> StudyAudit:
    check_fields(plain, at, required=("name", "schema", "spec"), optional=("phantoms", "optional_attributes", "files"))
    name = study_name(plain["name"], f"{at}.name")
    schema = plain["schema"]
    if not isinstance(schema, str) or not schema:
        raise InvalidInput("name a ready-made schema or a YAML file", field=f"{at}.schema")
    beside = folder / schema
    return StudyAudit(
        name=name,
        schema=str(beside) if beside.is_file() else schema,
        spec=_spec(plain["spec"], f"{at}.spec"),
        phantoms=phantoms_of(plain["phantoms"], f"{at}.phantoms") if "phantoms" in plain else None,
        optional_attributes=_texts(plain, "optional_attributes", at, "a list of attributes, such as [race]"),
        files=_texts(plain, "files", at, "a list of patterns, such as ['*_FLAIR.nii.gz']"),
    )


def _texts(plain: Mapping[str, Any], field: str, at: str, expected: str) -> tuple[str, ...]:
    given = plain.get(field, [])
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise InvalidInput(expected, field=f"{at}.{field}")
    return tuple(given)


def _spec(plain: Any, at: str) -> audit_pb2.AuditSpec:
    if not isinstance(plain, Mapping):
        raise InvalidInput("an audit spec is a mapping with pipelines and attributes", field=at)
    if "cohort" in plain:
        hint = "give it as a folder or as cohorts/… when the study is run"
        raise InvalidInput("a study's spec names no cohort", field=f"{at}.cohort", hint=hint)
    check_fields(
        plain, at, optional=[field for field in audit_pb2.AuditSpec.DESCRIPTOR.fields_by_name if field != "cohort"]
    )
    try:
        return spec_proto(plain)
    except InvalidInput as error:
        raise InvalidInput(error.message, field=at, hint=error.hint) from error


def phantoms_of(plain: Any, at: str) -> Phantoms:
    """Phantoms as a study states them. InvalidInput names the field that is wrong."""
    check_fields(plain, at, required=("kind",), optional=("patients", "seed", "world"))
    found = Phantoms(**plain)
    for field, least in (("patients", 1), ("seed", 0)):
        value = getattr(found, field)
        if type(value) is not int or value < least:
            raise InvalidInput(f"a whole number of at least {least}, got {value!r}", field=f"{at}.{field}")
    return found


def study_name(text: Any, at: str) -> str:
    """A name that can be a folder and an option; InvalidInput for any other."""
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise InvalidInput(f"a name has {_NAME_RULE}; got {text!r}", field=at)
    if text in RESERVED:
        raise InvalidInput(f"the command line has an option --{text} already; choose another name", field=at)
    return text


def check_fields(plain: Any, at: str, *, required: Sequence[str] = (), optional: Sequence[str] = ()) -> None:
    """InvalidInput unless ``plain`` is a mapping with the required fields and no others but the optional ones."""
    allowed = [*required, *optional]
    if not isinstance(plain, Mapping):
        raise InvalidInput(f"a mapping with {', '.join(allowed)}, got {type(plain).__name__}", field=at)
    for key in map(str, plain):
        if key not in allowed:
            close = get_close_matches(key, allowed, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise InvalidInput(
                f"unknown field {key!r}", field=f"{at}.{key}", hint=f"{hint}fields: {', '.join(allowed)}"
            )
    for key in required:
        if plain.get(key) is None:
            raise InvalidInput(f"{key} is missing", field=f"{at}.{key}", hint=f"fields: {', '.join(allowed)}")


def _model_stages(spec: audit_pb2.AuditSpec) -> Iterator[tuple[str, audit_pb2.Stage]]:
    for stage in (stage for pipeline in spec.pipelines for stage in pipeline.stages):
        kind = stage.WhichOneof("kind")
        if kind in MODEL_STAGES:
            yield kind, stage


def _with_models(audit: StudyAudit, instead: Mapping[str, str]) -> StudyAudit:
    spec = audit_pb2.AuditSpec()
    spec.CopyFrom(audit.spec)
    for kind, stage in _model_stages(spec):
        name = _short(getattr(stage, kind))
        if name in instead:
            setattr(stage, kind, resource_name("models", instead[name]))
    return replace(audit, spec=spec)


def _short(model: str) -> str:
    """ "xray-unet" of "models/xray-unet@2"."""
    return model.removeprefix("models/").partition("@")[0]


def _parts(grouping: str) -> list[str]:
    return [part.strip() for part in grouping.split(",")]


def _list(names: Iterator[str] | set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
