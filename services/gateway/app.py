"""Binds the gateway application. `import_path: services.gateway.app:build`."""

from __future__ import annotations

from ray.serve import Application

from services.gateway.deployment import Gateway
from services.gateway.settings import Settings


def build(args: Settings) -> Application:
    """The application for these settings; a misspelt key stops the deploy with its name."""
    options = {
        "num_replicas": args.num_replicas,
        "ray_actor_options": {"num_cpus": args.num_cpus},
        "health_check_period_s": 5.0,
        "graceful_shutdown_wait_loop_s": 0.1,
        "graceful_shutdown_timeout_s": args.drain_s + 5.0,
    }
    application: Application = Gateway.options(**options).bind(args.model_dump(mode="json"))  # type: ignore[attr-defined]
    return application
