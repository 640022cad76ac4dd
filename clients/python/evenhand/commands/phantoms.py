"""Phantoms for commands that need a cohort and were given none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from evenhand.errors import FailedPrecondition


def write_phantoms(context: typer.Context, folder: Path, *, kind: str, world: str, patients: int, seed: int) -> None:
    """Through the platform's own `phantoms write`, which joins this command line when the platform is installed."""
    root: Any = context.find_root().command
    if "phantoms" not in root.commands:
        hint = "install evenhand-platform beside this client"
        raise FailedPrecondition("the phantoms command is not installed", reason="PLUGIN_MISSING", hint=hint)
    options = {"kind": kind, "world": world, "patients": patients, "seed": seed, "out": folder}
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    ended = root.commands["phantoms"].main(
        args=["write", *arguments], prog_name="evenhand phantoms", standalone_mode=False
    )
    if isinstance(ended, int) and ended != 0:
        raise typer.Exit(ended)
