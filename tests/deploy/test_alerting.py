"""The alerting rules and the routes: their unit tests, and the way of an alarm from the ledger to a webhook."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import require
from tests.gateway.conftest import World
from tests.monitors_in_ledger import close, point, put_monitor
from tests.servers.alertmanager import Alertmanager, Webhook, shipped_routes_at_once
from tests.servers.processes import program
from tests.servers.prometheus import Prometheus

pytestmark = pytest.mark.prometheus

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules"
ROUTES = DEPLOY / "alertmanager" / "alertmanager.yml"


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    tool = require("Prometheus", lambda: program("promtool"))
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)


def amtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    tool = require("Alertmanager", lambda: program("amtool"))
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["fairness", "serving"])
def test_the_rules_pass_their_unit_tests(name: str) -> None:
    done = promtool("test", "rules", RULES / "tests" / f"{name}.yml")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("fairness", 'max_abs{monitor="chest"}\', value: 0.25', 'max_abs{monitor="chest"}\', value: 0.5'),
        ("fairness", "Interval, valid at any time: -0.500", "Interval, valid at any time: -0.400"),
        ("serving", "25% of requests fail", "24% of requests fail"),
    ],
)
def test_a_wrong_expectation_fails(tmp_path: Path, name: str, right: str, wrong: str) -> None:
    shutil.copytree(RULES, tmp_path / "rules")
    file = tmp_path / "rules" / "tests" / f"{name}.yml"
    text = file.read_text()
    assert right in text
    file.write_text(text.replace(right, wrong))
    assert promtool("test", "rules", file).returncode == 1


def test_every_alert_has_a_unit_test_and_tells_what_to_do() -> None:
    for file in sorted(RULES.glob("*.yml")):
        (group,) = yaml.safe_load(file.read_text())["groups"]
        tests = yaml.safe_load((RULES / "tests" / file.name).read_text())["tests"]
        fired = {t["alertname"] for test in tests for t in test.get("alert_rule_test", ()) if t["exp_alerts"]}
        alerts = [rule for rule in group["rules"] if "alert" in rule]
        assert {rule["alert"] for rule in alerts} == fired
        for rule in alerts:
            assert rule["labels"]["severity"] in {"critical", "warning"}
            assert {"summary", "description"} <= set(rule["annotations"])


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=FairnessDrift", "monitor=chest"), "fairness-board"),
        (("alertname=LabelsLate", "monitor=chest"), "data-team"),
        (("alertname=LedgerDown",), "on-call"),
    ],
)
def test_alerts_find_their_receiver(labels: tuple[str, ...], receiver: str) -> None:
    assert amtool("check-config", ROUTES).returncode == 0
    found = amtool("config", "routes", "test", f"--config.file={ROUTES}", *labels)
    assert found.stdout.strip() == receiver


def test_a_route_to_nobody_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "alertmanager.yml"
    broken.write_text(ROUTES.read_text().replace("receiver: data-team", "receiver: nobody"))
    assert amtool("check-config", broken).returncode != 0


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    page = Webhook()
    yield page
    page.stop()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "gateway", drain_s=1.0).start()
    yield world
    world.stop()


def test_an_alarm_in_the_ledger_reaches_a_webhook_with_its_cell(
    world: World,
    webhook: Webhook,
    prometheus: Callable[..., Prometheus],
    alertmanager: Callable[[Path], Alertmanager],
    tmp_path: Path,
) -> None:
    manager = alertmanager(shipped_routes_at_once(ROUTES, webhook, tmp_path))
    name = put_monitor(world.ledger, "chest")
    close(world.ledger, name, [point("Female", 0.01), point("Male", -0.01)])
    server = prometheus(
        [world.http.removeprefix("http://")], rule_files=sorted(RULES.glob("*.yml")), alertmanagers=[manager.address]
    )
    server.wait_for("monitor:evenhand_monitor_series:count == 2")
    assert not server.query('ALERTS{alertname="FairnessDrift"}'), "two healthy series raise nothing"

    hurt = {"alarmed": True, "e_value": 812.0, "patients": 57}
    close(
        world.ledger,
        name,
        [point("Female", -0.2, **hurt), point("Male", 0.2, **hurt, metric="fpr"), point("Male", 0.01)],
    )
    body = fairness_post(webhook)
    assert body["groupLabels"] == {"monitor": "chest"}
    assert len(body["alerts"]) == 2, "one message for both cells"
    (alert,) = [each for each in body["alerts"] if each["labels"]["group"] == "Female"]
    cell = {"monitor": "chest", "label": "Edema", "metric": "tpr", "attribute": "sex", "group": "Female"}
    assert cell.items() <= alert["labels"].items()
    assert alert["status"] == "firing"
    told = " ".join(alert["annotations"]["description"].split())
    assert "reference: -0.200." in told
    assert "valid at any time: -0.300 to -0.100." in told
    assert "decide it: 57." in told
    assert alert["annotations"]["console"] == "/monitors/chest"


def fairness_post(webhook: Webhook, timeout_s: float = 30) -> dict:
    """The first post to the fairness board that tells of two alerts: the second may come a moment after the first."""
    end = time.monotonic() + timeout_s
    while True:
        path, body = webhook.posted.get(timeout=max(0.1, end - time.monotonic()))
        if path == "/fairness" and len(body["alerts"]) == 2:
            return body


def test_while_the_ledger_is_away_what_it_would_say_of_monitors_is_held_back(
    webhook: Webhook, alertmanager: Callable[[Path], Alertmanager], tmp_path: Path
) -> None:
    manager = alertmanager(shipped_routes_at_once(ROUTES, webhook, tmp_path))
    url = f"--alertmanager.url=http://{manager.address}"
    for labels in (
        ("LedgerDown", "severity=critical"),
        ("LabelsLate", "monitor=chest"),
        ("FairnessDrift", "monitor=b"),
    ):
        assert amtool("alert", "add", url, f"alertname={labels[0]}", labels[1]).returncode == 0
    paths = {webhook.posted.get(timeout=20)[0] for _ in range(2)}
    assert paths == {"/on-call", "/fairness"}
    held = {each["labels"]["alertname"]: bool(each["status"]["inhibitedBy"]) for each in manager.alerts()}
    assert held == {"LedgerDown": False, "LabelsLate": True, "FairnessDrift": False}
