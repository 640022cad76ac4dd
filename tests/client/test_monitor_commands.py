import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time

import pytest
import yaml
from evenhand.commands.console import ExitCode
from evenhand.monitoring.v1 import monitor_pb2

from services import errors as platform
from tests.client.monitoring import SPEC, predictions, truth

NAME = "monitors/1"


@pytest.fixture
def spec_file(tmp_path):
    path = tmp_path / "monitor.yaml"
    path.write_text(yaml.safe_dump(SPEC, sort_keys=False))
    return path


@pytest.fixture
def made(client):
    return client.monitors.create(SPEC, display_name="Ward [3]")


@pytest.fixture
def alarmed(twin, made):
    for index in range(8):
        twin.close(made.name, Female=-0.12 if index > 4 else 0.0, **{"10": None})
    twin.raise_alarm(made.name)
    return made


def test_from_a_spec_to_recorded_rows(run, twin, spec_file, tmp_path):
    code, out, err = run("monitors", "create", spec_file, "--name", "Ward 3")
    assert (code, err) == (0, "")
    assert f"{NAME} watches 10 series" in out
    assert f"evenhand monitors record predictions {NAME} FILE" in out
    predictions(40).assign(note="x").to_csv(tmp_path / "week1.csv", index=False)
    truth(50)[["record_id", "Edema"]].to_parquet(tmp_path / "truth1.parquet")
    code, out, err = run("monitors", "record", "predictions", NAME, tmp_path / "week1.csv", "--model-version", "2")
    assert code == 0
    assert "recorded" in out and "40" in out
    assert "not watched: note" in err
    assert {one.model_version for one in twin.called("RecordPredictions")} == {"2"}
    code, out, err = run("monitors", "record", "labels", "1", tmp_path / "truth1.parquet", "--json")
    assert code == 0
    assert json.loads(out) == {
        "rows": 50, "recorded": 50, "duplicates": 0, "late": 0, "unknown": 10, "unused": [], "absent": ["Pneumonia"]
    }  # fmt: skip
    assert "without a column: Pneumonia" in err
    code, out, _ = run("monitors", "show", NAME)
    assert code == 0
    assert '"predictions": 40' in out and '"unknown_labels": 10' in out and "posted rows" in out


def test_a_dry_run_prints_what_could_be_shown_and_creates_nothing(run, twin, spec_file):
    code, out, err = run("monitors", "create", spec_file, "--dry-run", "--records-per-window", "400")
    assert code == 0
    assert twin.monitors == {} and twin.called("CreateMonitor") == []
    assert "0.025" in out and "none" in out and "power 0.8" in out
    assert "cells of [few] positives" in err
    code, out, err = run("monitors", "create", spec_file, "--dry-run", "--json")
    assert (code, err) == (0, "")
    assert len(json.loads(out)["series"]) == 10
    assert "unknown" in run("monitors", "create", spec_file, "--dry-run")[1]


def test_a_plan_of_many_series_is_printed_in_ranges(run, spec_file):
    many = {**SPEC, "labels": {f"Finding {number}": 0.5 for number in range(12)}}
    spec_file.write_text(yaml.safe_dump(many, sort_keys=False))
    code, out, _ = run("monitors", "create", spec_file, "--dry-run", "--records-per-window", "400")
    assert code == 0
    assert out.count("1 of 3 groups silent") == 12


LISTINGS = [
    ("list",),
    ("windows", NAME),
    ("windows", NAME, "--label", "Edema", "--attribute", "sex"),
    ("alarms",),
    ("alarms", NAME),
]
DOCUMENTS = [
    ("show", NAME),
    ("plan", NAME),
    ("window", NAME, "3"),
    ("watch", NAME, "--once"),
    ("rederive", NAME, "3"),
    ("rederive", NAME, "3", "--watch"),
    ("delete", NAME),
]


@pytest.mark.parametrize("arguments", LISTINGS, ids=" ".join)
def test_listings_print_a_table_and_with_json_a_list(run, alarmed, arguments):
    code, out, err = run("monitors", *arguments, "--json")
    assert (code, err) == (0, "")
    assert isinstance(json.loads(out), list) and json.loads(out)
    code, out, err = run("monitors", *arguments)
    assert (code, err) == (0, "") and out


@pytest.mark.parametrize("arguments", DOCUMENTS, ids=" ".join)
def test_json_on_standard_output_is_one_document(run, alarmed, arguments):
    code, out, _ = run("monitors", *arguments, "--json")
    assert code == 0
    assert isinstance(json.loads(out), dict)
    if arguments[0] != "delete":
        assert run("monitors", *arguments)[0] == 0


def test_tables_say_so_where_there_is_nothing(run, made):
    assert "no window is closed yet" in run("monitors", "windows", NAME)[2]
    assert "no alarm was raised" in run("monitors", "alarms")[2]


def test_windows_show_their_series_where_one_is_asked_for(run, alarmed):
    code, out, _ = run("monitors", "windows", NAME, "--label", "Edema", "--attribute", "sex")
    assert code == 0
    assert out.count("Edema tpr, sex: Female") == 8 and "Pneumonia" not in out
    assert "-0.120" in out and "-0.226 to -0.014" in out
    out = run("monitors", "windows", NAME)[1]
    assert "2026-01-05 │ 2026-01-12" in out and "1, 2" in out and "Edema" not in out
    assert "insufficient" in run("monitors", "window", NAME, "3")[1]


def test_an_alarm_is_told_in_a_sentence_with_its_numbers(run, alarmed):
    out = run("monitors", "alarms", NAME)[1]
    assert "Pneumonia tpr, sex: Female  -0.120 (-0.180 to -0.060)" in out
    assert "since window 5, 2026-02-09; raised at window 7; 203 patients" in out
    assert "moved: error rate; model version 2" in out
    assert "Female are missed more often" in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("show", "none"), ExitCode.NOT_FOUND),
        (("window", NAME, "99"), ExitCode.NOT_FOUND),
        (("create", "absent.yaml"), ExitCode.INVALID),
        (("record", "predictions", NAME, "absent.csv"), ExitCode.INVALID),
        (("record", "labels", NAME, "table.xlsx"), ExitCode.INVALID),
        (("record", "labels", NAME), ExitCode.USAGE),
        (("plot", NAME, "-o", "drift.docx"), ExitCode.INVALID),
        (("plot", NAME, "--label", "Gout"), ExitCode.INVALID),
        (("window", NAME, "last"), ExitCode.USAGE),
    ],
)
def test_exit_codes(run, alarmed, arguments, expected):
    code, out, err = run("monitors", *arguments)
    assert (code, out) == (expected, "")
    assert "Traceback" not in err and err


def test_a_conflicting_record_has_the_code_of_a_conflict_and_says_what_to_do(run, made, tmp_path):
    frame = predictions(10)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    assert run("monitors", "record", "predictions", NAME, tmp_path / "rows.csv")[0] == 0
    frame.assign(Pneumonia=0.5).to_csv(tmp_path / "rows.csv", index=False)
    code, _, err = run("monitors", "record", "predictions", NAME, tmp_path / "rows.csv", "--json")
    assert code == ExitCode.CONFLICT
    error = json.loads(err)["error"]
    assert error["reason"] == "CONFLICTING_RECORD"
    assert "rows 0 and 9" in error["hint"] and "id of its own" in error["hint"]


def test_a_plot_is_a_file_of_the_alarms_series_unless_another_is_asked_for(run, alarmed, tmp_path):
    code, out, _ = run("monitors", "plot", NAME, "-o", tmp_path / "drift.png", "--json")
    assert code == 0
    drawn = json.loads(out)
    assert (drawn["label"], drawn["attribute"], drawn["metric"]) == ("Pneumonia", "sex", "tpr")
    assert (tmp_path / "drift.png").read_bytes().startswith(b"\x89PNG")
    code, out, _ = run("monitors", "plot", NAME, "--out", tmp_path / "new" / "ward.svg", "--attribute", "ward")
    assert code == 0 and "ward" in out
    assert b"<svg" in (tmp_path / "new" / "ward.svg").read_bytes()


@pytest.mark.parametrize("once", [True, False])
def test_until_alarm_ends_at_once_where_one_stands(run, alarmed, once):
    code, out, _ = run("monitors", "watch", NAME, "--until-alarm", *(["--once"] if once else []))
    assert code == ExitCode.ALARM
    assert "Female are missed more often" in out


def test_looking_once_is_no_failure_whatever_stands(run, twin, alarmed):
    code, out, _ = run("monitors", "watch", NAME, "--once", "--json")
    assert code == 0
    seen = json.loads(out)
    assert (seen["window"]["index"], len(seen["alarms"])) == (7, 1)
    quiet = twin.monitors["monitors/2"] = monitor_pb2.Monitor(name="monitors/2", spec=alarmed.spec)
    quiet.state = monitor_pb2.Monitor.STATE_WAITING
    assert run("monitors", "watch", "2", "--once", "--until-alarm")[0] == 0
    assert json.loads(run("monitors", "watch", "2", "--once", "--json")[1])["window"] is None


def test_a_watch_ends_with_its_monitor_and_has_a_line_per_event(run, twin, alarmed):
    twin.finish(NAME)
    code, out, _ = run("monitors", "watch", NAME, "--json")
    assert code == 0
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["kind"] for event in events] == ["window", "alarm", "state"]
    assert events[0]["window"]["index"] == 7
    assert events[1]["alarm"]["key"]["group"] == "Female"
    out = run("monitors", "watch", NAME)[1]
    assert [line.split()[2] for line in out.splitlines()] == ["window", "alarm", "state"]


def started(twin, *arguments, **streams):
    environment = {**os.environ, "EVENHAND_ADDRESS": twin.address, "COLUMNS": "140", "TERM": "xterm"}
    code = "from evenhand.commands import main; main()"
    command = [sys.executable, "-c", code, "monitors", "watch", NAME, "--every", "0.05", *arguments]
    return subprocess.Popen(command, env=environment, text=True, **streams)


def wait_for(condition, process):
    end = time.monotonic() + 90
    while not condition():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)


def test_a_watch_waits_for_an_alarm_and_outlasts_a_restart(twin, made):
    """In a process of its own, against a server that is away for a moment."""
    twin.close(NAME)
    watching = started(twin, "--until-alarm", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: len(twin.called("GetMonitor")) > 3, watching)
    twin.failures["GetMonitor"] = [platform.Unavailable("restarting", retry_after_s=0.01) for _ in range(4)]
    twin.close(NAME)
    twin.raise_alarm(NAME)
    out, err = watching.communicate(timeout=30)
    assert watching.returncode == ExitCode.ALARM, err
    kinds = [line.split()[2] for line in out.splitlines()]
    assert kinds[:2] == ["window", "state"] and kinds[-2:] == ["alarm", "state"]
    assert "Traceback" not in err


def read_all(terminal, into):
    """What a terminal is sent, until its other end is closed."""
    try:
        while chunk := os.read(terminal, 65536):
            into.extend(chunk)
    except OSError:  # Linux says so, and not with an empty read
        pass
    os.close(terminal)


def test_ctrl_c_ends_the_live_table_and_not_the_monitor(twin, alarmed):
    """On a real terminal, with a real signal."""
    leader, follower = pty.openpty()
    drawn = bytearray()
    reading = threading.Thread(target=read_all, args=(leader, drawn))
    reading.start()
    watching = started(twin, stdout=follower, stderr=subprocess.PIPE)
    os.close(follower)
    wait_for(lambda: len(twin.called("GetMonitor")) > 6, watching)
    twin.close(NAME)
    wait_for(lambda: "windows closed: 9" in drawn.decode(), watching)
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=30)
    reading.join(30)
    assert watching.returncode == ExitCode.INTERRUPTED
    text = drawn.decode()
    assert "Ward [3]" in text and "alarms: 1" in text
    assert "Pneumonia tpr, sex: Female" in text
    assert f"evenhand monitors watch {NAME}" in err and "Traceback" not in err


COMMANDS = ["create", "list", "show", "plan", "windows", "window", "alarms", "watch", "rederive", "delete", "plot"]


@pytest.mark.parametrize("command", [*((name,) for name in COMMANDS), ("record", "predictions"), ("record", "labels")])
def test_help_teaches_with_an_example_and_every_command_has_json(run, command):
    code, out, _ = run("monitors", *command, "--help")
    assert code == 0
    assert f"Example: evenhand monitors {' '.join(command)}" in out
    assert "--json" in out


def test_all_commands_are_listed(run):
    out = run("monitors", "--help")[1]
    assert all(f" {name} " in out for name in [*COMMANDS, "record"])
