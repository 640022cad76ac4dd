"""The table: levels, labels and splits by the schema, and the errors that name column and rows."""

from __future__ import annotations

import pytest

from services.audit.cohort.schema import load_schema
from services.audit.cohort.table import read_table
from services.errors import DuplicateRecord, InvalidInput, UnknownLabel

SCHEMA = load_schema(
    """
    patient: pid
    image: file
    split: part
    attributes:
      - {name: sex, column: Sex, levels: {Female: [F], Male: [M]}, missing: [U]}
      - {name: age, column: Age, cuts: [40, 60]}
      - {name: race, column: Race}
    labels: [Edema, {name: tumour, column: Dx, positive: [GBM IDH-wildtype], otherwise: negative}]
    """
)
HEADER = "pid,file,part,Sex,Age,Race,Edema,Dx,notes\n"
GOOD = HEADER + (
    "p1,a.png,train,F,39.9,White,1,GBM  IDH-wildtype,x\n"
    "p1,b.png,,Male,40,Black,0.0,Astrocytoma,\n"
    "p2,c.png,test,U,60,,-1,,\n"
    "p3,d.png,test,,,White,,GBM IDH-wildtype,\n"
)


def test_each_cell_means_what_the_schema_says():
    table = read_table(GOOD, SCHEMA)
    assert [row.record_id for row in table.rows] == ["a.png", "b.png", "c.png", "d.png"]
    assert [row.split for row in table.rows] == ["train", None, "test", "test"]
    assert [row.attributes for row in table.rows] == [
        ("Female", "under 40", "White"),
        ("Male", "40 to 59", "Black"),
        (None, "60 and over", None),
        (None, None, "White"),
    ]
    assert [row.labels for row in table.rows] == [(1, 1), (0, 0), (None, None), (None, 1)]
    assert table.levels == {
        "sex": ("Female", "Male"),
        "age": ("under 40", "40 to 59", "60 and over"),
        "race": ("Black", "White"),
    }


def test_blank_labels_can_mean_negative():
    schema = SCHEMA.model_copy(update={"blank": "negative"})
    assert [row.labels[0] for row in read_table(GOOD, schema).rows] == [1, 0, None, 0]


def test_byte_order_mark_and_blank_lines_change_nothing():
    assert read_table("\ufeff" + GOOD.replace("\n", "\r\n") + "\r\n", SCHEMA) == read_table(GOOD, SCHEMA)


def test_keep_leaves_rows_out_and_counts_them():
    table = read_table(GOOD, SCHEMA.model_copy(update={"keep": {"part": ("test",)}}))
    assert [row.number for row in table.rows] == [3, 4]
    assert table.filtered == 2


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [("p2", " ", "PATIENT_ID_MISSING"), ("c.png", "", "IMAGE_MISSING")],
)
def test_row_without_its_names_is_refused_alone(old, new, reason):
    refusals = [row.refusal and row.refusal[0] for row in read_table(GOOD.replace(old, new), SCHEMA).rows]
    assert refusals == [None, None, reason, None]


def refused(text, schema=SCHEMA):
    with pytest.raises(InvalidInput) as caught:
        read_table(text, schema)
    return caught.value


def test_other_label_value_is_named_by_column_and_row_but_not_quoted():
    error = refused(GOOD.replace("-1", "Jane Doe").replace(",0.0,", ",2,"))
    assert isinstance(error, UnknownLabel)
    assert (error.field, error.reason) == ("table.Edema", "LABEL_VALUE_NOT_IN_SCHEMA")
    assert "rows 2, 3" in error.message and "Jane" not in error.message


@pytest.mark.parametrize(
    ("old", "new", "column"), [(",F,", ",Q,", "Sex"), ("39.9", "old", "Age"), ("39.9", "inf", "Age")]
)
def test_other_attribute_value_is_named_by_column_and_row(old, new, column):
    error = refused(GOOD.replace(old, new))
    assert (error.field, error.reason) == (f"table.{column}", "LEVEL_NOT_IN_SCHEMA")
    assert "rows 1" in error.message


def test_attribute_with_a_level_for_each_row_is_refused():
    rows = "".join(f"p{n},{n}.png,,F,50,race{n},1,,\n" for n in range(60))
    assert refused(HEADER + rows).field == "table.Race"


def test_duplicate_record_names_both_rows():
    error = refused(GOOD.replace("d.png", "b.png"))
    assert isinstance(error, DuplicateRecord)
    assert "rows 2 and 4" in error.message


@pytest.mark.parametrize(
    ("text", "reason", "field"),
    [
        ("", "COLUMN_NOT_FOUND", "schema_yaml.patient"),
        (HEADER, "TABLE_EMPTY", "table"),
        (GOOD.replace("Edema", "Oedema"), "COLUMN_NOT_FOUND", "schema_yaml.labels[0].column"),
        (GOOD.replace("notes", "Sex"), "COLUMN_NOT_FOUND", "schema_yaml.attributes[0].column"),
        (GOOD + "p4,e.png\n", "TABLE_MALFORMED", "table"),
        (GOOD + '"p4\n', "TABLE_MALFORMED", "table"),
        (GOOD.replace("p3", "p3\0"), "TABLE_MALFORMED", "table"),
        (GOOD + "p4,e.png,,F,5,," + "x" * 200_000 + ",,\n", "TABLE_MALFORMED", "table"),
    ],
)
def test_table_that_cannot_be_read_is_refused_whole(text, reason, field):
    error = refused(text)
    assert (error.reason, error.field) == (reason, field)


def test_patient_with_rows_in_two_splits_is_an_error_with_count_and_example():
    text = GOOD + "p1,e.png,test,F,39.9,,,,\np2,f.png,train,F,39.9,,,,\np2,g.png,validation,F,39.9,,,,\n"
    with pytest.raises(InvalidInput) as caught:
        read_table(text, SCHEMA)
    assert (caught.value.reason, caught.value.field) == ("PATIENT_IN_TWO_SPLITS", "table.part")
    assert "no patient" in caught.value.message and "found 2, the first in rows 1 and 5" in caught.value.message
    assert "p1" not in caught.value.message


def test_rows_that_are_left_out_or_refused_put_nobody_into_a_second_split():
    text = GOOD + "p1,e.png,test,F,39.9,,,,\n"
    assert len(read_table(text, SCHEMA.model_copy(update={"keep": {"part": ("test",)}})).rows) == 3
    assert len(read_table(text.replace("e.png", ""), SCHEMA).rows) == 5
    assert len(read_table(text, SCHEMA.model_copy(update={"split": None})).rows) == 5


def test_mask_file_of_two_splits_is_an_error():
    schema = SCHEMA.model_copy(update={"mask": SCHEMA.image.model_copy(update={"column": "notes"})})
    masks = dict(zip("abcd", ("m1", "m2", "m3", "m3"), strict=True))
    text = HEADER + "".join(f"p{name},{name}.png,train,F,1,,,,{mask}\n" for name, mask in masks.items())
    assert len(read_table(text, schema).rows) == 4
    with pytest.raises(InvalidInput) as caught:
        read_table(text.replace("d.png,train", "d.png,test"), schema)
    assert (caught.value.reason, caught.value.field) == ("MASK_IN_TWO_SPLITS", "table.part")
    assert "no mask" in caught.value.message and "found 1, the first in rows 3 and 4" in caught.value.message
