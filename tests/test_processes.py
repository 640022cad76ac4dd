"""Looking for processes while some of them end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from tests.processes import descendants

TITLE = "evenhand-sleeper"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", TITLE]) as process:
        yield process
        process.kill()


def test_a_living_process_is_found_by_its_title(child: subprocess.Popen[bytes]) -> None:
    assert [process.pid for process in descendants(psutil.Process(), TITLE)] == [child.pid]


def test_one_that_has_ended_and_was_not_waited_for_is_passed_over(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    sleeper = psutil.Process(child.pid)
    while sleeper.status() != psutil.STATUS_ZOMBIE:
        pass
    assert descendants(psutil.Process(), TITLE) == []
