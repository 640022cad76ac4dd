"""Binds the classifiers application. `import_path: services.classifiers.app:build`."""

from __future__ import annotations

from ray.serve import Application

from services.classifiers.deployment import Classifier
from services.classifiers.settings import Settings


def build(args: Settings) -> Application:
    """The application for these settings; a misspelt key stops the deploy with its name."""
    app: Application = Classifier.options(**args.deployment_options()).bind(args.model_dump(mode="json"))  # type: ignore[attr-defined]
    return app
