"""A Ray of a test's own."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator

import ray


@contextlib.contextmanager
def ray_cluster() -> Iterator[None]:
    """Workers have the niceness that they have on the platform: with 15, Ray's own, they starve beside other work."""
    system = {"worker_niceness": 0}
    with tempfile.TemporaryDirectory(prefix="eh") as folder:  # short, for the paths of Ray's sockets
        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, _temp_dir=folder, _system_config=system)
        yield
        ray.shutdown()
