"""The CSV of a cohort → checked rows. What is wrong with the table as a whole is an error here, before any decoding."""

from __future__ import annotations

import bisect
import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from services.audit.cohort.schema import AttributeSchema, CohortSchema, LabelSchema
from services.audit.cohort.splits import SplitsApart
from services.errors import DuplicateRecord, InvalidInput, UnknownLabel

_MOST_LEVELS = 50
_SHOWN_ROWS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``attributes`` and ``labels`` are in schema order; ``refusal`` is a reason and a sentence."""

    number: int
    """From 1; the header is not counted."""
    record_id: str
    patient_id: str
    image: str
    mask: str
    split: str | None
    attributes: tuple[str | None, ...]
    labels: tuple[int | None, ...]
    refusal: tuple[str, str] | None = None
    phases: tuple[int | None, int | None] = (None, None)
    """Frames ED and ES of a cine, from 0, where the table says them."""
    es_mask: str = ""
    """The mask file at ES, where each phase of a cine has one of its own."""


@dataclass(frozen=True)
class Table:
    """``levels`` of each attribute in order; ``filtered`` counts the rows that the schema's ``keep`` leaves out."""

    rows: list[Row]
    levels: dict[str, tuple[str, ...]]
    filtered: int


def read_table(text: str, schema: CohortSchema) -> Table:
    """Check the whole table and return its rows in order.

    Raises InvalidInput (TABLE_MALFORMED, TABLE_EMPTY, COLUMN_NOT_FOUND, LEVEL_NOT_IN_SCHEMA, PATIENT_IN_TWO_SPLITS,
    MASK_IN_TWO_SPLITS), UnknownLabel for a label cell that means nothing, DuplicateRecord. Messages give row numbers,
    never the contents of cells.
    """
    found = list(cells(text, schema.columns()))
    kept = [(number, row) for number, row in found if is_kept(row, schema)]
    if not kept:
        raise InvalidInput(
            "no row of the table passes the schema's keep" if found else "the table has no rows",
            field="table",
            reason="TABLE_EMPTY",
        )
    attributes = [levels_of(attribute, kept) for attribute in schema.attributes]
    labels = [_labels_of(label, kept, schema.blank) for label in schema.labels]
    rows = [
        _row(number, row, schema, tuple(column[at] for column, _ in attributes), tuple(column[at] for column in labels))
        for at, (number, row) in enumerate(kept)
    ]
    _refuse_duplicates(rows, schema)
    _keep_splits_apart(rows, schema)
    levels = {attribute.name: names for attribute, (_, names) in zip(schema.attributes, attributes, strict=True)}
    return Table(rows, levels, len(found) - len(kept))


def read_rows(text: str, table: str = "table") -> Iterator[list[str]]:
    """The names of the columns, then the cells of each row; empty lines are none.

    Raises InvalidInput (TABLE_MALFORMED) whose field is ``table``, as those of the functions below.
    """
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InvalidInput(
            f"line {line} has a NUL character; the table must be text", field=table, reason="TABLE_MALFORMED"
        )
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        yield header
        for values in reader:
            if not values:
                continue  # an empty line, such as the last one
            if len(values) != len(header):
                raise csv.Error(f"{len(values)} cells under {len(header)} columns")
            yield values
    except csv.Error as error:
        raise InvalidInput(f"line {reader.line_num}: {error}", field=table, reason="TABLE_MALFORMED") from error


def cells(text: str, columns: Mapping[str, str], table: str = "table") -> Iterator[tuple[int, dict[str, str]]]:
    """(row number from 1, its cells by column), of the columns that a field of the schema names."""
    rows = read_rows(text, table)
    header = next(rows)
    places = {column: _place(header, column, field, table) for field, column in columns.items()}
    for number, values in enumerate(rows, start=1):
        yield number, {column: values[place] for column, place in places.items()}


def _place(header: list[str], column: str, field: str, table: str) -> int:
    if header.count(column) != 1:
        problem = "twice" if column in header else "not at all"
        which = "the table has" if table == "table" else f"the {table} have"
        raise InvalidInput(
            f"{which} the column {column!r} {problem}", field=f"schema_yaml.{field}", reason="COLUMN_NOT_FOUND"
        )
    return header.index(column)


def is_kept(row: Mapping[str, str], schema: CohortSchema) -> bool:
    """Whether the schema's ``keep`` leaves the row in."""
    return all(row[column].strip() in values for column, values in schema.keep.items())


def levels_of(
    attribute: AttributeSchema, rows: list[tuple[int, dict[str, str]]], table: str = "table"
) -> tuple[list[str | None], tuple[str, ...]]:
    """The level of each row, and the names of all levels in order."""
    texts = [row[attribute.column].strip() for _, row in rows]
    known = ["" if text in attribute.missing else text for text in texts]
    if attribute.cuts:
        names = attribute.interval_names()
        found = [_interval(text, attribute.cuts, names) for text in known]
        expected = "a number"
    elif attribute.levels:
        names = tuple(level.level for level in attribute.levels)
        meaning = {text: level.level for level in attribute.levels for text in (level.level, *level.values)}
        found = [meaning.get(text) for text in known]
        expected = ", ".join(names)
    else:
        names = tuple(sorted({text for text in known if text}))
        found = [text or None for text in known]
        expected = f"at most {_MOST_LEVELS} different values"
    strange = [number for (number, _), text, level in zip(rows, known, found, strict=True) if text and level is None]
    if strange or len(names) > _MOST_LEVELS:
        raise InvalidInput(
            f"column {attribute.column!r} must hold {expected}, or nothing{_in_rows(strange)}",
            field=f"{table}.{attribute.column}",
            reason="LEVEL_NOT_IN_SCHEMA",
        )
    return found, names


def _interval(text: str, cuts: tuple[float, ...], names: tuple[str, ...]) -> str | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return names[bisect.bisect_right(cuts, value)] if math.isfinite(value) else None


def _labels_of(label: LabelSchema, rows: list[tuple[int, dict[str, str]]], blank: str) -> list[int | None]:
    meaning: dict[str, int | None] = {}
    for texts, value in ((label.positive, 1), (label.negative, 0), (label.missing, None)):
        meaning.update({_comparable(text): value for text in texts})
    meaning.setdefault("", 0 if blank == "negative" else None)
    values, strange = [], []
    for number, row in rows:
        text = _comparable(row[label.source])
        if text not in meaning and label.otherwise == "error":
            strange.append(number)
        values.append(meaning.get(text, 0 if label.otherwise == "negative" else None))
    if strange:
        allowed = ", ".join([*label.positive, *label.negative, *label.missing])
        raise UnknownLabel(
            f"column {label.source!r} must hold one of {allowed}, or nothing{_in_rows(strange)}",
            field=f"table.{label.source}",
            reason="LABEL_VALUE_NOT_IN_SCHEMA",
        )
    return values


def _comparable(text: str) -> str:
    """Text with single spaces; numbers in one spelling."""
    text = " ".join(text.split())
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def _in_rows(numbers: list[int]) -> str:
    if not numbers:
        return ""
    shown = ", ".join(str(number) for number in numbers[:_SHOWN_ROWS])
    more = f" and {len(numbers) - _SHOWN_ROWS} more" if len(numbers) > _SHOWN_ROWS else ""
    return f"; other values in rows {shown}{more}"


def _row(
    number: int,
    row: Mapping[str, str],
    schema: CohortSchema,
    attributes: tuple[str | None, ...],
    labels: tuple[int | None, ...],
) -> Row:
    image, patient = schema.image.of(row), schema.patient.of(row)
    record = image if schema.record is None else schema.record.of(row)
    refusal = None
    if not patient:
        refusal = ("PATIENT_ID_MISSING", "has no patient id")
    elif not image:
        refusal = ("IMAGE_MISSING", "names no image file")
    elif not record:
        refusal = ("RECORD_ID_MISSING", "has no record id")
    phases: tuple[int | None, int | None] = (None, None)
    try:
        phases = phases if schema.cine is None else schema.cine.phases(row)
    except ValueError as error:
        refusal = refusal or ("CINE_FRAME_INVALID", str(error))
    mask = "" if schema.mask is None else schema.mask.of(row)
    es_mask = "" if schema.cine is None or schema.cine.es_mask is None else schema.cine.es_mask.of(row)
    if bool(es_mask) != bool(mask) and schema.cine is not None and schema.cine.es_mask is not None:
        refusal = refusal or ("MASK_OF_ONE_PHASE", "names a mask file at one of ED and ES and none at the other")
    split = None if schema.split is None else schema.split.of(row) or None
    return Row(number, record, patient, image, mask, split, attributes, labels, refusal, phases, es_mask)


def _refuse_duplicates(rows: list[Row], schema: CohortSchema) -> None:
    first: dict[str, int] = {}
    for row in rows:
        if row.refusal is None and first.setdefault(row.record_id, row.number) != row.number:
            column = (schema.record or schema.image).column
            raise DuplicateRecord(
                f"rows {first[row.record_id]} and {row.number} have the same record id", field=f"table.{column}"
            )


def _keep_splits_apart(rows: list[Row], schema: CohortSchema) -> None:
    """A patient of two splits would be learned and judged; so would one whose mask another split has."""
    if schema.split is None:
        return
    patients, masks = SplitsApart("patient"), SplitsApart("mask file")
    for row in rows:
        if row.refusal is None:
            patients.note(row.patient_id, row.number, row.split)
            for mask in (row.mask, row.es_mask):
                masks.note(mask, row.number, row.split)
    patients.check(schema.split.column, "PATIENT_IN_TWO_SPLITS")
    masks.check(schema.split.column, "MASK_IN_TWO_SPLITS")
