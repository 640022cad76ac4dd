from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
import yaml
from evenhand import MonitorSpec
from evenhand.errors import InvalidInput
from evenhand.monitor_spec import duration_words, monitor_spec_proto
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict

from tests.client.monitoring import SPEC

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "deploy/monitors/chest-classifier.yaml"


def test_every_form_of_a_spec_becomes_the_same_proto(tmp_path):
    proto = monitor_spec_proto(SPEC)
    (tmp_path / "monitor.yaml").write_text(yaml.safe_dump(SPEC, sort_keys=False))
    python = MonitorSpec(
        labels=SPEC["labels"],
        attributes=SPEC["attributes"],
        metrics=["tpr"],
        window=timedelta(days=7),
        origin=date(2026, 1, 5),
        label_delay="2w",
        reference=2,
    )
    forms = [proto, tmp_path / "monitor.yaml", str(tmp_path / "monitor.yaml"), python, MessageToDict(proto)]
    assert all(monitor_spec_proto(form) == proto for form in forms)
    assert {one.label: one.threshold for one in proto.labels} == SPEC["labels"]
    assert {one.attribute: list(one.levels) for one in proto.attributes} == SPEC["attributes"]
    assert proto.window.length.ToTimedelta() == timedelta(days=7)
    assert proto.window.label_delay.ToTimedelta() == timedelta(days=14)
    assert proto.window.origin.ToDatetime(tzinfo=UTC) == datetime(2026, 1, 5, tzinfo=UTC)
    assert proto.reference.WhichOneof("kind") == "first_windows"


def test_what_a_caller_gives_is_not_changed():
    given = monitor_spec_proto({**SPEC, "model": "chest-classifier"})
    given.model = "chest-classifier"
    assert monitor_spec_proto(given).model == "models/chest-classifier"
    assert given.model == "chest-classifier"
    before = repr(SPEC)
    monitor_spec_proto(SPEC)
    assert repr(SPEC) == before


def test_names_of_models_and_audits_may_be_short():
    proto = monitor_spec_proto(MonitorSpec(model="chest-classifier", reference="1b2c", pipeline="unet", tap=0.5))
    assert (proto.model, proto.reference.audit) == ("models/chest-classifier", "audits/1b2c")
    assert (proto.reference.pipeline, proto.source.tap.sampling_rate) == ("unet", 0.5)
    counted = monitor_spec_proto(MonitorSpec(window=2000, folder="store:ward3"))
    assert (counted.window.records, counted.source.folder) == (2000, "store:ward3")
    assert not counted.window.HasField("length") and not counted.HasField("reference")


@pytest.mark.parametrize(
    ("origin", "hour"),
    [
        ("2026-01-05", 0),
        ("2026-01-05T06:00:00", 6),
        ("2026-01-05T06:00:00+02:00", 4),
        (datetime(2026, 1, 5, 6, tzinfo=timezone(timedelta(hours=-3))), 9),
        (datetime(2026, 1, 5, 6), 6),
    ],
)
def test_times_without_a_zone_are_utc(origin, hour):
    spec = monitor_spec_proto({"window": {"length": "1d", "origin": origin}})
    assert spec.window.origin.ToDatetime() == datetime(2026, 1, 5, hour)


@pytest.mark.parametrize(
    ("words", "seconds"), [("90s", 90), ("5 m", 300), ("36h", 129_600), ("7d", 604_800), ("0.5d", 43_200), ("3s", 3)]
)
def test_durations_are_read_and_written_alike(words, seconds):
    length = monitor_spec_proto({"window": {"length": words}}).window.length
    assert length.ToTimedelta().total_seconds() == seconds
    assert monitor_spec_proto({"window": {"length": duration_words(length)}}).window.length == length


def test_a_duration_of_nothing_has_words_too():
    assert duration_words(Duration()) == "0s"
    assert duration_words(Duration(seconds=1, nanos=500_000_000)) == "1.5s"


@pytest.mark.parametrize(
    "wrong",
    [
        {"label": {"Edema": 0.1}},
        {"window": {"length": "a week"}},
        {"window": {"length": 7}},
        {"window": {"length": "7d", "origin": "soon"}},
        {"labels": {"Edema": "high"}},
        {"attributes": {"sex": None}},
        {"reference": {"audit": "audits/1", "first_windows": 2}},
    ],
)
def test_a_field_that_a_spec_has_not_is_invalid_input_with_those_that_it_has(wrong):
    with pytest.raises(InvalidInput) as caught:
        monitor_spec_proto(wrong)
    assert caught.value.field == "spec"
    assert "attributes" in caught.value.hint


@pytest.mark.parametrize("text", ["labels: [", "- one", "\x00"])
def test_a_file_that_is_no_mapping_is_invalid_input_and_named(tmp_path, text):
    path = tmp_path / "monitor.yaml"
    path.write_text(text)
    for place in (path, tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(InvalidInput) as caught:
            monitor_spec_proto(place)
        assert caught.value.field == str(place)


def test_the_shipped_monitor_watches_what_its_model_says():
    """Its thresholds are those of the model's record, and its attributes those of the phantoms' schema."""
    spec = monitor_spec_proto(SHIPPED)
    model = yaml.safe_load((ROOT / "deploy/zoo/chest-classifier/1/model.yaml").read_text())
    assert spec.model == "models/chest-classifier"
    assert {one.label: one.threshold for one in spec.labels}.items() <= model["thresholds"].items()
    schema = yaml.safe_load((ROOT / "services/audit/cohort/ready_made/phantom-chest.yaml").read_text())
    known = {attribute["name"]: attribute.get("levels") for attribute in schema["attributes"]}
    for watched in spec.attributes:
        assert known[watched.attribute] in (None, list(watched.levels))
    named = {name for grouping in spec.groupings for name in grouping.split(",")}
    assert named <= {watched.attribute for watched in spec.attributes}
    assert spec.window.label_delay.ToTimedelta() == timedelta(days=14)
    assert (spec.reference.first_windows, spec.planned_windows, spec.alpha) == (8, 104, 0.05)
