"""Binds the reconstruction application. `import_path: services.reconstruction.app:build`."""

from __future__ import annotations

from ray.serve import Application

from services.reconstruction.deployment import Reconstructor
from services.reconstruction.settings import Settings


def build(args: Settings) -> Application:
    """The application for these settings; a misspelt key stops the deploy with its name."""
    app: Application = Reconstructor.options(**args.deployment_options()).bind(args.model_dump(mode="json"))  # type: ignore[attr-defined]
    return app
