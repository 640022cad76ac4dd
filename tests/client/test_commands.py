import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer
import yaml
from evenhand import commands, demo, plugins
from evenhand.commands import console
from evenhand.doctor import examine
from hypothesis import given
from hypothesis import strategies as st

from services import errors as platform

TABLE = "file,sex,Edema\na.png,Female,1\n"
phantoms = typer.Typer()


@phantoms.callback()
def _group() -> None:
    """Stands for the platform's plug-in."""


@phantoms.command()
def write(kind: str = "", world: str = "", patients: int = 0, seed: int = 0, out: Path = Path()) -> None:
    out.mkdir(parents=True)
    (out / "a.png").write_bytes(f"{kind} {world} {patients} {seed}".encode())
    (out / "rows.csv").write_text(TABLE)


@phantoms.command()
def refuse() -> None:
    raise platform.OutOfRange("patients must be at least 1", field="--patients")


class Plugin(EntryPoint):
    def load(self):
        if self.name == "broken":
            raise ImportError("no such library")
        return phantoms


@pytest.fixture(autouse=True)
def plug_ins(monkeypatch):
    """Plug-ins of the tests' own instead of those that happen to be installed."""
    found = [Plugin("phantoms", "tests:phantoms", "evenhand.commands")]
    monkeypatch.setattr(commands, "entry_points", lambda group: found if group == "evenhand.commands" else [])
    return found


@pytest.fixture
def made(client, folder, spec):
    """A cohort and an audit that exist."""
    cohort = client.cohorts.create(
        folder / "images", schema="phantom-chest", table=folder / "rows.csv", progress=False
    ).result(10)
    return cohort, client.audits.create(spec).result(10)


def create_cohort(folder, *more):
    files = ("--images", folder / "images", "--table", folder / "rows.csv", "--schema", folder / "schema.yaml")
    return ("cohorts", "create", *files, *more)


def test_help_teaches_by_examples_and_names_every_exit_code(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "evenhand cohorts create --images" in out
    for exit_code in console.ExitCode:
        assert str(int(exit_code)) in out
    lines = out.splitlines()
    first = next(index for index, line in enumerate(lines) if line.strip() == "pipelines:")
    last = next(index for index, line in enumerate(lines) if line.strip().startswith("attributes:"))
    example = yaml.safe_load(textwrap.dedent("\n".join(lines[first : last + 1])))
    assert example["attributes"] == ["sex", "age", "race"]
    from evenhand.spec import spec_proto

    assert [stage.WhichOneof("kind") for stage in spec_proto(example).pipelines[1].stages] == [
        "degrade",
        "reconstruct",
        "classify",
    ]


def test_main_job_from_files_to_report(run, folder, spec, tmp_path):
    code, out, err = run(*create_cohort(folder, "--name", "first", "--watch", "--json"))
    assert code == 0
    cohort = json.loads(out)
    assert (cohort["records"], cohort["displayName"]) == ("2", "first")  # as REST gives it
    assert "rows" in err
    (tmp_path / "audit.yaml").write_text(yaml.safe_dump(spec))
    code, out, _ = run("audits", "create", tmp_path / "audit.yaml", "--cohort", cohort["name"], "--watch", "--json")
    assert code == 0
    audit = json.loads(out)
    assert audit["state"] == "STATE_SUCCEEDED"
    code, out, _ = run("audits", "download", audit["name"], "report.json", "--out", tmp_path / "results")
    assert code == 0
    assert (tmp_path / "results" / "report.json").is_file()
    code, out, _ = run("audits", "report", audit["name"])
    assert code == 0
    assert "mean AUROC" in out
    assert "original → degraded" in out
    assert "Female" in out


LISTINGS = [
    ("cohorts", "list"),
    ("audits", "list"),
    ("models", "list"),
    ("operations", "list"),
    ("trainings", "list"),
]
SHOWN = [
    ("cohorts", "show", "1"),
    ("audits", "show", "2"),
    ("audits", "report", "2"),
    ("models", "show", "xray-unet"),
    ("operations", "show", "1"),
    ("operations", "wait", "1"),
    ("audits", "watch", "2"),
    ("audits", "watch", "operations/2"),
    ("audits", "cancel", "2"),
    ("operations", "cancel", "2"),
    ("trainings", "create", "chest-classifier", "--watch"),
    ("trainings", "create", "chest-classifier"),
    ("cohorts", "delete", "1"),
    ("audits", "delete", "2"),
]


@pytest.mark.parametrize("arguments", LISTINGS, ids=" ".join)
def test_listings_print_a_table_and_with_json_a_list(run, made, arguments):
    code, out, err = run(*arguments, "--json")
    assert (code, err) == (0, "")
    assert isinstance(json.loads(out), list)
    assert run(*arguments)[0] == 0


@pytest.mark.parametrize("arguments", SHOWN, ids=" ".join)
def test_json_on_standard_output_is_one_document(run, made, arguments):
    code, out, _ = run(*arguments, "--json")
    assert code == 0
    assert isinstance(json.loads(out), dict)
    if arguments[1] != "delete":
        assert run(*arguments)[0] == 0


EXITS = [
    (("models", "show", "none"), console.ExitCode.NOT_FOUND),
    (("cohorts", "show", "none"), console.ExitCode.NOT_FOUND),
    (("cohorts", "create", "--images", "/nowhere", "--schema", "chexpert"), console.ExitCode.INVALID),
    (("cohorts", "create", "--schema", "chexpert"), console.ExitCode.USAGE),
    (("audits", "create", "none.yaml"), console.ExitCode.INVALID),
    (("reports", "verify", "none.json"), console.ExitCode.INVALID),
    (("cohorts", "sho"), console.ExitCode.USAGE),
    (("phantoms", "refuse"), console.ExitCode.INVALID),
    (("--address", "127.0.0.1:1", "models", "list"), console.ExitCode.UNAVAILABLE),
    (("--version",), console.ExitCode.OK),
]


@pytest.mark.parametrize(
    ("arguments", "expected"), EXITS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else value.name
)
def test_exit_codes(run, arguments, expected):
    code, _, err = run(*arguments)
    assert code == expected
    assert "Traceback" not in err


def test_an_error_is_one_line_with_field_and_hint(run):
    _, out, err = run("models", "show", "none")
    assert out == ""
    assert err == (
        "evenhand: no such model is served [models/none] (`evenhand models list` names the models that are served)\n"
    )


def test_an_error_with_json_is_a_document_on_standard_error(run):
    _, out, err = run("models", "show", "none", "--json")
    assert out == ""
    error = json.loads(err)["error"]
    assert (error["class"], error["reason"], error["field"]) == ("NotFound", "MODEL_NOT_FOUND", "models/none")


def test_the_traceback_is_shown_only_when_asked_for(run, monkeypatch):
    monkeypatch.setenv("EVENHAND_DEBUG", "1")
    assert "Traceback" in run("models", "show", "none")[2]


def test_operations_that_fail_or_are_cancelled_have_codes_of_their_own(run, twin, folder):
    twin.fail_operation_with = platform.Undecodable("truncated", field="a.dcm")
    code, _, err = run(*create_cohort(folder, "--watch"))
    assert code == console.ExitCode.FAILED
    assert "truncated [a.dcm]" in err
    twin.fail_operation_with = platform.Cancelled("cancelled by its owner")
    assert run(*create_cohort(folder, "--watch"))[0] == console.ExitCode.CANCELLED


def test_conflicts_and_preconditions_have_their_code(run, twin, folder, client):
    request_id = "11111111-1111-4111-8111-111111111111"
    assert run(*create_cohort(folder, "--request-id", request_id))[0] == 0
    code = run(*create_cohort(folder, "--request-id", request_id, "--name", "another"))[0]
    assert code == console.ExitCode.CONFLICT


def test_ctrl_c_stops_the_watching_and_not_the_audit(twin, spec, client):
    """In a process of its own, with a real signal."""
    twin.hold.clear()
    audit = client.audits.create(spec).metadata.resource
    environment = {**os.environ, "EVENHAND_ADDRESS": twin.address, "COLUMNS": "200"}
    code = "from evenhand.commands import main; main()"
    watching = subprocess.Popen(
        [sys.executable, "-c", code, "audits", "watch", audit],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 30
    while len(twin.called("WaitOperation")) < 5 and time.monotonic() < end:
        time.sleep(0.05)
    watching.send_signal(signal.SIGINT)
    out, err = watching.communicate(timeout=30)
    assert watching.returncode == console.ExitCode.INTERRUPTED
    assert f"evenhand audits watch {audit}" in err
    assert "Traceback" not in err
    assert out == ""
    assert twin.called("CancelOperation") == []


def test_one_image_through_one_model(run, tmp_path):
    (tmp_path / "scan.png").write_bytes(b"png")
    code, out, _ = run("models", "infer", "chest-classifier", tmp_path / "scan.png", "--out", tmp_path / "scores.npy")
    assert code == 0
    assert "Edema" in out
    assert (tmp_path / "scores.npy").stat().st_size > 0
    code, out, _ = run("models", "infer", "chest-classifier", tmp_path / "scan.png", "--json")
    assert [row["positive"] for row in json.loads(out)["results"]] == [True, False]


def test_a_plan_is_printed_with_its_silent_groups_and_its_warnings(run, spec, tmp_path):
    path = tmp_path / "audit.yaml"
    path.write_text(yaml.safe_dump(spec))
    code, out, err = run("audits", "plan", path, "--cohort", "cohorts/7")
    assert code == 0
    assert "0.062 to 0.25" in out and "0.12, 1 silent" in out
    assert "3 tests in the primary family" in out
    assert "true positive rates of 0.75" in out
    assert "[too] small" in err
    code, out, _ = run("audits", "plan", path, "--json")
    assert json.loads(out)["tests"] == 3


@pytest.fixture
def derived():
    """What the platform's function is to answer, and what it was given."""
    exact = {"digest_holds": True, "rows_hold": True, "exact": True, "numbers": 77, "largest_relative": 0.0}
    return {"answer": {**exact, "summary": "All 77 numbers follow.", "differences": []}, "given": None}


@pytest.fixture
def platform_functions(monkeypatch, derived):
    """Functions of the tests' own in the place of the platform's."""

    def verify(report, predictions, quality):
        derived["given"] = (report, predictions, quality)
        return derived["answer"]

    def merge(sites, ids):
        derived["given"] = ([site["name"] for site in sites], ids)
        return {"report.json": sites[0]["report"], "report.html": b"<html>"}

    found = {"verify": verify, "merge": merge}

    class Contributed(EntryPoint):
        def load(self):
            return found[self.name]

    def entry_points(group, name):
        return [Contributed(name, "tests", group)] if group == "evenhand.reports" and name in found else []

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    return found


@pytest.fixture
def saved(made, tmp_path):
    """The files of an audit in one folder."""
    made[1].download(tmp_path / "north")
    return tmp_path / "north"


def test_verify_derives_the_numbers_from_the_rows_beside_the_report(run, saved, platform_functions, derived):
    code, out, err = run("reports", "verify", saved / "report.json")
    assert (code, err) == (0, "")
    assert "All 77 numbers follow." in out
    assert derived["given"] == tuple(
        (saved / name).read_bytes() for name in ("report.json", "predictions.parquet", "quality.parquet")
    )
    assert run("reports", "show", saved / "report.json")[0] == 0


def test_verify_takes_rows_from_elsewhere(run, saved, platform_functions, derived, tmp_path):
    (tmp_path / "p").write_bytes(b"p")
    (tmp_path / "q").write_bytes(b"q")
    where = ("--predictions", tmp_path / "p", "--quality", tmp_path / "q")
    assert run("reports", "verify", saved / "report.json", *where)[0] == 0
    assert derived["given"][1:] == (b"p", b"q")


DIFFERENCE = {"path": "cells[3].estimate", "what": "tpr / Female", "reported": 0.4, "derived": 0.5, "relative": 0.2}


def test_verify_prints_what_does_not_follow_from_the_rows(run, saved, platform_functions, derived):
    differing = [{**DIFFERENCE, "path": f"cells[{place}].estimate"} for place in range(30)]
    derived["answer"] |= {"exact": False, "largest_relative": 0.2, "differences": differing}
    code, out, err = run("reports", "verify", saved / "report.json")
    assert code == console.ExitCode.INVALID
    assert "cells[3].estimate (tpr / Female): reported 0.4, derived 0.5" in err
    assert "and 10 more" in err
    code, out, _ = run("reports", "verify", saved / "report.json", "--json")
    assert code == console.ExitCode.INVALID
    stated = json.loads(out)
    assert (stated["verified"], len(stated["evidence"]["differences"])) == (False, 30)


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({"largest_relative": 1e-10}, True),
        ({"largest_relative": 1e-6}, False),
        ({"largest_relative": None}, False),
        ({"largest_relative": 1e-10, "rows_hold": False}, False),
        ({"largest_relative": 1e-10, "digest_holds": False}, False),
    ],
)
@pytest.mark.usefixtures("platform_functions")
def test_only_the_last_digit_may_differ(run, saved, derived, changes, holds):
    derived["answer"] |= {"exact": False, "differences": [DIFFERENCE], **changes}
    code, out, _ = run("reports", "verify", saved / "report.json", "--json")
    assert code == (0 if holds else console.ExitCode.INVALID)
    assert json.loads(out)["verified"] is holds


def test_without_the_platform_only_the_digest_is_checked_and_the_exit_code_says_so(run, saved, platform_functions):
    platform_functions.clear()
    code, _, err = run("reports", "verify", saved / "report.json")
    assert code == console.ExitCode.CONFLICT
    assert "only the digest was checked" in err and "evenhand-platform" in err
    assert run("reports", "verify", saved / "report.json", "--digest-only")[0] == 0
    code, _, err = run("reports", "merge", saved, saved, "--out", saved / "both")
    assert code == console.ExitCode.CONFLICT
    assert "evenhand-platform" in err


def test_a_changed_report_is_refused_before_its_numbers_are_derived(run, saved, platform_functions, derived):
    path = saved / "report.json"
    path.write_bytes(path.read_bytes().replace(b"0.39", b"0.38"))
    code, out, err = run("reports", "verify", path, "--json")
    assert code == console.ExitCode.INVALID
    assert json.loads(out)["verified"] is False
    assert "changed" in err.replace("\n", " ")
    assert derived["given"] is None


def test_rows_that_are_not_there_are_named(run, saved, platform_functions):
    (saved / "quality.parquet").unlink()
    code, _, err = run("reports", "verify", saved / "report.json")
    assert code == console.ExitCode.NOT_FOUND
    assert "quality.parquet" in err and "evenhand audits download" in err


def test_a_report_of_schema_one_says_what_to_do(run, saved):
    path = saved / "report.json"
    path.write_bytes(path.read_bytes().replace(b'"2.0"', b'"1.0"'))
    code, _, err = run("reports", "show", path)
    assert code == console.ExitCode.INVALID
    assert "run the audit again" in err


def test_sites_are_merged_into_one_folder(run, saved, platform_functions, derived, tmp_path):
    south = shutil.copytree(saved, tmp_path / "south")
    both = tmp_path / "both"
    code, out, _ = run("reports", "merge", saved, south, "--out", both, "--ids", "global")
    assert code == 0
    assert derived["given"] == (["north", "south"], "global")
    assert sorted(path.name for path in both.iterdir()) == ["report.html", "report.json"]
    assert "Findings" in out
    twice = shutil.copytree(saved, tmp_path / "elsewhere" / "north")
    code, out, _ = run("reports", "merge", saved, twice, "--out", both, "--json")
    assert derived["given"] == (["site-1", "site-2"], "local")
    assert json.loads(out)["cohort"]["patients"] == 20
    assert run("reports", "merge", saved, "--out", both)[0] == console.ExitCode.INVALID


def test_findings_come_first_and_counts_are_honest(run, saved):
    code, out, _ = run("reports", "show", saved / "report.json")
    assert code == 0
    assert out.index("Findings") < out.index("Verdicts") < out.index("Pipelines")
    assert "0.2 to 0.55" in out
    assert "insufficient evidence" in out
    assert json.loads(run("reports", "show", saved / "report.json", "--json")[1])["schema_version"] == "2.0"


def test_a_broken_plug_in_is_reported_and_takes_nothing_along(run, plug_ins):
    plug_ins.append(Plugin("broken", "tests:broken", "evenhand.commands"))
    code, out, err = run("models", "list", "--json")
    assert code == 0
    assert "no such library" in err
    assert json.loads(out)


def test_doctor_finds_a_healthy_platform_but_for_what_it_does_not_serve(run, client):
    code, out, _ = run("doctor", "--http-address", "127.0.0.1:1", "--json")
    states = {check["name"]: check["state"] for check in json.loads(out)}
    assert states.pop("inference.GRPCInferenceService") == "failed"
    assert states.pop("http ready") == "warning"
    assert set(states.values()) == {"ok"}
    assert code == console.ExitCode.UNAVAILABLE
    assert "chest-classifier" in next(
        check.detail for check in examine(client, "127.0.0.1:1") if check.name == "models"
    )


def test_doctor_at_a_closed_door_skips_the_rest(run):
    code, out, _ = run("--address", "127.0.0.1:1", "doctor")
    assert code == console.ExitCode.UNAVAILABLE
    assert "failed" in out
    assert "skipped" in out


def test_doctor_reads_readiness_version_and_clock_from_the_http_edge(client):
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Edge(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"name": "evenhand", "version": "0.1.0"}')

        def log_message(self, *args):
            pass

        def date_time_string(self, timestamp=None):
            return super().date_time_string(time.time() - 100)

    server = HTTPServer(("127.0.0.1", 0), Edge)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    checks = {check.name: check for check in examine(client, f"127.0.0.1:{server.server_port}")}
    server.shutdown()
    server.server_close()
    assert checks["http ready"].state == "ok"
    assert checks["server"].detail == "evenhand 0.1.0"
    assert checks["clock skew"].state == "warning"


def test_demo_writes_the_artifacts_and_shows_the_planted_drop(run, twin, tmp_path):
    code, out, _ = run("demo", "--out", tmp_path / "demo", "--patients", "4", "--world", "planted", "--seed", "7")
    assert code == 0
    for filename in demo.ARTIFACTS:
        assert (tmp_path / "demo" / filename).read_bytes() == twin.artifacts[filename]
    assert twin.uploads["uploads/1"] == {"a.png": b"chest planted 4 7"}
    assert twin.called("CreateCohort")[0].schema_yaml == "phantom-chest"
    spec = twin.called("CreateAudit")[0].spec
    assert [pipeline.name for pipeline in spec.pipelines] == ["original", "low-dose", "reconstructed"]
    assert list(spec.attributes) == ["sex", "age", "race"]
    assert "Female" in out
    assert "verified" in out


def test_demo_without_the_platform_installed_says_what_is_missing(run, plug_ins, tmp_path):
    plug_ins.clear()
    code, _, err = run("demo", "--out", tmp_path / "demo")
    assert code == console.ExitCode.CONFLICT
    assert "evenhand-platform" in err


@given(st.sampled_from(sorted(console.EXIT_CODES)))
def test_every_class_with_a_code_exists_on_both_sides_or_on_the_clients(name):
    from evenhand.errors import all_errors

    assert name in all_errors()
