"""The second table: a row per patient, whose attributes join the table of records by the patient's id.

CheXpert's own tables name no race; a table published beside them does, once per patient.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

from services.audit.cohort.schema import AttributeSchema, CohortSchema, DemographicsSchema
from services.audit.cohort.table import cells, is_kept, levels_of, read_rows
from services.errors import InvalidInput

FIELD = "demographics"


@dataclass(frozen=True)
class Joined:
    """``table`` has the demographics' columns beside its own, and ``schema`` names them as attributes of the table.

    ``counts`` are patients of the table: ``matched``, ``unmatched`` (without a row of demographics) and
    ``conflicting`` (matched, with rows that contradict each other: that attribute of theirs is missing).
    """

    table: str
    schema: CohortSchema
    counts: dict[str, int]


def join_demographics(table: str, demographics: str, schema: CohortSchema) -> Joined:
    """Join two CSV texts as the schema's ``demographics`` says.

    Raises InvalidInput: DEMOGRAPHICS_NOT_IN_SCHEMA, DEMOGRAPHICS_UNMATCHED if no patient is in both tables, and
    TABLE_MALFORMED, COLUMN_NOT_FOUND and LEVEL_NOT_IN_SCHEMA for either table.
    """
    section = schema.demographics
    if section is None:
        raise InvalidInput(
            "the schema does not say how to read a demographics table; give it demographics: {patient, attributes}",
            field="schema_yaml.demographics",
            reason="DEMOGRAPHICS_NOT_IN_SCHEMA",
        )
    known, contradicted = _people(demographics, section)
    rows = [row for _, row in cells(table, schema.columns())]
    patients = {schema.patient.of(row) for row in rows if is_kept(row, schema)} - {""}
    matched = patients & known.keys()
    if patients and not matched:
        raise InvalidInput(
            f"none of the table's {len(patients)} patients is among the {len(known)} of the demographics; "
            "the schema's patient and demographics.patient must give the same ids",
            field=FIELD,
            reason="DEMOGRAPHICS_UNMATCHED",
        )
    text, attributes = _with_columns(table, [known.get(schema.patient.of(row), {}) for row in rows], section)
    counts = {
        "matched": len(matched),
        "unmatched": len(patients - matched),
        "conflicting": len(matched & contradicted),
    }
    applied = {"attributes": (*schema.attributes, *attributes), "demographics": None}
    return Joined(text, schema.model_copy(update=applied), counts)


def _people(text: str, section: DemographicsSchema) -> tuple[dict[str, dict[str, str]], set[str]]:
    """The attributes' cells of each patient by column, and who has rows that contradict each other.

    Rows agree if they mean the same level, whatever its spelling; a row that says nothing contradicts none.
    """
    rows = list(cells(text, section.columns(), FIELD))
    ids = [section.patient.of(row) for _, row in rows]
    known: dict[str, dict[str, str]] = {patient: {} for patient in ids if patient}
    contradicted: set[str] = set()
    for attribute in section.attributes:
        levels, _ = levels_of(attribute, rows, FIELD)
        said: dict[str, str] = {}
        for patient, (_, row), level in zip(ids, rows, levels, strict=True):
            if not patient or level is None:
                continue
            if said.setdefault(patient, level) != level:
                contradicted.add(patient)
                known[patient][attribute.column] = ""
            known[patient].setdefault(attribute.column, row[attribute.column])
    return known, contradicted


def _with_columns(
    table: str, added: list[Mapping[str, str]], section: DemographicsSchema
) -> tuple[str, list[AttributeSchema]]:
    """The table with the demographics' columns at its end, and their attributes under the names of these columns."""
    rows = read_rows(table)
    header = next(rows)
    names = {}
    for column in dict.fromkeys(attribute.column for attribute in section.attributes):
        name = column
        while name in header:  # the table says something of its own under this name
            name += " (demographics)"
        names[column] = name
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow([*header, *names.values()])
    writer.writerows([*row, *(more.get(column, "") for column in names)] for row, more in zip(rows, added, strict=True))
    attributes = [a.model_copy(update={"column": names[a.column]}) for a in section.attributes]
    return written.getvalue(), attributes
