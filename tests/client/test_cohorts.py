import pytest
from evenhand import uploads
from evenhand.calls import Retry
from evenhand.client import Client
from evenhand.cohort.v1 import cohort_pb2
from evenhand.cohorts import Cohort
from evenhand.errors import InvalidInput
from evenhand.uploads import Outgoing, files_to_send

from services import errors as platform


def create(client, folder, **more):
    arguments = {"schema": folder / "schema.yaml", "table": folder / "rows.csv", "progress": False, **more}
    return client.cohorts.create(folder / "images", **arguments)


def test_only_files_that_the_table_names_are_sent_whole(client, twin, folder):
    create(client, folder)
    assert twin.uploads == {"uploads/1": {"p1/a.dcm": b"p1/a.dcm" * 10, "b.dcm": b"b.dcm" * 10}}


def test_without_a_table_all_visible_files_are_sent(client, twin, folder):
    create(client, folder, table=None, schema="ucsf-pdgm")
    assert set(twin.uploads["uploads/1"]) == {"p1/a.dcm", "b.dcm", "unlisted.dcm"}
    assert twin.called("CreateCohort")[0].schema_yaml == "ucsf-pdgm"


def test_schema_and_table_travel_as_text(client, twin, folder):
    (folder / "rows.csv").write_text("\ufefffile,sex,Edema\nb.dcm,Male,0\n", encoding="utf-8")
    create(client, folder, display_name="first")
    request = twin.called("CreateCohort")[0]
    assert request.schema_yaml == "image: file\n"
    assert request.table_csv == "file,sex,Edema\nb.dcm,Male,0\n"
    assert (request.upload, request.display_name) == ("uploads/1", "first")


def test_a_large_table_travels_as_a_file_because_messages_are_bounded(client, twin, folder):
    rows = "".join(f"b.dcm,Male,{index}\n" for index in range(100_000))
    (folder / "rows.csv").write_text("file,sex,Edema\n" + rows)
    cohort = create(client, folder).result(20)
    request = twin.called("CreateCohort")[0]
    assert request.table_csv == ""
    assert twin.uploads["uploads/1"][request.table_path].decode().endswith(rows[-20:])
    assert cohort.records == 100_000


def test_a_second_table_travels_beside_the_first_and_as_a_file_if_large(client, twin, folder):
    people = folder / "people.csv"
    people.write_text("\ufeffPATIENT,PRIMARY_RACE\np1,White\n", encoding="utf-8")
    create(client, folder, demographics=people)
    assert twin.called("CreateCohort")[0].demographics_csv == "PATIENT,PRIMARY_RACE\np1,White\n"
    people.write_text("PATIENT,PRIMARY_RACE\n" + "".join(f"p{index},White\n" for index in range(100_000)))
    create(client, folder, demographics=people)
    request = twin.called("CreateCohort")[1]
    assert (request.demographics_csv, bool(request.table_csv)) == ("", True)
    assert twin.uploads[request.upload][request.demographics_path].decode() == people.read_text()


def test_a_spreadsheet_is_answered_with_how_to_save_it(client, folder):
    sheet = folder / "CHEXPERT DEMO.xlsx"
    sheet.write_bytes(b"PK\x03\x04\xff")
    with pytest.raises(InvalidInput, match="cannot read the demographics") as caught:
        create(client, folder, demographics=sheet)
    assert "CSV" in caught.value.hint


def test_of_a_folder_whose_table_names_no_files_only_those_that_fit_are_sent(client, twin, folder):
    create(client, folder, table=None, files=["*b.dcm", "*/a.dcm"])
    assert set(twin.uploads["uploads/1"]) == {"p1/a.dcm", "b.dcm"}
    create(client, folder, files=["*/a.dcm"])  # the table names both
    assert set(twin.uploads["uploads/2"]) == {"p1/a.dcm", "b.dcm"}
    with pytest.raises(InvalidInput, match=r"no file of the folder fits \*.nii"):
        create(client, folder, table=None, files=["*.nii"])


def test_a_broken_upload_is_sent_again_whole(twin, folder):
    with Client(twin.address, retry=Retry(first_s=0.001)) as client:
        twin.failures["UploadFiles"] = [platform.Unavailable("cut", retry_after_s=0.001)]
        twin.lost_replies["UploadFiles"] = 1
        create(client, folder).result(10)
    upload = twin.called("CreateCohort")[0].upload
    assert twin.uploads[upload]["b.dcm"] == b"b.dcm" * 10


def test_many_files_go_in_several_streams_of_one_upload(client, twin, folder, monkeypatch):
    monkeypatch.setattr(uploads, "STREAM_FILES", 2)
    for index in range(5):
        (folder / "images" / f"{index}.png").write_bytes(b"x" * index)
    create(client, folder, table=None)
    assert len(twin.called("UploadFiles")) == 4
    assert len(twin.uploads) == 1
    assert len(twin.uploads["uploads/1"]) == 8
    assert twin.uploads["uploads/1"]["0.png"] == b""


def test_a_large_file_goes_in_pieces_and_arrives_whole(tmp_path):
    data = bytes(range(256)) * 5000
    (tmp_path / "large").write_bytes(data)
    pieces = list(Outgoing("large", tmp_path / "large").pieces())
    assert len(pieces) == 3
    assert b"".join(pieces) == data


def test_progress_of_an_upload_is_on_standard_error(client, folder, capfd):
    create(client, folder, progress=True)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "130/130 bytes" in captured.err


@pytest.mark.parametrize("what", ["images", "schema", "table"])
def test_what_is_missing_on_disk_is_named_before_anything_is_sent(client, twin, folder, what):
    arguments = {"images": folder / "images", "schema": folder / "schema.yaml", "table": folder / "rows.csv"}
    arguments[what] = folder / "absent.yaml"
    with pytest.raises(InvalidInput) as caught:
        client.cohorts.create(arguments.pop("images"), **arguments)
    assert "absent.yaml" in caught.value.field
    assert twin.calls == []


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="no files"):
        files_to_send(tmp_path, "")


def test_windows_separators_and_dots_in_the_table_are_understood(folder):
    assert [file.path for file in files_to_send(folder / "images", "file\n./p1\\a.dcm\n")] == ["p1/a.dcm"]


def test_a_folder_on_the_server_sends_nothing(client, twin, folder):
    client.cohorts.create_from_folder("/data/chest", schema="chexpert").result(10)
    assert twin.called("UploadFiles") == []
    assert twin.called("CreateCohort")[0].folder == "/data/chest"


def test_tables_in_a_folder_on_the_server_are_read_there(client, twin, folder):
    people = folder / "people.csv"
    people.write_text("who,race\n")
    client.cohorts.create_from_folder(
        str(folder / "images"), schema="chexpert", table=folder / "images/valid/rows.csv", demographics=people
    )
    request = twin.called("CreateCohort")[0]
    assert (request.table_path, request.table_csv) == ("valid/rows.csv", "")
    assert (request.demographics_path, request.demographics_csv) == ("", "who,race\n")


def test_a_cohort_says_how_its_demographics_joined():
    assert Cohort(cohort_pb2.Cohort()).demographics == {}
    joined = cohort_pb2.Demographics(matched=7, conflicting=1)
    cohort = Cohort(cohort_pb2.Cohort(demographics=joined))
    assert cohort.demographics == {"matched": 7, "unmatched": 0, "conflicting": 1}
    assert cohort.to_dict()["demographics"] == cohort.demographics


def test_cohorts_show_levels_labels_and_refusals_as_typed_tables(client, folder):
    cohort = create(client, folder).result(10)
    assert cohort.attributes == {"sex": ["Female"]}
    assert cohort.labels == ["Edema"]
    assert dict(cohort.to_pandas().dtypes.astype(str)) == {
        "attribute": "str", "level": "str", "records": "Int64", "patients": "Int64",
    }  # fmt: skip
    assert list(cohort.refused["reason"]) == ["FILE_UNDECODABLE"]
    assert list(cohort.label_counts()["positives"]) == [1]
    assert cohort.to_dict()["refused"] == 1
    assert "Female" in cohort._repr_html_()
    assert client.cohorts.get(cohort.name).digest == cohort.digest
    assert [found.name for found in client.cohorts.list()] == [cohort.name]
