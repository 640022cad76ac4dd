"""What a process was started with, and that one which ends meanwhile is no error."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from tests.processes import command_line

COMMAND = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(COMMAND) as process:
        yield process
        process.kill()


def test_a_living_process_has_the_command_that_it_was_started_with(child: subprocess.Popen[bytes]) -> None:
    assert command_line(psutil.Process(child.pid)) == COMMAND


def test_one_that_has_ended_has_none_before_and_after_it_is_waited_for(child: subprocess.Popen[bytes]) -> None:
    process = psutil.Process(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.status() == psutil.STATUS_ZOMBIE
    assert command_line(process) == []
    child.wait()
    assert command_line(process) == []
