"""What an audit could show: counts against counting by hand, and what follows from them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from services.adapters.object_store import ObjectStore
from services.audit.cohort.counts import read_people
from services.audit.pipeline import AuditSpec, ResolvedAudit
from services.audit.planning import Forecast, PlannedCell, Planner, forecast
from services.audit.resolution import resolve
from services.audit.wire import audit_spec
from services.hosting.shards import ShardRef, read_shard
from tests.audit.world import COHORT, World, audit_request, make_world

RECORDS = 160


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("planned"), records=RECORDS, rows_per_shard=24)


@pytest.fixture(scope="module")
def manifest(world: World) -> dict[str, Any]:
    body = world.ledger().get_resource(COHORT)
    assert body is not None
    plain: dict[str, Any] = json.loads(world.store().get(body["manifest_key"]))
    return plain


def spec(**changes: Any) -> AuditSpec:
    return audit_spec(audit_request(**changes).spec)


def plan_of(world: World, manifest: dict[str, Any], asked: AuditSpec) -> ResolvedAudit:
    return resolve(asked, manifest, asyncio.run(world.calls().catalogue()), batch_size=4)


@pytest.fixture(scope="module")
def plan(world: World, manifest: dict[str, Any]) -> ResolvedAudit:
    return plan_of(world, manifest, spec())


@pytest.fixture(scope="module")
def people(world: World, manifest: dict[str, Any]) -> pd.DataFrame:
    return read_people(world.store(), manifest)


@pytest.fixture(scope="module")
def foreseen(plan: ResolvedAudit, people: pd.DataFrame) -> Forecast:
    return forecast(plan, people)


def cell(found: Forecast, **where: str) -> PlannedCell:
    matching = [one for one in found.cells if all(getattr(one, name) == value for name, value in where.items())]
    assert len(matching) == 1, where
    return matching[0]


def records(world: World, manifest: dict[str, Any]) -> pd.DataFrame:
    """The whole table, read the long way: shard by shard with its pixels."""
    shards = (read_shard(world.store(), ShardRef.from_dict(shard)) for shard in manifest["shards"])
    return pd.concat([shard.records for shard in shards], ignore_index=True)


def test_counts_are_those_of_counting_by_hand(world: World, manifest: dict[str, Any], foreseen: Forecast) -> None:
    table = records(world, manifest)
    compared = 0
    for planned in foreseen.cells:
        if planned.task != "classification":
            continue
        rows = table.dropna(subset=[f"label_{planned.label}"])
        if planned.attribute:
            names = [f"attribute_{name}" for name in planned.attribute.split(",")]
            rows = rows[rows[names].fillna("?").agg(", ".join, axis=1) == planned.group]
        truth = rows[f"label_{planned.label}"]
        assert (planned.records, planned.patients) == (len(rows), rows["patient_id"].nunique())
        assert (planned.positives, planned.negatives) == (int((truth == 1).sum()), int((truth == 0).sum()))
        assert planned.patients_with_positives == rows.loc[truth == 1, "patient_id"].nunique()
        assert planned.patients_with_negatives == rows.loc[truth == 0, "patient_id"].nunique()
        compared += 1
    assert compared == 2 * 4 * 7  # labels, metrics, groups of "", "sex" and "sex,age"


def test_an_attribute_that_is_read_is_its_own_truth(world: World, manifest: dict[str, Any], foreseen: Forecast) -> None:
    table = records(world, manifest)
    overall = cell(foreseen, label="Female", metric="auroc", attribute="")
    assert overall.task == "attribute-classification"
    assert overall.records == int(table["attribute_sex"].notna().sum()) == RECORDS - 1
    assert overall.positives == int((table["attribute_sex"] == "Female").sum())
    men = cell(foreseen, label="Female", metric="auroc", attribute="sex", group="Male")
    assert (men.positives, men.state, men.minimum_detectable_gap) == (0, "undefined", None)


def test_metrics_without_labels_count_everybody_and_have_no_cases(foreseen: Forecast) -> None:
    for metric, task in (("dice", "segmentation"), ("psnr", "reconstruction"), ("ssim_gaussian11", "reconstruction")):
        overall = cell(foreseen, metric=metric, attribute="")
        assert (overall.task, overall.label, overall.records) == (task, "", RECORDS)
        assert (overall.positives, overall.patients_with_positives) == (0, 0)
        assert overall.state == "ok"


def test_a_rate_without_a_threshold_is_undefined_however_many_cases_there_are(
    world: World, manifest: dict[str, Any], people: pd.DataFrame
) -> None:
    catalogue = [{**model, "thresholds": {}} for model in asyncio.run(world.calls().catalogue())]
    found = forecast(resolve(spec(), manifest, catalogue, batch_size=4), people)
    rate = cell(found, label="Edema", metric="tpr", attribute="")
    assert (rate.state, rate.positives > 0) == ("undefined", True)
    assert cell(found, label="Edema", metric="auroc", attribute="").state == "ok"
    assert not any("undefined" in warning for warning in found.warnings)


def test_the_primary_family_is_every_testable_cell_of_single_attributes_in_every_pipeline(
    plan: ResolvedAudit, foreseen: Forecast
) -> None:
    given = {("classification", "dice"): 0, ("segmentation", "dice"): 2, ("attribute-classification", "auroc"): 1}
    expected = 0
    for planned in foreseen.cells:
        if planned.state == "ok" and planned.attribute == "sex" and planned.metric != "prevalence":
            usual = 1 if planned.task == "reconstruction" else 2
            expected += given.get((planned.task, planned.metric), usual)
    assert foreseen.tests == expected > 10


def test_a_gap_is_forecast_where_a_test_will_be_made_and_nowhere_else(foreseen: Forecast) -> None:
    for planned in foreseen.cells:
        tested = planned.attribute != "" and planned.state == "ok"
        assert (planned.minimum_detectable_gap is not None) == tested, planned
        assert (planned.power is not None) == tested
        assert planned.tolerance is not None or not tested


def test_more_pipelines_mean_more_tests_and_larger_gaps(
    world: World, manifest: dict[str, Any], people: pd.DataFrame, foreseen: Forecast
) -> None:
    asked = spec()
    many = (*asked.pipelines, *(replace(asked.pipelines[1], name=f"again {n}") for n in range(6)))
    found = forecast(plan_of(world, manifest, replace(asked, pipelines=many)), people)
    assert found.tests > 3 * foreseen.tests
    where = {"label": "Edema", "metric": "auroc", "attribute": "sex", "group": "Female"}
    few, more = (cell(one, **where).minimum_detectable_gap for one in (foreseen, found))
    assert few is not None and more is not None and few < more
    cohort = {**where, "metric": "prevalence"}
    assert cell(found, **cohort).minimum_detectable_gap == cell(foreseen, **cohort).minimum_detectable_gap


def test_groups_that_will_say_nothing_are_warnings_one_by_one_or_summed_up(
    world: World, manifest: dict[str, Any], people: pd.DataFrame
) -> None:
    found = forecast(plan_of(world, manifest, spec(min_patients=25, min_cases=30)), people)
    assert [warning.split(":")[0] for warning in found.warnings] == [
        "group sex=Female",
        "group sex=Male",
        "attribute sex",
        "attribute sex,age",
        "attribute sex,age",
    ]
    assert "fewer than 25 patients or 30 cases" in found.warnings[0]
    assert "takes 150 patients and 180 cases" in found.warnings[2]
    assert "4 of 4 groups" in found.warnings[3]


def test_the_assumptions_speak_only_of_metrics_that_are_there(world: World, manifest: dict[str, Any]) -> None:
    people = read_people(world.store(), manifest)
    message = audit_request().spec
    del message.pipelines[1], message.pipelines[0].stages[1:]
    said = " ".join(forecast(plan_of(world, manifest, audit_spec(message)), people).assumptions)
    assert "true positive rates of 0.75" in said
    assert "dice" not in said and "psnr" not in said


class WatchedStore:
    """Notes what is read."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.read: list[str] = []

    def get(self, key: str, **checks: Any) -> bytes:
        self.read.append(key)
        return self._store.get(key, **checks)


@pytest.fixture
def watched(world: World) -> Iterator[Any]:
    yield WatchedStore(world.store())


async def test_no_pixel_is_read_and_every_table_once(
    watched: Any, manifest: dict[str, Any], plan: ResolvedAudit
) -> None:
    planner = Planner(watched)
    first, second = await planner.forecast(plan, manifest), await planner.forecast(plan, manifest)
    assert first == second
    assert sorted(watched.read) == sorted(shard["table"]["key"] for shard in manifest["shards"])


async def test_only_the_last_cohorts_are_kept(watched: Any, manifest: dict[str, Any], plan: ResolvedAudit) -> None:
    planner = Planner(watched)
    for name in ("a", "b", "c", "a"):
        await planner.forecast(plan, {**manifest, "digest": name})
    assert len(watched.read) == 4 * len(manifest["shards"])
