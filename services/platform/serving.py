"""The serving process: a local Ray with every application of the Serve config. The supervisor's child."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
import typing
from collections.abc import Callable
from typing import Any

import yaml
from pydantic import BaseModel

from services.platform.settings import Settings, ray_environment
from services.platform.signals import signalled

START_FAILED = 78
"""Exit status of a process that never got to serve (EX_CONFIG of sysexits.h): starting it again cannot help."""
BESIDE_THE_CORES = 1
"""CPUs that Ray counts on top of the machine's. Replicas claim a tenth each, which is no limit, trainings whole ones:
without it the replicas' tenths would add up to a core of two, and no training would ever find one."""


def serve_in_this_process(settings: Settings) -> None:
    """Start Ray and every application of the Serve config, then stay until SIGTERM or the supervisor's end.

    Exits with START_FAILED, and the reason as the last line of standard error, when it cannot.
    """
    os.environ.update(ray_environment(settings))
    supervisor = os.getppid()
    try:
        stop = _start(settings)
    except Exception as error:
        for line in [*_complaints(), f"cannot start: {_in_words(error)}"]:
            print(line, file=sys.stderr, flush=True)  # noqa: T201
        raise SystemExit(START_FAILED) from None
    import ray
    from ray import serve

    # Without its supervisor it would hold the ports, and `down` would find nobody to end.
    while not stop() and ray.is_initialized() and os.getppid() == supervisor:
        time.sleep(0.2)
    serve.shutdown()  # type: ignore[no-untyped-call]
    ray.shutdown()  # type: ignore[no-untyped-call]


def _start(settings: Settings) -> Callable[[], bool]:
    """Start everything; the returned function says whether a signal to stop came."""
    import ray
    from ray import serve
    from ray.serve.schema import ServeDeploySchema

    config = ServeDeploySchema.model_validate(yaml.safe_load(settings.config.read_text("utf-8")))
    targets = [
        serve.RunTarget(_build(app.import_path, app.args), name=app.name, route_prefix=None)
        for app in config.applications
    ]
    ray.init(
        address="local",
        num_cpus=(os.cpu_count() or 1) + BESIDE_THE_CORES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=256 * 2**20,
        _temp_dir=str(settings.ray_dir),
        _node_ip_address="127.0.0.1",
    )
    stop = signalled()  # after ray.init, which installs handlers of its own
    serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING", "enable_access_log": False})
    serve.run_many(targets, wait_for_applications_running=True)
    return stop


def _build(import_path: str, args: dict[str, Any]) -> Any:
    """What Serve does with a config's import_path and args: call the typed builder."""
    module, _, name = import_path.partition(":")
    builder = getattr(importlib.import_module(module), name)
    settings_class = next(iter(typing.get_type_hints(builder).values()))
    settings = settings_class.model_validate(args)
    _check_packages(settings)
    return builder(settings)


def _check_packages(settings: BaseModel) -> None:
    """Refuse wrong model packages here and now: inside a replica Ray would try the same again for a minute."""
    from services.adapters.weights import DirectoryRegistry  # slow to import, and every command imports this module

    registry = DirectoryRegistry(getattr(settings, "registries", ()))
    for record in registry.models():
        registry.load_tensors(record)


def _complaints() -> list[str]:
    """The last line of what each replica that could not start has said; Serve's own error has only their names."""
    import ray
    from ray import serve

    if not ray.is_initialized():
        return []
    deployments = (d for app in serve.status().applications.values() for d in app.deployments.items())
    said = {name: [line for line in status.message.splitlines() if line.strip()] for name, status in deployments}
    return [f"{name}: {lines[-1].strip()}" for name, lines in said.items() if lines]


def _in_words(error: Exception) -> str:
    """The reason that callers know where there is one, and the error's class otherwise."""
    reason = getattr(error, "reason", "") or type(error).__name__
    return f"{reason}: {error}"
