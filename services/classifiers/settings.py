"""Settings of the classifiers application."""

from __future__ import annotations

from services.hosting.settings import HostSettings


class Settings(HostSettings):
    """Nothing of its own yet: every host setting, under this application's name."""
