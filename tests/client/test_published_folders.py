"""The shipped study on folders as CheXpert and UCSF-PDGM publish them: what is sent, the cohorts, and the audits."""

from __future__ import annotations

import pytest
from evenhand.audit.v1 import audit_service_pb2
from evenhand.cohort.v1 import cohort_pb2, cohort_service_pb2
from evenhand.cohorts import Cohort
from evenhand.errors import InvalidInput
from evenhand.studies import read_study
from evenhand.study_runs import folder_of
from google.longrunning import operations_pb2

from services.audit.audits import Audits
from services.audit.cohorts import Cohorts
from services.training.zoo import ZOO
from tests.audit.world import World
from tests.client.published_folders import write_chexpert, write_ucsf_pdgm
from tests.client.test_studies import SHIPPED

CHEST, BRAIN = read_study(SHIPPED).audits


@pytest.fixture
def chexpert(tmp_path):
    folder = tmp_path / "CheXpert"
    write_chexpert(folder)
    return folder


@pytest.fixture
def ucsf(tmp_path):
    folder = tmp_path / "UCSF-PDGM"
    write_ucsf_pdgm(folder)
    return folder


@pytest.fixture
def platform(tmp_path):
    """The room of audits with the shipped models, in this process."""
    (tmp_path / "platform").mkdir()
    (tmp_path / "platform" / "models").symlink_to(ZOO)
    return World(tmp_path / "platform")


def chest_folder(folder, demographics=True):
    table = folder / "CheXpert-v1.0-small" / "valid.csv"
    return folder_of(CHEST, folder, table, folder / "CHEXPERT DEMO.csv" if demographics else None)


def sent(client, twin, source):
    """What the client asks for this folder, and the files that it sends."""
    client.cohorts.create(
        source.images,
        table=source.table,
        demographics=source.demographics,
        files=source.files,
        schema=source.schema,
        progress=False,
    )
    request = twin.called("CreateCohort")[-1]
    return request, twin.uploads[request.upload]


async def ingested(platform, request, files):
    """The cohort that the platform makes of what was sent."""
    cohorts = Cohorts(platform.ledger(), platform.store(), platform.settings)
    for path, data in files.items():
        place = platform.settings.uploads / request.upload.removeprefix("uploads/") / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    message = operations_pb2.Operation.FromString(await cohorts.create(request.SerializeToString()))
    done = await platform.finish(platform.ledger().get_operation(message.name), platform.worker())
    assert done.state == "succeeded", done.error
    get = cohort_service_pb2.GetCohortRequest(name=done.resource).SerializeToString()
    return Cohort(cohort_pb2.Cohort.FromString(await cohorts.get(get)))


async def audited(platform, spec):
    """The report of an audit by the shipped models."""
    audits = Audits(platform.ledger(), platform.store(), platform.calls(), platform.settings)
    request = audit_service_pb2.CreateAuditRequest(spec=spec)
    message = operations_pb2.Operation.FromString(await audits.create(request.SerializeToString()))
    done = await platform.finish(platform.ledger().get_operation(message.name), platform.worker(), limit_s=800)
    assert done.state == "succeeded", done.error
    return platform.report(done)


def levels(cohort):
    """{attribute: {level: patients}} without levels that nobody has."""
    found = {}
    for attribute, level, _, patients in cohort.to_pandas().itertuples(index=False):
        if patients:
            found.setdefault(attribute, {})[level] = patients
    return found


async def test_chexpert_becomes_a_cohort_of_frontal_views_with_race(client, twin, platform, chexpert):
    request, files = sent(client, twin, chest_folder(chexpert))
    assert len(files) == 8 and all(path.startswith("CheXpert-v1.0-small/valid/patient") for path in files)
    cohort = await ingested(platform, request, files)
    assert (cohort.records, cohort.patients, cohort.refused_count) == (6, 5, 0)
    assert levels(cohort) == {
        "sex": {"Female": 2, "Male": 2},
        "age": {"under 40": 1, "40 to 59": 1, "60 to 79": 2, "80 and over": 1},
        "race": {"White": 1, "Black": 1, "Asian": 1},  # who refused to say has none, nor has 64545
    }
    assert cohort.demographics == {"matched": 4, "unmatched": 1, "conflicting": 0}
    counts = cohort.label_counts()
    assert (counts[["positives", "negatives", "missing"]].sum(axis=1) == 6).all()
    assert counts["missing"].sum() > 0  # -1 and blank
    assert "race" in CHEST.spec_of(cohort).attributes


async def test_without_its_demographics_chexpert_is_studied_by_sex_and_age(client, twin, platform, chexpert):
    cohort = await ingested(platform, *sent(client, twin, chest_folder(chexpert, demographics=False)))
    assert set(cohort.attributes) == {"sex", "age"}
    assert list(CHEST.spec_of(cohort).attributes) == ["sex", "age", "sex,age"]


async def test_ucsf_pdgm_sends_two_of_its_volumes_and_becomes_a_cohort(client, twin, platform, ucsf):
    source = folder_of(BRAIN, ucsf)
    assert source.table == ucsf / "UCSF-PDGM-metadata_v2.csv"
    request, files = sent(client, twin, source)
    assert len(files) == 6
    assert {path.rsplit("_", 1)[-1] for path in files} == {"FLAIR.nii.gz", "segmentation.nii.gz"}
    cohort = await ingested(platform, request, files)
    assert (cohort.records, cohort.patients) == (3, 3)
    assert cohort.refused["reason"].tolist() == ["FILE_NOT_FOUND"]
    assert levels(cohort) == {
        "sex": {"Female": 2, "Male": 1},
        "age": {"under 40": 1, "60 to 79": 1, "80 and over": 1},
    }
    assert cohort.label_counts()[["positives", "negatives"]].to_numpy().tolist() == [[2, 1], [2, 1]]
    assert list(BRAIN.spec_of(cohort).attributes) == ["sex", "age", "sex,age"]


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_the_studys_chest_audit_runs_on_chexpert_by_race(client, twin, platform, tmp_path):
    write_chexpert(tmp_path / "many", patients=18)
    cohort = await ingested(platform, *sent(client, twin, chest_folder(tmp_path / "many")))
    report = await audited(platform, CHEST.spec_of(cohort))
    assert report["cohort"]["patients"] == 23
    by_race = [cell for cell in report["cells"] if cell["attribute"] == "race" and cell["estimate"] is not None]
    assert {cell["group"] for cell in by_race} >= {"White", "Black", "Asian"}
    assert {cell["pipeline"] for cell in by_race} == {"original", "degraded", "unet", "pix2pix", "ir-sde", "flow"}


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_the_studys_brain_audit_runs_on_ucsf_pdgm(client, twin, platform, ucsf):
    cohort = await ingested(platform, *sent(client, twin, folder_of(BRAIN, ucsf)))
    report = await audited(platform, BRAIN.spec_of(cohort))
    assert {cell["task"] for cell in report["cells"]} >= {"classification", "segmentation"}


def test_the_folder_inside_chexperts_is_answered_with_the_one_that_its_paths_start_in(client, chexpert):
    inside = chexpert / "CheXpert-v1.0-small"
    with pytest.raises(InvalidInput, match="one folder higher") as caught:
        client.cohorts.create(inside, table=inside / "valid.csv", schema="chexpert", progress=False)
    assert str(chexpert) in caught.value.hint
