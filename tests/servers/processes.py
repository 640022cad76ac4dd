"""Starting and ending the daemons that tests need: own ports, own folders, own process ids, nothing else."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path


class ServerMissing(Exception):
    """The server is not installed, or does not start here; the text says what was looked for."""


def program(name: str, *folders: str) -> str:
    """The path of an installed program, also looked for in ``folders`` (globs, newest first)."""
    for pattern in folders:
        root = Path("/")
        for folder in sorted(root.glob(pattern.lstrip("/")), reverse=True):
            if (folder / name).exists():
                return str(folder / name)
    if found := shutil.which(name):
        return found
    raise ServerMissing(f"the program {name} is not installed (.ci/install-servers installs it)")


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def run_tool(arguments: Sequence[str], timeout_s: float = 60, user: str | None = None) -> str:
    """Run a tool to its end and return what it said; :class:`ServerMissing` if it fails."""
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout_s, check=False, user=user)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerMissing(f"{arguments[0]}: {error}") from error
    if done.returncode:
        raise ServerMissing(f"{arguments[0]} ended with {done.returncode}: {(done.stderr or done.stdout)[-300:]}")
    return done.stdout


class Daemon:
    """A process in the foreground mode of its program. It also ends when the test process is killed."""

    def __init__(self, arguments: Sequence[str], log: Path, *, user: str | None = None, stop: int = signal.SIGTERM):
        self.log = log
        self._stop = stop
        guard = [program("setpriv"), "--pdeathsig", "KILL"]
        if user:
            guard += ["--reuid", user, "--regid", user, "--init-groups"]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*guard, "--", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_until(self, ready: Callable[[], bool], timeout_s: float = 30) -> None:
        """Poll until the daemon is ready; :class:`ServerMissing` with the end of its log if it dies or is late."""
        end = time.monotonic() + timeout_s
        while not ready():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise ServerMissing(f"did not start: {self.log.read_text(errors='replace')[-300:]}")
            time.sleep(0.05)

    def stop(self, patience_s: float = 10) -> None:
        if self.process.poll() is None:
            self.process.send_signal(self._stop)
            try:
                self.process.wait(patience_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
