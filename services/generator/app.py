"""Binds the generator application. `import_path: services.generator.app:build`."""

from __future__ import annotations

from ray.serve import Application

from services.generator.deployment import Generator
from services.generator.settings import Settings


def build(args: Settings) -> Application:
    """The application for these settings; a misspelt key stops the deploy with its name."""
    app: Application = Generator.options(**args.deployment_options()).bind(args.model_dump(mode="json"))  # type: ignore[attr-defined]
    return app
