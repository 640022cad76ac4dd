"""A second table with a row per patient, joined to the table of records."""

from __future__ import annotations

import csv
import io

import pytest

from services.audit.cohort.demographics import join_demographics
from services.audit.cohort.schema import load_schema
from services.audit.cohort.table import read_table
from services.errors import InvalidInput

SCHEMA = """
record: id
patient: {column: file, match: 'p\\d+'}
image: file
keep: {view: [front]}
attributes: [{name: sex, column: sex}]
demographics:
  patient: {column: who, match: '^person-(\\d+)', value: 'p{1}'}
  attributes:
  - {name: race, column: race, levels: {White: ["White, non-Hispanic"], Black: []}, missing: [Unknown]}
  - {name: bmi, column: bmi, cuts: [25]}
"""
TABLE = """id,file,view,sex
r0,p1/a.png,front,F
r1,p1/b.png,front,F
r2,p2/a.png,front,M

r3,p3/a.png,front,M
r4,p4/a.png,side,M
r5,p5/a.png,front,F
"""
PEOPLE = """who,race,bmi,remark
person-1,"White, non-Hispanic",22.5,"a, ""b"" c"
person-2,Unknown,31,
person-3,Black,,
person-9,White,20,
,,,
"""


def joined(people=PEOPLE, table=TABLE, schema=SCHEMA):
    return join_demographics(table, people, load_schema(schema))


def levels(found):
    """{record: (race, bmi)} as the table reads once joined."""
    return {row.record_id: row.attributes[1:] for row in read_table(found.table, found.schema).rows}


def test_each_record_gets_what_is_known_of_its_patient():
    found = joined()
    assert levels(found) == {
        "r0": ("White", "under 25"),
        "r1": ("White", "under 25"),
        "r2": (None, "25 and over"),
        "r3": ("Black", None),
        "r5": (None, None),
    }
    assert [attribute.name for attribute in found.schema.attributes] == ["sex", "race", "bmi"]
    assert found.counts == {"matched": 3, "unmatched": 1, "conflicting": 0}  # p4 has side views only


def test_the_joined_table_is_the_one_that_a_person_would_have_written():
    (header, first, *_) = csv.reader(io.StringIO(joined().table))
    assert header == ["id", "file", "view", "sex", "race", "bmi"]
    assert first == ["r0", "p1/a.png", "front", "F", "White, non-Hispanic", "22.5"]
    plain = joined().schema.model_dump(mode="json")
    assert "demographics" not in plain


def test_rows_that_contradict_each_other_make_the_attribute_missing_and_are_counted():
    more = "person-1,White,23,\nperson-1,Unknown,,\nperson-2,Black,30,\nperson-3,White,,\nperson-9,Black,19,\n"
    found = joined(PEOPLE + more)
    assert levels(found)["r0"] == ("White", "under 25")  # the same level, otherwise spelled, and a blank
    assert levels(found)["r2"] == ("Black", "25 and over")  # known in one of the rows
    assert levels(found)["r3"] == (None, None)
    assert found.counts == {"matched": 3, "unmatched": 1, "conflicting": 1}  # person 9 is not of the table


def test_a_name_that_both_tables_use_is_kept_apart():
    found = joined(PEOPLE.replace("bmi", "sex", 1), schema=SCHEMA.replace("column: bmi", "column: sex"))
    rows = read_table(found.table, found.schema).rows
    assert [row.attributes for row in rows][:2] == [("F", "White", "under 25")] * 2
    assert found.table.splitlines()[0] == "id,file,view,sex,race,sex (demographics)"


@pytest.mark.parametrize(
    ("people", "schema", "reason", "field", "said"),
    [
        (PEOPLE.replace("who", "PATIENT"), SCHEMA, "COLUMN_NOT_FOUND", "schema_yaml.demographics.patient", "'who'"),
        (PEOPLE.replace("race", "x"), SCHEMA, "COLUMN_NOT_FOUND", "schema_yaml.demographics.attributes[0].column", ""),
        (PEOPLE.replace("person-", "patient"), SCHEMA, "DEMOGRAPHICS_UNMATCHED", "demographics", "none of the"),
        (PEOPLE.replace("Black", "Blakc"), SCHEMA, "LEVEL_NOT_IN_SCHEMA", "demographics.race", "in rows 3"),
        (PEOPLE + "person-7\n", SCHEMA, "TABLE_MALFORMED", "demographics", "line 7: 1 cells under 4 columns"),
        ("", SCHEMA, "COLUMN_NOT_FOUND", "schema_yaml.demographics.patient", "not at all"),
        (PEOPLE, SCHEMA.partition("demographics")[0], "DEMOGRAPHICS_NOT_IN_SCHEMA", "schema_yaml.demographics", ""),
    ],
)
def test_what_cannot_be_joined_is_said_without_a_cells_contents(people, schema, reason, field, said):
    with pytest.raises(InvalidInput) as caught:
        joined(people, schema=schema)
    assert (caught.value.reason, caught.value.field) == (reason, field)
    assert said in caught.value.message
    assert "Blakc" not in caught.value.message


def test_an_attribute_is_named_once_in_both_tables_together():
    with pytest.raises(InvalidInput, match="two attributes have the same name"):
        load_schema(SCHEMA.replace("name: bmi", "name: sex"))


SPELLINGS = {
    "White": ["White", "White, non-Hispanic", "White, Hispanic", "White or Caucasian"],
    "Black": ["Black or African American", "Black, non-Hispanic", "Black, Hispanic"],
    "Asian": ["Asian", "Asian, non-Hispanic", "Asian, Hispanic", "Asian - Historical Conv"],
    "Native American": [
        "American Indian or Alaska Native",
        "Native American, non-Hispanic",
        "Native American, Hispanic",
    ],
    "Pacific Islander": [
        "Native Hawaiian or Other Pacific Islander",
        "Pacific Islander, non-Hispanic",
        "Pacific Islander, Hispanic",
    ],
    "Other": ["Other", "Other, non-Hispanic", "Other, Hispanic"],
    None: ["Unknown", "Race and Ethnicity Unknown", "Patient Refused", "Hispanic - Historical Conv", "", " "],
}


def test_every_spelling_of_chexperts_race_has_its_level():
    schema = load_schema("chexpert")
    spelled = [(level, text) for level, texts in SPELLINGS.items() for text in texts]
    labels = [label.name for label in schema.labels]
    records, people = io.StringIO(), io.StringIO()
    write, tell = csv.writer(records), csv.writer(people)
    write.writerow(["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *labels])
    tell.writerow(["PATIENT", "GENDER", "AGE_AT_CXR", "PRIMARY_RACE", "ETHNICITY"])
    for number, (_, text) in enumerate(spelled, 1):
        path = f"CheXpert-v1.0-small/train/patient{number:05d}/study1/view1_frontal.jpg"
        write.writerow([path, "Female", "60", "Frontal", "AP", *[""] * len(labels)])
        tell.writerow([f"patient{number:05d}", "Female", "60", text, "Unknown"])
    found = join_demographics(records.getvalue(), people.getvalue(), schema)
    table = read_table(found.table, found.schema)
    assert [row.attributes[2] for row in table.rows] == [level for level, _ in spelled]
    assert table.levels["race"] == tuple(SPELLINGS)[:-1]
