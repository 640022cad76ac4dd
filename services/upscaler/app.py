"""Binds the upscaler application. `import_path: services.upscaler.app:build`."""

from __future__ import annotations

from ray.serve import Application

from services.upscaler.deployment import Upscaler
from services.upscaler.settings import Settings


def build(args: Settings) -> Application:
    """The application for these settings; a misspelt key stops the deploy with its name."""
    app: Application = Upscaler.options(**args.deployment_options()).bind(args.model_dump(mode="json"))  # type: ignore[attr-defined]
    return app
