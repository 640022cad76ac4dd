"""Options that the commands about synthetic images share, and how their values are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

Model = Annotated[str, typer.Option(help="Model; may be left out where only one fits.")]
Sampler = Annotated[str, typer.Option(help="ddim, ddpm, dpmpp-2m, unipc or heun; the server's default otherwise.")]
Steps = Annotated[int, typer.Option(min=0, help="Steps of the sampler; 0: the server's default.")]
Seed = Annotated[int, typer.Option(min=0, help="Seeds all noise: the same seed, the same image.")]
Guidance = Annotated[float, typer.Option(min=0, help="Guidance scale; 1: none, 0: the model's default.")]
Upscale = Annotated[str, typer.Option("--upscale", help="Super-resolution model that the images go through.")]
Formats = Annotated[list[str] | None, typer.Option("--format", help="png, npy or dicom; may be given several times.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Wait, and write the files into this folder.")]
Title = Annotated[str, typer.Option(help="What people will call it.")]


_NEXT = re.compile(r",(?=[^,=]+=)")  # a comma before the next name; a level may have commas of its own


def given(**settings: Any) -> dict[str, Any]:
    """Those that say something: the rest is the server's to choose."""
    return {name: value for name, value in settings.items() if value not in (None, "", 0, {}, [])}


def pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """ "sex=Female" and "age=63", or both in one "sex=Female,age=63", as a mapping."""
    found: dict[str, str] = {}
    for text in (part for whole in texts or () for part in _NEXT.split(whole)):
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise typer.BadParameter(f"{text!r} is not of the form name=value", param_hint=option)
        found[name.strip()] = value.strip()
    return found


def changes(texts: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """ "sex=Female:Male" as where it begins and where it ends."""
    source, target = {}, {}
    for name, value in pairs(texts, "CHANGE").items():
        before, colon, after = value.partition(":")
        if not colon or not before or not after:
            raise typer.BadParameter(f"{name}={value} is not of the form name=from:to", param_hint="CHANGE")
        source[name], target[name] = before, after
    return source, target
