"""schema.yaml: which columns of a table are what. Checked whole before a row is read.

patient: patient_id                       # a column, or a part of one: {column: Path, match: 'patient\\d+'}
image: file
mask: mask_file                           # optional
mask_labels: [background, tumour]         # optional: keep the mask's values, named from 0; otherwise above 0 becomes 1
mask_planes: [ED, ES]                     # optional, with mask_labels: what the planes of a mask file are
record: id                                # optional; otherwise the image path is the record's id
split: split                              # optional
attributes:
  - {name: sex, column: Sex, levels: {Female: [F, female], Male: [M, male]}, missing: [U], assigned_by: self-report}
  - {name: age, column: Age, cuts: [40, 60, 80]}   # under 40, 40 to 59, 60 to 79, 80 and over
  - {name: race, column: Race}                     # levels as found, sorted
labels: [Pneumonia, {name: glioblastoma, column: Diagnosis, positive: [GBM], otherwise: negative}]
blank: missing                            # what an empty label cell says: missing or negative
keep: {View: [PA, AP]}                    # optional: only rows with these values
modality: CR                              # optional: instead of what the files say
frame: middle                             # of multi-frame files: middle, first, or a number from 0
slices: {which: range, start: 60, stop: 130, step: 10}   # of volumes: middle, largest-mask or range
cine: {frames: [ed, es, ed]}              # optional: the images are beating hearts (X, Y, Z, T); see cine.py
table: "*.csv"                            # optional: the table's name in the source folder, if none is sent
demographics:                             # optional: a second table with a row per patient, left out if none is sent
  patient: PATIENT
  attributes: [{name: race, column: PRIMARY_RACE, levels: {White: ["White, non-Hispanic"]}, missing: [Unknown]}]
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from importlib import resources
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from services.adapters.decoder import MaskForm, Slices
from services.audit.cohort.cells import Cell, Part, Text
from services.audit.cohort.cine import PHASES, CineSchema
from services.errors import InvalidInput

READY_MADE = (
    *("chexpert", "ucsf-pdgm", "short-axis-cine"),
    *("phantom-chest", "phantom-brain", "phantom-pelvis", "phantom-cardiac"),
)
_LONGEST_SCHEMA = 256 * 1024
_MOST_MASK_LABELS = 256  # masks are uint8
_MOST_MASK_PLANES = 16


class Level(Part):
    level: Text
    values: tuple[str, ...] = ()
    """Cell texts that mean this level, besides its own name."""


class AttributeSchema(Part):
    """A patient characteristic. With ``levels``, those and no others; with ``cuts``, intervals of a number."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    column: Text
    levels: tuple[Level, ...] = ()
    cuts: tuple[float, ...] = ()
    names: tuple[Text, ...] = ()
    """Names of the intervals that ``cuts`` make, instead of "under 40", "40 to 59", ..."""
    missing: tuple[str, ...] = ()
    """Cell texts that mean "not known"; an empty cell always does."""
    assigned_by: Text = "record"

    @field_validator("levels", mode="before")
    @classmethod
    def _short_forms(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            return [{"level": level, "values": values} for level, values in given.items()]
        if isinstance(given, list | tuple):
            return [{"level": entry} if isinstance(entry, str) else entry for entry in given]
        return given

    @model_validator(mode="after")
    def _consistent(self) -> AttributeSchema:
        if self.levels and self.cuts:
            raise ValueError("has levels or cuts, not both")
        if list(self.cuts) != sorted(set(self.cuts)) or not all(map(math.isfinite, self.cuts)):
            raise ValueError("cuts must rise and be finite")
        if self.names and len(self.names) != len(self.cuts) + 1:
            raise ValueError(f"{len(self.cuts)} cuts make {len(self.cuts) + 1} intervals, got {len(self.names)} names")
        texts = [text for level in self.levels for text in {level.level, *level.values}] + list(self.names)
        if len(texts) != len(set(texts)):
            raise ValueError("each value belongs to one level only")
        return self

    def interval_names(self) -> tuple[str, ...]:
        """One name for each interval that the cuts make. Whole cuts are completed years: 59.9 is "40 to 59"."""
        if self.names:
            return self.names
        whole = all(cut == int(cut) for cut in self.cuts)
        shown = [f"{cut:g}" for cut in self.cuts]
        between = [
            f"{low} to {high - 1:g}" if whole else f"{low} to under {high:g}"
            for low, high in zip(shown, self.cuts[1:], strict=False)
        ]
        return (f"under {shown[0]}", *between, f"{shown[-1]} and over")


class DemographicsSchema(Part):
    """A second table: which of its columns has the patient's id, and what it says of patients."""

    patient: Cell
    attributes: tuple[AttributeSchema, ...] = Field(min_length=1)

    def columns(self) -> dict[str, str]:
        """As those of the whole schema."""
        named = {f"attributes[{n}].column": attribute.column for n, attribute in enumerate(self.attributes)}
        return {f"demographics.{field}": column for field, column in {"patient": self.patient.column, **named}.items()}


class LabelSchema(Part):
    """A label: which texts of a column mean 1, 0 and missing. Numbers compare as numbers ("1.0" is "1")."""

    name: Text
    column: str = ""
    """Empty means a column with the label's own name."""
    positive: tuple[str, ...] = ("1",)
    negative: tuple[str, ...] = ("0",)
    missing: tuple[str, ...] = ("-1",)
    otherwise: Literal["error", "negative", "missing"] = "error"
    """What any other text means."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _consistent(self) -> LabelSchema:
        texts = [*self.positive, *self.negative, *self.missing]
        if len(texts) != len(set(texts)):
            raise ValueError("a text means one thing only")
        return self

    @property
    def source(self) -> str:
        return self.column or self.name


class SliceSchema(Part):
    which: Literal["middle", "largest-mask", "range"] = "middle"
    start: int = Field(default=0, ge=0)
    stop: int | None = Field(default=None, ge=1)
    step: int = Field(default=1, ge=1)

    def to_slices(self) -> Slices:
        return Slices(self.which, self.start, self.stop, self.step)


class CohortSchema(Part):
    """The whole of schema.yaml; see the module's text."""

    name: str = ""
    table: str = Field(default="", pattern=r"^[^/\\]*$")
    record: Cell | None = None
    patient: Cell
    image: Cell
    mask: Cell | None = None
    mask_labels: tuple[Text, ...] = Field(default=(), max_length=_MOST_MASK_LABELS, exclude_if=lambda names: not names)
    mask_planes: tuple[Text, ...] = Field(default=(), max_length=_MOST_MASK_PLANES, exclude_if=lambda names: not names)
    split: Cell | None = None
    attributes: tuple[AttributeSchema, ...] = Field(min_length=1)
    labels: tuple[LabelSchema, ...] = ()
    blank: Literal["missing", "negative"] = "missing"
    keep: dict[str, tuple[str, ...]] = Field(default={})
    modality: str = Field(default="", pattern=r"^[A-Z0-9_]{0,16}$")
    frame: Literal["middle", "first"] | Annotated[int, Field(ge=0)] = "middle"
    slices: SliceSchema = SliceSchema()
    cine: CineSchema | None = Field(default=None, exclude_if=lambda section: section is None)
    demographics: DemographicsSchema | None = Field(default=None, exclude_if=lambda section: section is None)

    @model_validator(mode="after")
    def _names_once(self) -> CohortSchema:
        for what, names in (
            ("attributes", [attribute.name for attribute in self.attributes + self._demographic()]),
            ("labels", [label.name for label in self.labels]),
            ("mask_labels", list(self.mask_labels)),
            ("mask_planes", list(self.mask_planes)),
        ):
            if len(names) != len(set(names)):
                raise ValueError(f"two {what} have the same name")
        return self

    @model_validator(mode="after")
    def _masks_declared(self) -> CohortSchema:
        if self.mask_labels and self.mask is None:
            raise ValueError("mask_labels name the values of masks; say in mask which column names their files")
        if len(self.mask_labels) == 1:
            raise ValueError("mask_labels need a name for 0, the background, and one for each structure")
        if self.mask_planes and not self.mask_labels:
            raise ValueError("mask_planes need mask_labels; a mask without labels has one plane")
        return self

    @model_validator(mode="after")
    def _cine_consistent(self) -> CohortSchema:
        if self.cine is None:
            return self
        if self.mask_planes:
            raise ValueError(f"a cine's masks have the planes {', '.join(PHASES)}; leave mask_planes out")
        if self.slices.which == "range":
            raise ValueError("a cine's slices are cine.train.slices beside the middle or the largest-mask one")
        if self.mask is not None and self.cine.cavity not in self.mask_labels[1:]:
            raise ValueError(f"cine.cavity, {self.cine.cavity!r}, must be one of mask_labels, after the background")
        if self.cine.es_mask is not None and (self.mask is None or None in (self.cine.ed, self.cine.es)):
            raise ValueError("with cine.es_mask, mask names the file at ED, and cine.ed and cine.es the frames of both")
        if self.cine.es_mask is not None and self.cine.train is not None and self.cine.train.offsets > 1:
            raise ValueError("masks at ED and ES alone do not fit shifted frames; set cine.train.offsets to 1")
        if self.cine.train is not None and self.split is None:
            raise ValueError("cine.train speaks of training rows; say in split which column names them")
        return self

    def plane_names(self) -> tuple[str, ...]:
        """What the planes of each mask are; () in cohorts without mask labels."""
        if not self.mask_labels:
            return ()
        return PHASES if self.cine is not None else self.mask_planes or ("mask",)

    def mask_form(self) -> MaskForm:
        """What each mask must hold."""
        return MaskForm(len(self.mask_labels), max(1, len(self.plane_names())))

    def _demographic(self) -> tuple[AttributeSchema, ...]:
        return () if self.demographics is None else self.demographics.attributes

    def columns(self) -> dict[str, str]:
        """Every column that the table must have, by the field of the schema that names it."""
        cells = {"record": self.record, "patient": self.patient, "image": self.image, "mask": self.mask}
        named = {field: cell.column for field, cell in (*cells.items(), ("split", self.split)) if cell is not None}
        named |= {f"attributes[{n}].column": attribute.column for n, attribute in enumerate(self.attributes)}
        named |= {f"labels[{n}].column": label.source for n, label in enumerate(self.labels)}
        named |= {} if self.cine is None else self.cine.columns()
        return named | {f"keep.{column}": column for column in self.keep}


def load_schema(text: str) -> CohortSchema:
    """A schema from the text of schema.yaml or from the name of a ready-made one.

    Raises InvalidInput (SCHEMA_INVALID) whose field names the place, such as ``schema_yaml.labels[2].column``.
    """
    name = text.strip()
    if name in READY_MADE:
        text = resources.files("services.audit.cohort.ready_made").joinpath(f"{name}.yaml").read_text("utf-8")
    elif re.fullmatch(r"[\w-]+", name):
        raise _invalid(f"there is no ready-made schema {name!r}; there are {', '.join(READY_MADE)}", ())
    if len(text) > _LONGEST_SCHEMA:
        raise _invalid(f"has more than {_LONGEST_SCHEMA} characters", ())
    try:
        return CohortSchema.model_validate(yaml.load(text, _PlainLoader))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise _invalid(_in_words(first["type"], first["msg"]), first["loc"]) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise _invalid(f"is not plain YAML{where}", ()) from error


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, which can make a small text mean an enormous document."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def _in_words(kind: str, message: str) -> str:
    """pydantic's complaint for somebody who knows schema.yaml and not our classes."""
    if kind == "extra_forbidden":
        return "there is no such field"
    if kind in ("model_type", "dict_type"):
        return "must be a mapping of fields to values"
    return message.removeprefix("Value error, ")


def _invalid(message: str, place: tuple[int | str, ...]) -> InvalidInput:
    field = "schema_yaml" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return InvalidInput(message, field=field, reason="SCHEMA_INVALID")
