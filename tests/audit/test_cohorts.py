"""From files to a cohort through the room's own call and a real worker, and what the call refuses."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evenhand.cohort.v1 import cohort_pb2, cohort_service_pb2
from google.longrunning import operations_pb2

from services.audit.cohorts import Cohorts
from services.errors import InvalidInput, NotFound, ServiceError
from tests.audit.world import World

SCHEMA = """
record: id
patient: patient
image: file
attributes:
- {name: sex, column: sex, levels: [Female, Male], assigned_by: record}
labels: [Edema]
"""
TABLE = "id,patient,file,sex,Edema\nr0,p0,a.npy,Female,1\nr1,p1,b.npy,Male,0\nr2,p1,lost.npy,Male,0\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    for name in ("a", "b"):
        (tmp_path / "uploads" / "one").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name)).random((20, 20), np.float32)
        np.save(tmp_path / "uploads" / "one" / f"{name}.npy", pixels)
    (tmp_path / "models").mkdir()
    return World(tmp_path)


@pytest.fixture
def cohorts(world: World) -> Cohorts:
    return Cohorts(world.ledger(), world.store(), world.settings)


def request(**fields: Any) -> bytes:
    chosen = {"upload": "uploads/one", "table_csv": TABLE, "schema_yaml": SCHEMA, "display_name": "two"} | fields
    message = cohort_service_pb2.CreateCohortRequest(**{key: value for key, value in chosen.items() if value})
    return message.SerializeToString()


async def ingested(world: World, cohorts: Cohorts, data: bytes) -> cohort_pb2.Cohort:
    message = operations_pb2.Operation.FromString(await cohorts.create(data))
    done = await world.finish(world.ledger().get_operation(message.name), world.worker())
    assert done.state == "succeeded", done.error
    get = cohort_service_pb2.GetCohortRequest(name=done.resource).SerializeToString()
    return cohort_pb2.Cohort.FromString(await cohorts.get(get))


async def test_a_request_is_answered_again_even_when_its_upload_is_gone(world: World, cohorts: Cohorts) -> None:
    data = request(request_id=str(uuid.uuid4()))
    first = await cohorts.create(data)
    shutil.rmtree(world.settings.uploads / "one")
    again = await cohorts.create(data)
    names = [operations_pb2.Operation.FromString(answer).name for answer in (first, again)]
    assert names[0] == names[1]


async def test_an_upload_becomes_a_cohort_and_refused_rows_are_listed(world: World, cohorts: Cohorts) -> None:
    cohort = await ingested(world, cohorts, request())
    assert (cohort.display_name, cohort.records, cohort.patients) == ("two", 2, 2)
    assert [(row.row, row.file) for row in cohort.refused] == [(3, "lost.npy")]
    assert cohort.refused_count == 1 and cohort.refused[0].reason
    assert [level.level for level in cohort.attributes[0].levels] == ["Female", "Male"]
    assert cohort.HasField("create_time") and not cohort.has_masks


async def test_the_same_files_give_the_same_digest_from_an_upload_and_from_a_folder(
    world: World, cohorts: Cohorts
) -> None:
    (world.folder / "uploads" / "one" / "rows.csv").write_text(TABLE)
    folder = str(world.folder / "uploads" / "one")
    first = await ingested(world, cohorts, request())
    second = await ingested(world, cohorts, request(upload="", folder=folder, table_csv="", table_path="rows.csv"))
    assert first.name != second.name
    assert first.digest == second.digest


PEOPLE = "who,race\np0,White\np0,White\np9,Black\n"
WITH_RACE = f"{SCHEMA}demographics: {{patient: who, attributes: [{{name: race, column: race}}]}}\n"


async def test_a_second_table_tells_more_of_the_patients_and_how_many_it_knew(world: World, cohorts: Cohorts) -> None:
    (world.folder / "uploads" / "one" / "people.csv").write_text(PEOPLE)
    cohort = await ingested(world, cohorts, request(schema_yaml=WITH_RACE, demographics_csv=PEOPLE))
    sex, race = cohort.attributes
    assert (sex.name, race.name) == ("sex", "race")
    assert [(level.level, level.records) for level in race.levels] == [("White", 1)]
    assert race.missing == 1
    assert cohort.demographics == cohort_pb2.Demographics(matched=1, unmatched=1)
    as_file = request(schema_yaml=WITH_RACE, demographics_path="people.csv", display_name="other")
    assert (await ingested(world, cohorts, as_file)).digest == cohort.digest


async def test_without_a_second_table_the_schemas_words_about_one_leave_no_trace(
    world: World, cohorts: Cohorts
) -> None:
    plain = await ingested(world, cohorts, request())
    prepared = await ingested(world, cohorts, request(schema_yaml=WITH_RACE))
    assert prepared.digest == plain.digest
    assert [attribute.name for attribute in prepared.attributes] == ["sex"]
    assert not prepared.HasField("demographics")


REFUSED = [
    ({"schema_yaml": WITH_RACE, "demographics_path": "people.csv"}, NotFound, "TABLE_NOT_FOUND", "demographics_path"),
    ({"demographics_csv": PEOPLE}, InvalidInput, "DEMOGRAPHICS_NOT_IN_SCHEMA", "schema_yaml.demographics"),
    ({"upload": "uploads/nobody"}, NotFound, "UPLOAD_NOT_FOUND", "upload"),
    ({"upload": "uploads/.."}, NotFound, "UPLOAD_NOT_FOUND", "upload"),
    ({"upload": "", "folder": "/etc"}, InvalidInput, "FOLDER_NOT_ALLOWED", "folder"),
    ({"table_csv": "", "table_path": "../../ledger.db"}, NotFound, "TABLE_NOT_FOUND", "table_path"),
    ({"table_csv": "", "table_path": "rows.csv"}, NotFound, "TABLE_NOT_FOUND", "table_path"),
    ({"table_csv": "", "table_path": "x" * 300}, NotFound, "TABLE_NOT_FOUND", "table_path"),
    ({"table_csv": ""}, InvalidInput, "TABLE_NOT_FOUND", "table"),
]


@pytest.mark.parametrize(("fields", "kind", "reason", "field"), REFUSED, ids=[f"{row[2]}-{row[3]}" for row in REFUSED])
async def test_a_source_outside_the_allowed_folders_is_refused(
    cohorts: Cohorts, fields: dict[str, str], kind: type[ServiceError], reason: str, field: str
) -> None:
    with pytest.raises(kind) as caught:
        await cohorts.create(request(**fields))
    assert (caught.value.reason, caught.value.field) == (reason, field)


async def test_a_link_out_of_an_import_root_is_refused(tmp_path: Path, cohorts: Cohorts) -> None:
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(InvalidInput) as caught:
        await cohorts.create(request(upload="", folder=str(tmp_path / "link")))
    assert caught.value.reason == "FOLDER_NOT_ALLOWED"


async def test_a_missing_folder_under_an_import_root_is_not_found(tmp_path: Path, cohorts: Cohorts) -> None:
    with pytest.raises(NotFound) as caught:
        await cohorts.create(request(upload="", folder=str(tmp_path / "nothing")))
    assert caught.value.reason == "FOLDER_NOT_FOUND"


async def test_a_folder_name_beyond_the_file_system_is_not_found(tmp_path: Path, cohorts: Cohorts) -> None:
    with pytest.raises(NotFound):
        await cohorts.create(request(upload="", folder=str(tmp_path / ("x" * 300))))


@pytest.mark.parametrize(
    ("table", "reason", "field"),
    [
        ("id,file\nr0,a.npy\n", "COLUMN_NOT_FOUND", "schema_yaml.patient"),
        (TABLE.replace("Male,0", "Male,perhaps"), "LABEL_VALUE_NOT_IN_SCHEMA", "table.Edema"),
        (TABLE.replace("r1", "r0"), "DUPLICATE_RECORD_ID", "table.id"),
    ],
)
async def test_a_wrong_table_is_an_error_of_the_request_and_starts_nothing(
    world: World, cohorts: Cohorts, table: str, reason: str, field: str
) -> None:
    (world.folder / "uploads" / "one" / "rows.csv").write_text(table)
    for fields in ({"table_csv": table}, {"table_csv": "", "table_path": "rows.csv"}, {"table_csv": ""}):
        with pytest.raises(InvalidInput) as caught:
            await cohorts.create(request(**fields))
        assert (caught.value.reason, caught.value.field) == (reason, field)
    assert world.ledger().list_operations()[0] == []


async def test_a_table_in_another_encoding_is_refused_by_its_name(world: World, cohorts: Cohorts) -> None:
    (world.folder / "uploads" / "one" / "rows.csv").write_bytes(TABLE.replace("p0", "Jos\xe9").encode("latin-1"))
    with pytest.raises(InvalidInput) as caught:
        await cohorts.create(request(table_csv="", table_path="rows.csv"))
    assert (caught.value.reason, caught.value.field) == ("TABLE_MALFORMED", "rows.csv")


async def test_a_broken_schema_is_refused_at_once(cohorts: Cohorts) -> None:
    with pytest.raises(ServiceError) as caught:
        await cohorts.create(request(schema_yaml="image: [file"))
    assert caught.value.status == "INVALID_ARGUMENT"


async def test_cohorts_are_listed_newest_first(world: World, cohorts: Cohorts) -> None:
    names = [(await ingested(world, cohorts, request(display_name=str(number)))).name for number in range(2)]
    answer = await cohorts.list(cohort_service_pb2.ListCohortsRequest().SerializeToString())
    listed = cohort_service_pb2.ListCohortsResponse.FromString(answer)
    assert [cohort.name for cohort in listed.cohorts] == names[::-1]
