"""schema.yaml: what it means, and what is wrong with one, by the name of the field."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

import services.audit
from services.adapters.decoder import Cine, MaskForm
from services.audit.cohort.schema import READY_MADE, Cell, CohortSchema, load_schema
from services.errors import InvalidInput
from services.maths.canonical import canonical_json

PLAIN = "{patient: p, image: i, attributes: [{name: sex, column: s}]}"
CINE = PLAIN.replace("]}", "], mask: m, mask_labels: [none, left ventricle], split: s, cine: {CINE}}")


def attribute(text):
    return load_schema(f"{{patient: p, image: i, attributes: [{{name: a, column: c, {text}}}]}}").attributes[0]


@pytest.mark.parametrize("name", READY_MADE)
def test_ready_made_schema_survives_storing(name):
    schema = load_schema(name)
    assert schema.name == name
    assert CohortSchema.model_validate(json.loads(canonical_json(schema.model_dump(mode="json")))) == schema


def test_short_forms_mean_the_long_ones():
    long = """
    patient: {column: p}
    image: {column: i}
    attributes:
      - {name: sex, column: s, levels: [{level: Female, values: [F]}, {level: Male, values: []}]}
    labels: [{name: Edema, column: Edema}]
    """
    short = (
        "{patient: p, image: i, attributes: [{name: sex, column: s, levels: {Female: [F], Male: []}}], labels: [Edema]}"
    )
    assert load_schema(short).columns() == load_schema(long).columns()
    assert load_schema(short).attributes == load_schema(long).attributes


def test_what_a_mask_must_hold_follows_from_its_names():
    for declared, form in (
        ("", MaskForm(labels=0, planes=1)),
        (", mask_labels: [none, heart, lung]", MaskForm(labels=3, planes=1)),
        (", mask_labels: [none, heart, lung], mask_planes: [ED, ES]", MaskForm(labels=3, planes=2)),
    ):
        assert load_schema(PLAIN.replace("]}", f"], mask: m{declared}}}")).mask_form() == form


def test_what_a_row_of_a_cine_is_asked_for_follows_from_its_split():
    schema = load_schema(CINE.replace("CINE", "ed: E, es: 7, counted_from: 1, train: {splits: [train, extra]}"))
    assert schema.columns()["cine.ed"] == "E" and "cine.es" not in schema.columns()
    assert (schema.mask_form(), schema.plane_names()) == (MaskForm(labels=2, planes=2), ("ED", "ES"))
    assert schema.cine.phases({"E": " 3 "}) == schema.cine.phases({"E": "3.0"}) == (2, 6)
    assert schema.cine.phases({"E": ""}) == (None, 6)
    for bad in ("0", "-1", "2.5", "1e3", "nan", "12345678", "three"):
        with pytest.raises(ValueError, match="from 1"):
            schema.cine.phases({"E": bad})
    for split, images in (("train", 3), ("extra", 3), ("test", 1), (None, 1)):
        asked = schema.cine.to_cine((2, 6), split, schema.mask_labels)
        assert asked == Cine((0, 1, 0), 2, 6, cavity=1, slices=images, offsets=images)
        assert schema.cine.is_augmented(split) == (images > 1)


def test_the_examples_of_the_readme_are_schemas():
    readme = (Path(services.audit.__file__).parent / "README.md").read_text("utf-8")
    plain, cine, apart = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    assert load_schema(plain).mask_labels == ("background", "tumour")
    patient = "patient: p\nsplit: s\nattributes: [{name: sex, column: s}]\n"
    assert load_schema(patient + cine).cine.train.slices == 3
    assert load_schema(patient + apart).cine.es_mask.column == "es_mask"


def test_schema_that_names_no_labels_is_stored_as_before_there_were_any():
    """Its digest is part of the digests of cohorts that exist."""
    stored = load_schema(PLAIN.replace("]}", "], mask: m}")).model_dump(mode="json")
    assert set(stored) == {
        *("name", "table", "record", "patient", "image", "mask", "split", "attributes", "labels"),
        *("blank", "keep", "modality", "frame", "slices"),
    }


@pytest.mark.parametrize(
    ("cuts", "names"),
    [
        ("[40, 60, 80]", ("under 40", "40 to 59", "60 to 79", "80 and over")),
        ("[58]", ("under 58", "58 and over")),
        ("[18.5, 25, 30]", ("under 18.5", "18.5 to under 25", "25 to under 30", "30 and over")),
        ("[-1, 0.5]", ("under -1", "-1 to under 0.5", "0.5 and over")),
        ("[25], names: [slim, heavy]", ("slim", "heavy")),
    ],
)
def test_cuts_name_their_intervals(cuts, names):
    assert attribute(f"cuts: {cuts}").interval_names() == names


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "schema_yaml"),
        ("[1, 2]", "schema_yaml"),
        ("patient: [", "schema_yaml"),
        ("a: &x [1]\nb: *x", "schema_yaml"),
        ("no-such-schema", "schema_yaml"),
        ("!!python/object/apply:os.system ['true']", "schema_yaml"),
        ("[" * 5000, "schema_yaml"),
        (PLAIN.replace("p,", "p, colour: red,"), "schema_yaml.colour"),
        (PLAIN.replace("patient: p, ", ""), "schema_yaml.patient"),
        (PLAIN.replace("[{name: sex, column: s}]", "[]"), "schema_yaml.attributes"),
        (PLAIN.replace("name: sex", "name: Sex assigned"), "schema_yaml.attributes[0].name"),
        (PLAIN.replace("column: s}", "column: s, cuts: [60, 40]}"), "schema_yaml.attributes[0]"),
        (PLAIN.replace("column: s}", "column: s, cuts: [.nan]}"), "schema_yaml.attributes[0]"),
        (PLAIN.replace("column: s}", "column: s, cuts: [6], levels: [a]}"), "schema_yaml.attributes[0]"),
        (PLAIN.replace("column: s}", "column: s, cuts: [6], names: [a]}"), "schema_yaml.attributes[0]"),
        (PLAIN.replace("column: s}", "column: s, levels: {a: [x], b: [x]}}"), "schema_yaml.attributes[0]"),
        (PLAIN.replace("s}]", "s}, {name: sex, column: t}]"), "schema_yaml"),
        (PLAIN.replace("]}", "], labels: [A, A]}"), "schema_yaml"),
        (PLAIN.replace("]}", "], labels: [{name: A, positive: ['0']}]}"), "schema_yaml.labels[0]"),
        (PLAIN.replace("]}", "], table: ../rows.csv}"), "schema_yaml.table"),
        (PLAIN.replace("]}", "], frame: last}"), "schema_yaml.frame"),
        (PLAIN.replace("]}", "], mask_labels: [none, heart]}"), "schema_yaml"),
        (PLAIN.replace("]}", "], mask: m, mask_labels: [heart]}"), "schema_yaml"),
        (PLAIN.replace("]}", "], mask: m, mask_labels: [heart, heart]}"), "schema_yaml"),
        (PLAIN.replace("]}", "], mask: m, mask_labels: [none, ''] }"), "schema_yaml.mask_labels[1]"),
        (PLAIN.replace("]}", f"], mask: m, mask_labels: {list(range(257))}}}"), "schema_yaml.mask_labels"),
        (PLAIN.replace("]}", "], mask: m, mask_planes: [ED, ES]}"), "schema_yaml"),
        (PLAIN.replace("]}", "], mask: m, mask_labels: [none, heart], mask_planes: [ED, ED]}"), "schema_yaml"),
        (CINE.replace("CINE", "frames: [ed]"), "schema_yaml.cine"),
        (CINE.replace("CINE", "frames: [ed, mid, es]"), "schema_yaml.cine.frames[1]"),
        (CINE.replace("CINE", "frames: [ed, es, ed, es, ed]"), "schema_yaml.cine.frames"),
        (CINE.replace("CINE", "ed: -1"), "schema_yaml.cine.ed"),
        (CINE.replace("CINE", "ed: true"), "schema_yaml.cine.ed"),
        (CINE.replace("CINE", "ed: 0, counted_from: 1"), "schema_yaml.cine"),
        (CINE.replace("CINE", "window: [5, 5]"), "schema_yaml.cine"),
        (CINE.replace("CINE", "window: [0, .inf]"), "schema_yaml.cine"),
        (CINE.replace("CINE", "window: [.nan, 1]"), "schema_yaml.cine"),
        (CINE.replace("CINE", "cavity: right atrium"), "schema_yaml"),
        (CINE.replace("CINE", "cavity: none"), "schema_yaml"),
        (CINE.replace("CINE", "train: {slices: 2}"), "schema_yaml.cine.train.slices"),
        (CINE.replace("CINE", "train: {offsets: 0}"), "schema_yaml.cine.train.offsets"),
        (CINE.replace("CINE", "train: {splits: []}"), "schema_yaml.cine.train.splits"),
        (CINE.replace("CINE", "train: {}").replace("split: s, ", ""), "schema_yaml"),
        (CINE.replace("CINE", "").replace("mask_labels: [none, left ventricle], ", ""), "schema_yaml"),
        (CINE.replace("CINE", "").replace("cine:", "mask_planes: [ED, ES], cine:"), "schema_yaml"),
        (CINE.replace("CINE", "").replace("cine:", "slices: {which: range}, cine:"), "schema_yaml"),
        (PLAIN.replace("image: i", "image: {column: i, match: '('}"), "schema_yaml.image.match"),
        (PLAIN.replace("image: i", "image: {column: i, match: '(a+)+b'}"), "schema_yaml.image.match"),
        (PLAIN.replace("image: i", "image: {column: i, match: '(a)', value: '{2}'}"), "schema_yaml.image"),
    ],
)
def test_wrong_schema_is_refused_by_the_name_of_the_field(text, field):
    with pytest.raises(InvalidInput) as caught:
        load_schema(text)
    assert caught.value.reason == "SCHEMA_INVALID"
    assert caught.value.field.startswith(field)


def test_schema_errors_speak_of_the_file_and_not_of_our_classes():
    for text in (
        "[1, 2]",
        PLAIN.replace("p,", "p, colour: red,"),
        PLAIN.replace("column: s}", "column: s, cuts: [6, 5]}"),
    ):
        with pytest.raises(InvalidInput) as caught:
            load_schema(text)
        assert not {"CohortSchema", "inputs", "Value"} & set(caught.value.message.replace(",", " ").split())


@pytest.mark.parametrize(
    ("cell", "text", "found"),
    [
        ({"column": "c"}, "  whole  ", "whole"),
        ({"column": "c", "match": r"patient\d+"}, "x/patient00042/y", "patient00042"),
        ({"column": "c", "match": r"study(\d+)"}, "x/study7/y", "7"),
        ({"column": "c", "match": r"study(\d+)"}, "nothing", ""),
        ({"column": "c", "match": r"-(\d+)(.*)$", "value": "a{1:4}/b{2}.{1}"}, "X-004_FU", "a0004/b_FU.004"),
    ],
)
def test_cell_takes_its_part_of_the_text(cell, text, found):
    assert Cell.model_validate(cell).of({"c": text}) == found


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(?:a*)*b", r"(a)\1", "(?P<x>a)", "a*a*a*a*b", "(a{1,9}){9}"])
def test_pattern_that_can_take_for_ever_is_refused(pattern):
    with pytest.raises(ValueError, match=r"groups|repetitions"):
        Cell(column="c", match=pattern)


def test_worst_pattern_that_is_allowed_ends_soon():
    begin = time.process_time()
    assert Cell(column="c", match="a*a*a*b").of({"c": "a" * 10_000}) == ""
    assert time.process_time() - begin < 5
