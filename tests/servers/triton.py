"""A real Triton server on loopback, in the environment of its own that .ci/install-servers makes."""

from __future__ import annotations

import shutil
import sysconfig
import tempfile
from pathlib import Path

from .processes import Daemon, ServerMissing, free_ports

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-triton" / "bin" / "python"


class Triton:
    """Serves ``pointwise``, a 1×1 convolution with the given weight and bias; ``address`` is its gRPC ``host:port``."""

    def __init__(self, weight: float = 0.5, bias: float = 0.25) -> None:
        if not PYTHON.exists():
            raise ServerMissing("no .venv-triton with nvidia-pytriton (.ci/install-servers makes it)")
        self._folder = Path(tempfile.mkdtemp(prefix="evenhand-triton-"))
        ports = free_ports(3)
        self.address = f"127.0.0.1:{ports[0]}"
        # The backend's stub would load the system's libpython; it must find the one this interpreter came with.
        settings = {"LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR"), "TMPDIR": str(self._folder)}
        arguments = [shutil.which("env") or "env", *(f"{name}={value}" for name, value in settings.items())]
        arguments += [
            str(PYTHON),
            str(ROOT / "tests/servers/triton_models.py"),
            *map(str, ports),
            str(weight),
            str(bias),
        ]
        self._daemon = Daemon(arguments, self._folder / "log")
        self._daemon.wait_until(lambda: "\nready\n" in (self._folder / "log").read_text(errors="replace"), 60)

    def stop(self) -> None:
        self._daemon.stop(patience_s=40)
        shutil.rmtree(self._folder, ignore_errors=True)
