"""The card of a model version: what it came from, and what finished audits say of it before and after."""

from __future__ import annotations

from dataclasses import asdict

import grpc
import httpx
import numpy as np
import pandas as pd
import pytest
import yaml
from evenhand.resources.v1 import model_pb2, model_service_pb2, model_service_pb2_grpc

from services.audit.results.reduce import reduce, report_json
from services.gateway.resources.headlines import changes_of
from services.gateway.wire import model_message

RECORDS, PATIENTS = 400, 200
LOSS = {"before": 0.8, "after": 0.1}  # of the scores of women with the finding


def rows():
    """Two labels through two pipelines: what one loses on women, the other gives back."""
    draw = np.random.default_rng(3)
    people = pd.DataFrame(
        {
            "record_id": [f"r{number:04d}" for number in range(RECORDS)],
            "patient_id": [f"p{number // 2:04d}" for number in range(RECORDS)],
            "attribute_sex": np.repeat(draw.choice(["Female", "Male"], PATIENTS), 2),
        }
    )
    predictions, quality = [], []
    for label in ("Edema", "Nodule"):
        truth = (draw.random(RECORDS) < 0.4).astype(float)
        score = np.clip(0.35 + 0.3 * truth + draw.normal(0, 0.12, RECORDS), 0, 1)
        for pipeline, loss in LOSS.items():
            lost = loss * 0.3 * truth * (people["attribute_sex"] == "Female")
            part = people.assign(pipeline=pipeline, task="classification", label=label, y_true=truth)
            predictions.append(part.assign(y_score=np.clip(score - lost, 0, 1), threshold=0.5))
    for pipeline, mean in (("before", 31.0), ("after", 30.6)):
        value = mean + draw.normal(0, 0.2, RECORDS)
        quality.append(people.assign(pipeline=pipeline, metric="psnr", value=value))
    return pd.concat(predictions, ignore_index=True), pd.concat(quality, ignore_index=True)


def eodd_of(predictions, pipeline):
    """Mean over labels of half the sum of the ranges of TPR and FPR over sexes, straight from the rows."""
    of = predictions[predictions["pipeline"] == pipeline].assign(
        called=lambda rows: rows["y_score"] >= rows["threshold"]
    )
    rates = of.groupby(["label", "y_true", "attribute_sex"])["called"].mean().unstack()
    return float((np.ptp(rates.to_numpy(), axis=1)).mean())


class Auditing:
    """Finished audits in a gateway's ledger and store, as the audit application leaves them."""

    def __init__(self, world):
        self.world = world
        self.predictions, self.quality = rows()
        self.digests = {entry["version"]: entry["digest"] for entry in world.host.catalogue()}

    def put(self, name, versions, *, state="STATE_SUCCEEDED", cohort="cohorts/one", day=1):
        stages = {
            pipeline: {"kind": "reconstruct", "model": "affine", "version": version, "digest": self.digests[version]}
            for pipeline, version in zip(("before", "after"), versions, strict=True)
        }
        report = reduce(
            self.predictions,
            self.quality,
            attributes=["sex"],
            baseline="before",
            levels={"sex": ["Female", "Male"]},
            permutations=99,
            replicates=0,
            provenance={
                "cohort": {"digest": "c" * 64, "patients": PATIENTS, "records": RECORDS},
                "pipelines": [{"name": key, "stages": [{"kind": "degrade"}, stage]} for key, stage in stages.items()],
                "seed": 1,
            },
        )
        ref = self.world.store.put(report_json(report, {"audit": name}))
        spec = [{"name": key, "stages": [{"degrade": {}}, {"reconstruct": "models/affine"}]} for key in stages]
        body = {
            "name": name,
            "display_name": f"the audit {name}",
            "spec": {"cohort": cohort, "pipelines": spec},
            "cohort": cohort,
            "state": state,
            "create_time": f"2026-01-0{day}T00:00:00Z",
            "artifacts": [{"filename": "report.json", **asdict(ref)}],
        }
        self.world.ledger.put_resource(name, "audit", body)
        return report


@pytest.fixture
def auditing(make_world):
    return Auditing(make_world())


@pytest.fixture
def card(auditing):
    """GetModel over HTTP, checked against gRPC."""

    def read(name, view="MODEL_VIEW_FULL"):
        reply = httpx.get(f"{auditing.world.http}/v1/models/{name}", params={"view": view} if view else {})
        assert reply.status_code == 200, reply.text
        with grpc.insecure_channel(auditing.world.grpc) as channel:
            request = model_service_pb2.GetModelRequest(name=f"models/{name}", view=view or None)
            model = model_service_pb2_grpc.ModelServiceStub(channel).GetModel(request)
        told = reply.json()
        assert [one["audit"] for one in told["audits"]] == [one.audit for one in model.audits]
        assert told["version"] == model.version
        return model

    return read


def test_before_and_after_are_those_of_the_rows(auditing, card):
    report = auditing.put("audits/one", ("1", "2"))
    (audit,) = card("affine@2").audits
    assert (audit.cohort, audit.patients, list(audit.pipelines)) == ("cohorts/one", PATIENTS, ["after"])
    assert audit.report == "/v1/audits/one/artifacts/report.html"
    assert audit.create_time.ToJsonString() == "2026-01-01T00:00:00Z"
    changes = {(one.metric, one.attribute): one for one in audit.changes}
    assert set(changes) == {("eodd", "sex"), ("eop", "sex"), ("auroc", ""), ("psnr", "")}
    eodd = changes["eodd", "sex"]
    for end, pipeline in ((eodd.before, "before"), (eodd.after, "after")):
        assert end == pytest.approx(eodd_of(auditing.predictions, pipeline), abs=1e-9)
    assert eodd.before > eodd.after + 0.1
    assert eodd.change == pytest.approx(eodd.after - eodd.before, abs=1e-9)
    assert eodd.ci_low < eodd.change < eodd.ci_high < 0
    assert (eodd.labels, eodd.found) == (2, 2)
    limits = [row for row in report["changes"] if row["definition"] == "eodd_half" and row["attribute"] == "sex"]
    assert eodd.ci_low == pytest.approx(np.mean([row["ci_low"] for row in limits]))
    psnr = changes["psnr", ""]
    means = auditing.quality.groupby("pipeline")["value"].mean()
    assert (psnr.before, psnr.after) == pytest.approx((means["before"], means["after"]), abs=1e-6)
    assert (psnr.labels, psnr.found) == (1, 1)


def test_an_audit_stands_in_the_cards_of_the_versions_that_it_judged_and_in_no_others(auditing, card):
    auditing.put("audits/both", ("1", "2"))
    auditing.put("audits/same", ("1", "1"), day=2)
    assert [one.audit for one in card("affine@1").audits] == ["audits/same", "audits/both"]
    assert [one.audit for one in card("affine").audits] == ["audits/both"]  # without a version, the highest
    assert not card("affine@2", view="").audits  # whoever only infers does not wait for reports
    assert not card("affine@2", view="MODEL_VIEW_BASIC").audits


def test_deleted_and_failed_audits_are_in_no_card(auditing, card):
    auditing.put("audits/kept", ("1", "2"))
    auditing.put("audits/gone", ("1", "2"))
    auditing.put("audits/failed", ("1", "2"), state="STATE_FAILED")
    assert {one.audit for one in card("affine@2").audits} == {"audits/kept", "audits/gone"}
    auditing.world.ledger.delete_resource("audits/gone")
    assert [one.audit for one in card("affine@2").audits] == ["audits/kept"]


def test_an_audit_that_cannot_be_read_is_left_out_and_named_in_the_log(auditing, card, caplog):
    auditing.put("audits/kept", ("1", "2"))
    world = auditing.world
    for name, change in {
        "audits/no-spec": {"spec": {}},
        "audits/no-time": {"create_time": "yesterday"},
        "audits/no-json": {"artifacts": [{"filename": "report.json", **asdict(world.store.put(b"not JSON"))}]},
        "audits/no-rows": {"artifacts": [{"filename": "report.json", **asdict(world.store.put(b"{}"))}]},
    }.items():
        auditing.put(name, ("1", "2"))
        world.ledger.put_resource(name, "audit", world.ledger.get_resource(name) | change)
    assert [one.audit for one in card("affine@2").audits] == ["audits/kept"]
    for name in ("no-spec", "no-time", "no-json", "no-rows"):
        assert f"a card leaves audits/{name} out" in caplog.text


def test_a_level_that_is_named_overall_is_not_everyone():
    at = {"task": "classification", "label": "Edema", "metric": "auroc"}
    change = {"baseline": "a", "candidate": "b", "attribute": "", "definition": "overall", "verdict": "change"}
    cells = [
        {**at, "pipeline": pipeline, "attribute": attribute, "group": "overall", "state": "ok", "estimate": estimate}
        for attribute, shift in (("", 0.0), ("clothes", 0.3))
        for pipeline, estimate in (("a", 0.5 + shift), ("b", 0.6 + shift))
    ]
    limits = {"estimate": 0.1, "ci_low": 0.05, "ci_high": 0.15}
    (told,) = changes_of({"changes": [{**at, **change, **limits}], "gaps": [], "cells": cells}, ["b"])
    assert (told.before, told.after) == (0.5, 0.6)


def test_a_version_that_is_not_served_has_no_card(auditing, problem_of):
    problem = problem_of(httpx.get(f"{auditing.world.http}/v1/models/affine@7"))
    assert (problem["status"], problem["reason"]) == (404, "MODEL_NOT_FOUND")


TRAINING = """
recipe: affine
base: {name: affine, version: '1', digest: b1}
mitigation: {method: equalised-odds, attributes: [sex, 'sex,age'], lambda: 0.5}
predictor: {name: chest-classifier, version: '3', digest: p3}
data: {cohort: cohorts/a, digest: d4}
selection: {chosen: true}
"""


def test_a_card_says_what_a_version_came_from(auditing):
    entry = auditing.world.host.catalogue()[1]
    assert not model_message(entry).HasField("lineage")
    told = model_message(
        entry
        | {
            "training": yaml.safe_load(TRAINING),
            "learned_from": {"file": "learned_from.json", "sha256": "0", "patients": 18},
            "degradation": {"operator": "low-dose-xray", "photons": 1000},
        }
    )
    assert told.lineage == model_pb2.Lineage(
        base="models/affine@1",
        base_digest="b1",
        method="equalised-odds",
        attributes=["sex", "sex,age"],
        weight=0.5,
        predictor="models/chest-classifier@3",
        cohort="cohorts/a",
        data_digest="d4",
        learned_patients=18,
        chosen=True,
    )
    assert (told.degradation.operator, told.degradation.photons) == ("low-dose-xray", 1000)
