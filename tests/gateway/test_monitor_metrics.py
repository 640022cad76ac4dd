import logging

import pytest

from services.adapters.ledger import ChunkSpec
from services.adapters.telemetry import NullTelemetry
from services.gateway.metrics import MOST_SERIES, LedgerMetrics
from services.gateway.monitor_metrics import FAMILIES, SERIES, bounded, monitor_blocks
from tests.gateway.test_metrics import cell, gap, put_audit, samples, value
from tests.monitors_in_ledger import ORIGIN, WEEK, close, point, put_monitor

PREFIX = "evenhand_monitor_"


def scrape(ledger):
    return samples(NullTelemetry().exposition([LedgerMetrics(ledger)]).decode())


def of_monitors(found):
    return [sample for sample in found if sample.name.startswith(PREFIX)]


def test_a_series_shows_what_its_last_window_found(ledger):
    name = put_monitor(ledger, "chest")
    close(ledger, name, [point("Female", -0.01)])
    close(ledger, name, [point("Female", -0.2, alarmed=True, e_value=3000.0), point("Male", 0.2)])
    found = scrape(ledger)
    key = {"monitor": "chest", "label": "Edema", "metric": "tpr", "attribute": "sex", "group": "Female"}
    wanted = {
        "metric": 0.8, "gap": -0.2, "change": -0.2, "change_low": -0.3, "change_high": -0.1, "cases": 40,
        "patients": 30, "records": 400, "e_value": 3000, "alarm": 1, "series_state": 3,
    }  # fmt: skip
    assert {family for family in FAMILIES if FAMILIES[family].labels is SERIES} == set(wanted)
    for family, expected in wanted.items():
        assert value(found, PREFIX + family, **key) == pytest.approx(expected), family
    assert value(found, PREFIX + "alarm", **{**key, "group": "Male"}) == 0


def test_a_monitor_shows_its_windows_its_labels_and_its_models_versions(ledger):
    name = put_monitor(ledger, "chest", trouble="the folder cannot be read")
    close(ledger, name, [point("Female", 0.0)])
    close(ledger, name, [point("Female", 0.0)], versions={"3": 500, "4": 300}, label_delay_s=86400.0)
    ledger.append_segment(name, "predictions", rows=70, late_windows={0: 3})
    ledger.append_segment(name, "labels", rows=50, late_windows={1: 2}, unknown=6)
    ledger.append_segment(name, "refused", rows=4)
    found = scrape(ledger)
    wanted = {
        "window_end_seconds": (ORIGIN + 2 * WEEK).timestamp(),
        "window_due_seconds": (ORIGIN + 5 * WEEK).timestamp(),  # the third window's end and two weeks for labels
        "closed_windows": 2, "label_delay_seconds": 86400, "label_wait_seconds": 1209600, "unknown_labels": 6,
        "late_rows": 5, "conflicts": 4, "predictions": 70, "labelled_share": 0.75, "alpha": 0.05, "trouble": 1,
    }  # fmt: skip
    assert {family for family in FAMILIES if FAMILIES[family].labels == ("monitor",)} == set(wanted)
    for family, expected in wanted.items():
        assert value(found, PREFIX + family, monitor="chest") == expected, family
    assert {s.labels["state"]: s.value for s in found if s.name == PREFIX + "state"} == {
        "waiting": 0, "watching": 1, "alarmed": 0, "finished": 0,
    }  # fmt: skip
    versions = {s.labels["version"] for s in found if s.name == PREFIX + "model_info"}
    assert versions == {"3", "4"}


def test_a_monitor_shows_the_twenty_versions_with_the_most_records(ledger):
    name = put_monitor(ledger, "chest")
    close(ledger, name, [], versions={str(n): n for n in range(1, 31)})
    versions = {s.labels["version"] for s in scrape(ledger) if s.name == PREFIX + "model_info"}
    assert versions == {str(n) for n in range(11, 31)}


def test_what_is_undefined_or_not_known_yet_has_no_sample(ledger):
    put_monitor(ledger, "new", state="STATE_WAITING")
    counted = put_monitor(ledger, "by-count", spec={"window": {"records": "500"}})
    close(ledger, counted, [point("Female", state="undefined", value=None)], label_delay_s=-1.0)
    ended = put_monitor(ledger, "ended", state="STATE_FINISHED")
    close(ledger, ended, [])
    alarmed = put_monitor(ledger, "alarmed", state="STATE_ALARMED", spec={"planned_windows": 1})
    close(ledger, alarmed, [])
    found = of_monitors(scrape(ledger))
    assert value(found, PREFIX + "closed_windows", monitor="new") == 0
    assert value(found, PREFIX + "window_due_seconds", monitor="new") == (ORIGIN + 3 * WEEK).timestamp()
    assert value(found, PREFIX + "series_state", monitor="by-count") == 0
    shown = {(s.name.removeprefix(PREFIX), s.labels["monitor"]) for s in found}
    assert not {(family, "new") for family in ("window_end_seconds", "labelled_share", "change")} & shown
    assert not {(f, "by-count") for f in ("metric", "change", "change_low", "window_due_seconds")} & shown
    assert ("label_delay_seconds", "by-count") not in shown
    assert value(found, PREFIX + "label_wait_seconds", monitor="by-count") == 0, "it waits for no labels"
    assert not {("window_due_seconds", "ended"), ("window_due_seconds", "alarmed")} & shown


def test_monitors_and_audits_share_the_cap_and_alarms_are_never_folded(ledger, caplog):
    put_audit(ledger, "audits/1", "cohorts/a", [cell(f"g{i}", 0.5) for i in range(MOST_SERIES)], [gap(0.2)])
    name = put_monitor(ledger, "chest")
    many = [point(f"g{i}", 0.0, e_value=1.0 + i / 1000) for i in range(200)]
    close(ledger, name, [*many[:150], point("hurt", -0.2, alarmed=True, e_value=1.2), *many[150:]])
    metrics = LedgerMetrics(ledger)
    with caplog.at_level(logging.WARNING, "services.gateway.metrics"):
        found = samples(NullTelemetry().exposition([metrics]).decode())
        metrics._kept_at = -float("inf")
        samples(NullTelemetry().exposition([metrics]).decode())
    assert len(caplog.records) == 1, "the warning is not repeated at every scrape"
    monitors = of_monitors(found)
    audits = [s for s in found if s.name.startswith(("evenhand_subgroup", "evenhand_fairness"))]
    assert len(monitors) <= MOST_SERIES // 2
    assert len(monitors) + len(audits) == MOST_SERIES
    groups = [s.labels["group"] for s in found if s.name == PREFIX + "change"]
    assert "hurt" in groups
    assert set(groups) - {"hurt", "other"} == {f"g{i}" for i in range(201 - len(groups) + 1, 200)}, (
        "most evidence first"
    )
    other = dict.fromkeys(SERIES, "other")
    folded = 201 - (len(groups) - 1)
    assert value(found, PREFIX + "cases", **other) == 40 * folded
    assert value(found, PREFIX + "alarm", **other) == 0
    assert value(found, "evenhand_series_dropped") == 11 * folded + (3 * MOST_SERIES + 1 - len(audits))


def test_folding_adds_counts_and_keeps_the_largest_change_with_an_interval_around_all(ledger):
    name = put_monitor(ledger, "chest")
    close(ledger, name, [point("a", 0.1), point("b", -0.3, alarmed=True), point("c", 0.2, state="insufficient")])
    blocks = monitor_blocks(ledger)
    folded, dropped = bounded(blocks, len(FAMILIES))
    assert dropped == sum(map(len, blocks))
    assert len(folded) <= len(FAMILIES)
    values = {family: number for family, key, number in folded if set(key) == {"other"}}
    assert values["change"] == -0.3
    assert (values["change_low"], values["change_high"]) == (-0.4, pytest.approx(0.3))
    assert (values["cases"], values["alarm"], values["series_state"]) == (120, 1, 1)


def test_two_replicas_show_the_same(tmp_path, ledger):
    for monitor in ("a", "b"):
        close(ledger, put_monitor(ledger, monitor), [point(f"g{i}", 0.0) for i in range(120)])
    assert NullTelemetry().exposition([LedgerMetrics(ledger)]) == NullTelemetry().exposition([LedgerMetrics(ledger)])


def test_label_values_are_short_and_printable(ledger):
    close(ledger, put_monitor(ledger, "chest"), [point('x"}\n' + "y" * 200, 0.1)])
    (sample,) = [s for s in scrape(ledger) if s.name == PREFIX + "change"]
    assert len(sample.labels["group"]) <= 80
    assert "\n" not in sample.labels["group"]


def test_the_interval_of_an_audits_gap_is_shown(ledger):
    put_audit(ledger, "audits/1", "cohorts/a", [], [gap(0.2, ci_low=0.05, ci_high=0.35)])
    found = scrape(ledger)
    assert value(found, "evenhand_fairness_gap_low", cohort="a") == 0.05
    assert value(found, "evenhand_fairness_gap_high", cohort="a") == 0.35


def test_kinds_of_work_that_rest_are_shown_as_zero(ledger):
    operation, _ = ledger.create_operation("audit", "audits/1", {}, [ChunkSpec("rows", {}, rows=30)])
    ledger.request_cancel(operation.name)
    found = scrape(ledger)
    assert value(found, "evenhand_operations", kind="audit", state="failed") == 0
    assert value(found, "evenhand_operation_rows_done", kind="audit") == 0
