"""Binds the monitoring application. `import_path: services.monitoring.app:build`."""

from __future__ import annotations

from typing import Any

from ray.serve import Application

from services.monitoring.deployment import Monitoring, MonitorWorker
from services.monitoring.settings import Settings


def build(args: Settings) -> Application:
    """The application for these settings; a misspelt key stops the deploy with its name."""
    plain = args.model_dump(mode="json")
    common: dict[str, Any] = {
        "ray_actor_options": {"num_cpus": args.num_cpus},
        "health_check_period_s": 5.0,
        "graceful_shutdown_wait_loop_s": 0.1,
        "graceful_shutdown_timeout_s": 10.0,
    }
    workers = MonitorWorker.options(num_replicas=args.workers, **common).bind(plain)  # type: ignore[attr-defined]
    service = Monitoring.options(max_ongoing_requests=64, max_queued_requests=256, **common)  # type: ignore[attr-defined]
    app: Application = service.bind(plain, workers)
    return app
