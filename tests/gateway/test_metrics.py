import httpx
from prometheus_client.parser import text_string_to_metric_families

from services.adapters.ledger import ChunkSpec
from services.adapters.telemetry import NullTelemetry
from services.errors import Unavailable
from services.gateway.metrics import MOST_SERIES, LedgerMetrics


def samples(text):
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(found, name, **labels):
    (match,) = [s.value for s in found if s.name == name and labels.items() <= s.labels.items()]
    return match


def cell(group, estimate, **more):
    same = {"pipeline": "base", "task": "classification", "label": "Edema", "metric": "auroc", "attribute": "sex"}
    return {**same, "group": group, "estimate": estimate, "records": 40, "patients": 20, **more}


def gap(estimate, **more):
    return {**{key: cell("x", 0)[key] for key in ("pipeline", "task", "label", "metric", "attribute")}, **more} | {
        "definition": "max_min",
        "estimate": estimate,
    }


def put_audit(ledger, name, cohort, cells, gaps=(), *, state="STATE_SUCCEEDED"):
    body = {"state": state, "spec": {"cohort": cohort}, "gauges": {"cells": list(cells), "gaps": list(gaps)}}
    ledger.put_resource(name, "audit", body)


def scrape(ledger):
    return samples(NullTelemetry().exposition([LedgerMetrics(ledger)]).decode())


def test_requests_and_inferences_are_counted_by_method_and_model(world, web):
    web.get("/v1/models")
    web.get("/v1/made-up")
    web.post("/v2/models/made-up/infer", json={})
    found = samples(web.get("/metrics").text)
    labels = {"transport": "rest", "method": "evenhand.resources.v1.ModelService/ListModels", "status": "OK"}
    assert value(found, "evenhand_gateway_requests_total", **labels) >= 1
    assert not any("made-up" in text for sample in found for text in sample.labels.values())
    assert value(found, "evenhand_ledger_up") == 1


def test_the_latest_audit_of_a_cohort_speaks(tmp_path, ledger):
    put_audit(ledger, "audits/1", "cohorts/a", [cell("Female", 0.7), cell("Male", 0.9)], [gap(0.2)])
    put_audit(ledger, "audits/2", "cohorts/a", [cell("Female", 0.8)])
    put_audit(ledger, "audits/3", "cohorts/b", [cell("Female", 0.6), cell("Male", None)])
    put_audit(ledger, "audits/4", "cohorts/a", [cell("Female", 0.1)], state="STATE_RUNNING")
    found = scrape(ledger)
    assert value(found, "evenhand_subgroup_metric", cohort="a", group="Female") == 0.8
    assert value(found, "evenhand_subgroup_metric", cohort="a", group="Male") == 0.9
    assert value(found, "evenhand_subgroup_n", cohort="b", group="Female") == 40
    assert value(found, "evenhand_subgroup_patients", cohort="b", group="Female") == 20
    assert value(found, "evenhand_fairness_gap", cohort="a", definition="max_min") == 0.2
    assert not [
        s
        for s in found
        if s.name == "evenhand_subgroup_metric" and s.labels["group"] == "Male" and s.labels["cohort"] == "b"
    ]


def test_series_are_capped_and_the_rest_is_counted(ledger):
    put_audit(ledger, "audits/1", "cohorts/a", [cell(f"g{i}", 0.5) for i in range(MOST_SERIES + 500)])
    found = scrape(ledger)
    fairness = [s for s in found if s.name.startswith(("evenhand_subgroup", "evenhand_fairness"))]
    assert len(fairness) == MOST_SERIES
    assert (
        value(found, "evenhand_series_dropped") == 3 * (MOST_SERIES + 500) - MOST_SERIES
    )  # n, patients and value of each


def test_the_newest_audit_is_whole_before_an_older_one_has_room(ledger):
    for number, cohort in enumerate("abc"):
        put_audit(
            ledger, f"audits/{number}", f"cohorts/{cohort}", [cell(f"g{i}", 0.5) for i in range(MOST_SERIES // 4)]
        )
    shown = [s.labels["cohort"] for s in scrape(ledger) if s.name == "evenhand_subgroup_metric"]
    assert set(shown) == {"c"}
    assert len(shown) == MOST_SERIES // 4


def test_label_values_are_short_and_printable(ledger):
    put_audit(ledger, "audits/1", "cohorts/a", [cell('x"}\n' + "y" * 500, 0.5)])
    (sample,) = [s for s in scrape(ledger) if s.name == "evenhand_subgroup_metric"]
    assert len(sample.labels["group"]) <= 80
    assert "\n" not in sample.labels["group"]


def test_progress_of_running_work_is_shown(ledger):
    ledger.create_operation("audit", "audits/1", {}, [ChunkSpec("rows", {}, rows=30), ChunkSpec("rows", {}, rows=12)])
    ledger.commit_chunk(ledger.lease_chunk("w", 60, ["rows"]), {})
    found = scrape(ledger)
    assert value(found, "evenhand_operations", kind="audit", state="running") == 1
    assert value(found, "evenhand_operation_rows_done", kind="audit") == 30
    assert value(found, "evenhand_operation_rows_total", kind="audit") == 42


def test_a_ledger_that_is_away_does_not_take_the_other_metrics_along(world, web, monkeypatch):
    def away(**_):
        raise Unavailable("away")

    monkeypatch.setattr(world.ledger, "list_operations", away)
    world.edge.ledger_metrics._kept_at = -float("inf")
    found = samples(httpx.get(f"{world.http}/metrics").text)
    assert value(found, "evenhand_ledger_up") == 0
    assert [s for s in found if s.name == "evenhand_gateway_requests_total"]
    world.edge.ledger_metrics._kept_at = -float("inf")
