"""Binds the training application. `import_path: services.training.app:build`."""

from __future__ import annotations

from typing import cast

from ray.serve import Application, Deployment

from services.training.deployment import Trainer
from services.training.settings import Settings


def build(args: Settings) -> Application:
    """The application for these settings; a misspelt key stops the deploy with its name."""
    trainer = cast("Deployment", Trainer)  # what the decorator made of it
    return trainer.options(
        num_replicas=1,
        ray_actor_options={"num_cpus": args.num_cpus},
        max_ongoing_requests=32,
        max_queued_requests=128,
        health_check_period_s=5.0,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=10.0,
    ).bind(args.model_dump(mode="json"))
