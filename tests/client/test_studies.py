import json
import re
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer
import yaml
from evenhand import commands, following
from evenhand.calls import Retry
from evenhand.client import Client
from evenhand.cohort.v1 import cohort_pb2
from evenhand.cohorts import Cohort
from evenhand.commands.console import ExitCode
from evenhand.errors import InvalidInput, NotFound, OperationFailed, Unavailable, UnknownAttribute
from evenhand.following import follow_together
from evenhand.studies import RESERVED, read_study
from evenhand.study_runs import COHORTS, Folder, check_models, folder_of, run_study

from services import errors as platform
from services.audit.cohort.schema import load_schema
from services.audit.wire import audit_spec
from services.training.recipes import RECIPES

SHIPPED = Path(__file__).resolve().parents[2] / "deploy/studies/reconstruction.yaml"
STUDY = {
    "name": "small",
    "audits": [
        {
            "name": name,
            "schema": "phantom-chest",
            "phantoms": {"kind": "chest", "patients": 3, "seed": seed},
            "optional_attributes": ["race"],
            "spec": {
                "pipelines": [
                    {"name": "original", "stages": [{"classify": "chest-classifier"}]},
                    {"name": "unet", "stages": [{"reconstruct": "xray-unet"}, {"classify": "chest-classifier"}]},
                ],
                "attributes": ["sex", "race", "sex,race"],
                "reference_groups": {"sex": "Male", "race": "White"},
            },
        }
        for seed, name in enumerate(("left", "right"))
    ],
}


def changed(**fields):
    """The small study with fields of its first audit replaced; None takes one away."""
    plain = json.loads(json.dumps(STUDY))
    plain["audits"][0] = {key: value for key, value in (plain["audits"][0] | fields).items() if value is not None}
    return plain


@pytest.fixture
def write(tmp_path):
    def write(plain):
        path = tmp_path / "study.yaml"
        path.write_text(plain if isinstance(plain, str) else yaml.safe_dump(plain))
        return path

    return write


@pytest.fixture
def study(write):
    return read_study(write(STUDY))


@pytest.fixture
def sources(folder):
    """The same folder for both audits."""
    source = Folder(folder / "images", folder / "rows.csv", str(folder / "schema.yaml"))
    return {"left": source, "right": source}


def quietly(operations):
    follow_together(operations, progress=False)


def cohort_with(*attributes):
    return Cohort(cohort_pb2.Cohort(name="cohorts/1", attributes=[{"name": name} for name in attributes]))


# The document.


def test_the_shipped_study_says_what_the_platform_accepts():
    study = read_study(SHIPPED)
    assert [audit.name for audit in study.audits] == ["chest", "brain"]
    families = ["original", "degraded", "unet", "pix2pix", "ir-sde", "flow"]
    for audit in study.audits:
        spec = audit_spec(audit.spec_of(cohort_with("sex", "age", "race")))
        assert [pipeline.name for pipeline in spec.pipelines] == families
        assert spec.baseline == "original"
        assert spec.attributes == ("sex", "age", "race", "sex,age", "sex,race", "age,race")
        readings = {
            tuple(s for s in p.stages if getattr(s, "kind", "") in ("classify", "segment")) for p in spec.pipelines
        }
        assert len(readings) == 1  # the same models read every pipeline
        assert {model.removeprefix("models/") for _, model in audit.models()} <= set(RECIPES)
        assert (audit.phantoms.patients, audit.phantoms.world) == (600, "planted")
        assert audit.phantoms.seed not in {recipe.seed * role for recipe in RECIPES.values() for role in (1, 2, 3)}


def test_the_shipped_studys_degradation_is_what_its_reconstructors_learned_to_undo():
    checked = 0
    for audit in read_study(SHIPPED).audits:
        for pipeline in audit_spec(audit.spec_of(cohort_with("sex", "age", "race"))).pipelines[2:]:
            degraded, restored, *_ = pipeline.stages
            learned = RECIPES[restored.model].degradation
            assert learned.items() <= dict(degraded.parameters).items()
            checked += len(learned)
    assert checked == 2 * 4 * 2


def test_the_shipped_study_reads_what_ucsf_pdgm_and_the_phantoms_know_of_every_tumour():
    brain = read_study(SHIPPED).audits[1]
    classifiers = ["tumour-type-classifier", "tumour-grade-classifier"]
    for pipeline in audit_spec(brain.spec_of(cohort_with("sex", "age", "race"))).pipelines:
        reading = [stage for stage in pipeline.stages if getattr(stage, "kind", "") in ("classify", "segment")]
        assert [stage.model for stage in reading] == [*classifiers, "tumour-segmenter"]
    read = {label for name in classifiers for label in RECIPES[name].labels}
    for schema in (brain.schema, f"phantom-{brain.phantoms.kind}"):
        assert {column.name for column in load_schema(schema).labels} == read


@pytest.mark.parametrize(
    ("plain", "field", "hint"),
    [
        (STUDY | {"audit": []}, "study.audit", "audits"),
        ({"name": "small"}, "study.audits", "fields"),
        (STUDY | {"audits": []}, "audits", ""),
        (STUDY | {"name": "../up"}, "name", ""),
        ([STUDY], "study", ""),
        (STUDY | {"audits": STUDY["audits"][:1] * 2}, "audits[1].name", ""),
        (changed(phantom={"kind": "chest"}), "audits[0].phantom", "did you mean phantoms?"),
        (changed(schema=None), "audits[0].schema", "fields"),
        (changed(schema=7), "audits[0].schema", ""),
        (changed(name="Left lung"), "audits[0].name", ""),
        (changed(phantoms={"kind": "chest", "patient": 3}), "audits[0].phantoms.patient", "did you mean patients?"),
        (changed(phantoms={"kind": "chest", "patients": 0}), "audits[0].phantoms.patients", ""),
        (changed(phantoms={"kind": "chest", "seed": True}), "audits[0].phantoms.seed", ""),
        (changed(optional_attributes="race"), "audits[0].optional_attributes", ""),
        (changed(files="*_FLAIR.nii.gz"), "audits[0].files", ""),
        (changed(spec={"atributes": ["sex"]}), "audits[0].spec.atributes", "did you mean attributes?"),
        (changed(spec={"cohort": "cohorts/1"}), "audits[0].spec.cohort", "cohorts/…"),
        (changed(spec={"pipelines": [{"name": "a", "stage": []}]}), "audits[0].spec", "stages"),
        (changed(spec=[]), "audits[0].spec", ""),
    ],
)
def test_what_is_wrong_with_a_document_is_named(write, plain, field, hint):
    with pytest.raises(InvalidInput) as caught:
        read_study(write(plain))
    assert caught.value.field == field
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", RESERVED)
def test_an_audit_is_not_named_like_an_option(write, name):
    with pytest.raises(InvalidInput, match="option"):
        read_study(write(changed(name=name)))


def test_what_is_no_yaml_or_not_there_is_invalid_input(write, tmp_path):
    for path in (write("name: [small"), tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(InvalidInput) as caught:
            read_study(path)
        assert caught.value.field == str(path)


def test_a_schema_beside_the_document_is_found_from_anywhere(write, tmp_path):
    (tmp_path / "mine.yaml").write_text("image: file\n")
    first = read_study(write(changed(schema="mine.yaml"))).audits[0]
    assert first.schema == str(tmp_path / "mine.yaml")


# Models.


def test_other_models_take_the_place_of_the_named_ones_in_every_pipeline(study):
    other = study.with_models({"chest-classifier": "densenet@2", "models/xray-unet": "models/mine"})
    for audit in other.audits:
        assert audit.models() == [("classify", "models/densenet@2"), ("reconstruct", "models/mine")]
    assert study.audits[0].models()[0] == ("classify", "models/chest-classifier")
    with pytest.raises(InvalidInput, match=r"'unet'.*chest-classifier, xray-unet"):
        study.with_models({"unet": "mine"})


def test_models_that_are_not_served_are_named_with_the_ones_that_are(client, twin, study, sources, tmp_path):
    other = study.with_models({"chest-classifier": "tumour-type-classifier", "xray-unet": "xray-flow@3"})
    with pytest.raises(NotFound) as caught:
        run_study(client, other, sources, tmp_path / "out", quietly)
    assert "tumour-type-classifier, xray-flow@3" in caught.value.message
    assert "chest-classifier, xray-unet" in caught.value.message
    assert "tumour-segmenter" not in caught.value.message  # of another task
    assert "--model" in caught.value.hint
    assert not twin.called("CreateCohort")
    assert not twin.called("CreateAudit")


def test_a_version_of_a_served_model_is_left_to_the_platform_to_find(client, study):
    assert check_models(client, study.with_models({"xray-unet": "xray-unet@9"})) == {
        "models/chest-classifier": "c" * 64
    }


# Attributes.


def test_optional_attributes_that_a_cohort_lacks_are_left_out_with_their_intersections(study):
    spec = study.audits[0].spec_of(cohort_with("sex", "age"))
    assert list(spec.attributes) == ["sex"]
    assert dict(spec.reference_groups) == {"sex": "Male"}
    assert spec.cohort == "cohorts/1"
    whole = study.audits[0].spec_of(cohort_with("sex", "race"))
    assert list(whole.attributes) == ["sex", "race", "sex,race"]
    assert dict(whole.reference_groups) == {"sex": "Male", "race": "White"}


def test_an_attribute_that_is_not_optional_is_refused_with_its_remedy(study):
    with pytest.raises(UnknownAttribute, match="no attribute sex") as caught:
        study.audits[0].spec_of(cohort_with("race"))
    assert "optional_attributes: [sex]" in caught.value.hint
    assert caught.value.field == "audits[left].spec.attributes"


def test_a_cohort_that_lacks_all_optional_attributes_is_refused(write):
    study = read_study(write(changed(optional_attributes=["sex", "race"])))
    with pytest.raises(UnknownAttribute):
        study.audits[0].spec_of(cohort_with("age"))


# Running.


def test_one_run_leaves_cohorts_audits_artifacts_and_a_page_that_links_them(client, twin, study, sources, tmp_path):
    out = tmp_path / "out"
    audits = run_study(client, study, sources, out, quietly)
    assert list(audits) == ["left", "right"]
    assert len(twin.cohorts) == 1  # the same bytes are ingested once
    for request in twin.called("CreateAudit"):
        assert request.spec.cohort == "cohorts/1"
        assert list(request.spec.attributes) == ["sex"]  # the twin's cohort has no race
    for name in audits:
        assert {path.name: path.read_bytes() for path in (out / name).iterdir()} == twin.artifacts
    page = (out / "index.html").read_text()
    assert re.findall(r'href="([^"]*\.html)"', page) == ["left/report.html", "right/report.html"]
    assert "gaps between groups" in page
    assert "insufficient evidence" in page


def test_the_same_study_again_repeats_nothing(client, twin, study, sources, tmp_path):
    first = run_study(client, study, sources, tmp_path / "out", quietly)
    before = {method: len(twin.called(method)) for method in ("UploadFiles", "CreateCohort", "ReadArtifact")}
    operations = len(twin.operations)
    (tmp_path / "out/right/report.html").write_text("cut sho")
    again = run_study(client, study, sources, tmp_path / "out", quietly)
    assert {name: audit.name for name, audit in again.items()} == {name: audit.name for name, audit in first.items()}
    assert len(twin.operations) == operations
    before["ReadArtifact"] += 1  # only the file that was not whole
    assert {method: len(twin.called(method)) for method in before} == before
    assert (tmp_path / "out/right/report.html").read_bytes() == twin.artifacts["report.html"]


def test_a_run_that_was_interrupted_is_met_where_it_was(client, twin, study, sources, tmp_path):
    def interrupted(operations):
        if any(name in ("left", "right") and "audits" in str(op.metadata.resource) for name, op in operations.items()):
            raise KeyboardInterrupt
        quietly(operations)

    for stop in (lambda operations: (_ for _ in ()).throw(KeyboardInterrupt), interrupted):
        with pytest.raises(KeyboardInterrupt):
            run_study(client, study, sources, tmp_path / "out", stop)
    run_study(client, study, sources, tmp_path / "out", quietly)
    assert len(twin.operations) == 3  # one ingest, two audits


@pytest.mark.parametrize("what", ["table", "image", "schema"])
def test_other_bytes_make_another_cohort_and_other_audits(*, client, twin, study, sources, folder, tmp_path, what):
    run_study(client, study, sources, tmp_path / "out", quietly)
    changed_file = {"table": "rows.csv", "image": "images/b.dcm", "schema": "schema.yaml"}[what]
    (folder / changed_file).write_bytes((folder / changed_file).read_bytes() + b"\n")
    run_study(client, study, sources, tmp_path / "out", quietly)
    assert len(twin.cohorts) == 2
    assert len(twin.operations) == 6


def test_another_version_of_a_model_is_audited_anew(client, twin, study, sources, tmp_path):
    run_study(client, study, sources, tmp_path / "out", quietly)
    twin.models["models/xray-unet"].digest = "y" * 64
    run_study(client, study, sources, tmp_path / "out", quietly)
    assert len(twin.operations) == 1 + 4
    assert len(twin.cohorts) == 1


def test_what_was_deleted_or_belongs_to_another_platform_is_made_again(client, twin, study, sources, tmp_path):
    first = run_study(client, study, sources, tmp_path / "out", quietly)
    client.audits.delete(first["left"].name)
    again = run_study(client, study, sources, tmp_path / "out", quietly)
    assert again["left"].name != first["left"].name
    assert again["right"].name == first["right"].name
    memory = tmp_path / "out" / COHORTS
    memory.write_text(memory.read_text().replace("operations/1", "operations/elsewhere"))
    run_study(client, study, sources, tmp_path / "out", quietly)
    assert len(twin.cohorts) == 2


def test_an_audit_that_fails_costs_the_other_nothing_and_is_asked_again(client, twin, study, sources, tmp_path):
    def fail_left(operations):
        if any("audits" in operation.metadata.resource for operation in operations.values()):
            twin.fail_operation_with = platform.Internal("a worker died")
            quietly({"left": operations["left"]})
            twin.fail_operation_with = None
        quietly(operations)

    with pytest.raises(OperationFailed, match="a worker died"):
        run_study(client, study, sources, tmp_path / "out", fail_left)
    assert (tmp_path / "out/right/report.json").is_file()
    assert "No report" in (tmp_path / "out/index.html").read_text()
    run_study(client, study, sources, tmp_path / "out", quietly)
    assert (tmp_path / "out/left/report.json").is_file()
    assert "No report" not in (tmp_path / "out/index.html").read_text()


def test_following_puts_up_with_an_absent_server(twin, spec):
    twin.failures["WaitOperation"] = [platform.Unavailable("restarting") for _ in range(4)]
    with Client(twin.address, retry=Retry(attempts=1)) as client:
        operations = {name: client.audits.create(spec) for name in ("one", "two")}
        follow_together(operations)
    assert {operation.state for operation in operations.values()} == {"succeeded"}


def test_following_gives_up_on_a_server_that_stays_away(twin, spec, monkeypatch):
    monkeypatch.setattr(following, "OUTAGE_S", 0.2)
    twin.failures["WaitOperation"] = [platform.Unavailable("gone") for _ in range(100)]
    with Client(twin.address, retry=Retry(attempts=1)) as client, pytest.raises(Unavailable):
        follow_together({"one": client.audits.create(spec)})


# Folders.


def test_a_folders_own_schema_and_only_table_are_taken(study, folder, tmp_path):
    audit = study.audits[0]
    found = folder_of(audit, folder)
    assert (found.table, found.schema) == (folder / "rows.csv", str(folder / "schema.yaml"))
    (folder / "schema.yaml").unlink()
    assert folder_of(audit, folder).schema == "phantom-chest"
    (folder / "more.csv").write_text("file\n")
    with pytest.raises(InvalidInput, match=r"more.csv, rows.csv") as caught:
        folder_of(audit, folder)
    assert "--left-table" in caught.value.hint
    assert folder_of(audit, folder, folder / "more.csv").table == folder / "more.csv"
    with pytest.raises(InvalidInput, match="no such file"):
        folder_of(audit, folder, folder / "absent.csv")
    with pytest.raises(InvalidInput, match="no such folder"):
        folder_of(audit, tmp_path / "absent")
    assert folder_of(audit, folder / "images").table is None  # the schema finds the records


def test_a_folders_demographics_are_no_table_of_records_and_change_its_digest(study, folder):
    people = folder / "people.csv"
    people.write_text("PATIENT,PRIMARY_RACE\n")
    found = folder_of(study.audits[0], folder, demographics=people)
    assert (found.table, found.demographics) == (folder / "rows.csv", people)
    before = found.digest()
    assert before != folder_of(study.audits[0], folder, folder / "rows.csv").digest()
    people.write_text("PATIENT,PRIMARY_RACE\np1,White\n")
    assert found.digest() != before
    with pytest.raises(InvalidInput, match="no such file") as caught:
        folder_of(study.audits[0], folder, folder / "rows.csv", folder / "absent.csv")
    assert caught.value.field == "--left-demographics"


# The command line.

phantoms = typer.Typer()


@phantoms.callback()
def _group() -> None:
    """Stands for the platform's plug-in."""


@phantoms.command()
def write_cohort(kind: str = "", world: str = "", patients: int = 0, seed: int = 0, out: Path = Path()) -> None:
    out.mkdir(parents=True)
    (out / "a.png").write_bytes(f"{kind} {world} {patients} {seed}".encode())
    (out / "rows.csv").write_text("file,sex,Edema\na.png,Female,1\n")
    (out / "schema.yaml").write_text("image: file\n")


phantoms.registered_commands[0].name = "write"


class Plugin(EntryPoint):
    def load(self):
        return phantoms


@pytest.fixture(autouse=True)
def plug_ins(monkeypatch):
    found = [Plugin("phantoms", "tests:phantoms", "evenhand.commands")]
    monkeypatch.setattr(commands, "entry_points", lambda group: found)
    return found


def test_one_command_draws_phantoms_once_and_runs_all_audits(run, twin, write, tmp_path):
    arguments = ("studies", "run", write(STUDY), "--out", tmp_path / "out")
    code, out, _ = run(*arguments)
    assert code == 0
    assert "index.html" in out
    assert "gaps between groups" in out
    assert twin.uploads["uploads/1"] == {"a.png": b"chest null 3 0"}
    assert twin.uploads["uploads/2"] == {"a.png": b"chest null 3 1"}
    code, out, _ = run(*arguments, "--json")
    assert code == 0
    assert set(json.loads(out)) == {"left", "right"}
    assert len(twin.uploads) == 2


def test_folders_and_cohorts_take_the_place_of_phantoms(*, run, twin, write, folder, plug_ins, tmp_path):
    plug_ins.clear()
    joined = cohort_pb2.Demographics(matched=7, unmatched=2)
    mine = cohort_pb2.Cohort(name="cohorts/mine", attributes=[{"name": "sex"}], demographics=joined)
    twin.cohorts[mine.name] = mine
    (folder / "people.csv").write_text("PATIENT,PRIMARY_RACE\n")
    tables = (f"--left-table={folder / 'rows.csv'}", "--left-demographics", folder / "people.csv")
    where = ("--left", folder, *tables, "--right", "cohorts/mine")
    code, out, err = run("studies", "run", *where, write(STUDY), "--out", tmp_path / "out")
    assert code == 0, err
    assert out.count("patients in the demographics: 7 matched, 2 unmatched, 0 conflicting") == 1
    assert [request.spec.cohort for request in twin.called("CreateAudit")] == ["cohorts/2", "cohorts/mine"]
    assert [request.demographics_csv for request in twin.called("CreateCohort")] == ["PATIENT,PRIMARY_RACE\n"]


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--lefft", "x"), ExitCode.INVALID, "--left, --left-demographics, --left-table, --right"),
        (("--left-table", "x"), ExitCode.INVALID, "--left DIR"),
        (("--right", "cohorts/mine", "--right-demographics", "x"), ExitCode.INVALID, "belongs to a folder"),
        (("--left",), ExitCode.INVALID, "needs a value"),
        (("--left", "absent"), ExitCode.INVALID, "no such folder"),
        (("--right", "cohorts/absent"), ExitCode.NOT_FOUND, "evenhand cohorts list"),
        (("--model", "chest-classifier"), ExitCode.INVALID, "NAME=OTHER"),
        (("--model", "xray-unet=xray-flow"), ExitCode.NOT_FOUND, "xray-flow"),
        (("second.yaml",), ExitCode.INVALID, "one study at a time"),
    ],
)
def test_a_wrong_option_is_answered_with_what_to_do(*, run, twin, write, tmp_path, more, code, said):
    found, _, err = run("studies", "run", write(STUDY), "--out", tmp_path / "out", *more)
    assert (found, said in err) == (code, True), err
    assert not twin.called("CreateCohort")


def test_without_phantoms_a_folder_is_asked_for(run, write, tmp_path):
    code, _, err = run("studies", "run", write(changed(phantoms=None)), "--out", tmp_path / "out")
    assert code == ExitCode.INVALID
    assert "--left DIR" in err


def test_a_model_that_is_not_served_is_said_before_phantoms_are_drawn(run, write, tmp_path):
    code, _, err = run("studies", "run", write(STUDY), "--out", tmp_path / "out", "--model", "xray-unet=xray-flow")
    assert code == ExitCode.NOT_FOUND
    assert "xray-flow" in err
    assert not (tmp_path / "out").exists()


def test_show_says_what_a_study_asks_without_a_platform(run, monkeypatch):
    monkeypatch.setenv("EVENHAND_ADDRESS", "127.0.0.1:1")
    code, out, _ = run("studies", "show", SHIPPED, "--model", "xray-irsde=mine@2")
    assert code == 0
    assert "reconstruct mine@2 → classify chest-classifier" in out
    assert "600 chest patients, planted world" in out
    code, out, _ = run("studies", "show", SHIPPED, "--json")
    assert [audit["name"] for audit in json.loads(out)["audits"]] == ["chest", "brain"]


def test_help_teaches_by_an_example(run):
    code, out, _ = run("studies", "run", "--help")
    assert code == 0
    assert "evenhand studies run deploy/studies/reconstruction.yaml" in out
