"""`evenhand studies` for a downstream study of synthetic data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape

from evenhand.augmentation import AugmentationStudy, read_augmentation, run_augmentation
from evenhand.commands.console import ExitCode, connected, err, out, print_json
from evenhand.commands.evaluate import bars
from evenhand.commands.phantoms import write_phantoms
from evenhand.errors import InvalidInput
from evenhand.following import follow_together
from evenhand.study_runs import Folder, folder_of

_TABLES = ("table", "demographics")


def run_file(
    context: typer.Context, file: Path, given: Mapping[str, str], folder: Path | None, *, as_json: bool
) -> None:
    """Run the study in ``file``. ``given`` are options: {"cardiac": DIR, "cardiac-table": FILE}."""
    study = read_augmentation(file)
    _check_options(study, given)
    target = folder or Path("out") / study.study
    with connected(context) as client:
        source = _source(study, given) or _phantoms(context, study, target / "phantoms")
        try:
            with bars() as progress:
                report = run_augmentation(client, study, source, target, follow=follow_together, progress=progress)
        except KeyboardInterrupt:
            err.print("\nwhat is finished is kept; the same command again goes on", soft_wrap=True)
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    if as_json:
        print_json(report)
        return
    for row in report["gaps"]:
        if row["threshold"] != "argmax":
            out.print(f"  {escape(_gap_line(row))}", soft_wrap=True, highlight=False)
    for name, found in report["fidelity"].items():
        for problem in found["problems"]:
            out.print(f"  [yellow]{escape(name)}[/yellow]: {escape(problem)}", soft_wrap=True, highlight=False)
    out.print(f"open {target / 'index.html'} in a browser", soft_wrap=True, highlight=False)


def show_file(file: Path, *, as_json: bool) -> None:
    """What the study asks. Nothing is sent."""
    study = read_augmentation(file)
    drawn = study.phantoms
    arms = {str(arm.get("name")): _arm_words(arm) for arm in study.order.get("arms", ())}
    plain: dict[str, Any] = {
        "name": study.study,
        "cohort": study.name,
        "schema": study.schema,
        "phantoms": f"{drawn.patients} {drawn.kind} patients, {drawn.world} world, seed {drawn.seed}" if drawn else "",
        "label": study.order.get("label", ""),
        "attributes": "; ".join(study.order.get("attributes", ())),
        "repeats": study.order.get("repeats", 8),
        "synthetic": {name: _synthetic_words(spec) for name, spec in study.synthetic.items()},
        "arms": arms,
    }
    if as_json:
        print_json(plain)
        return
    out.print(f"[bold]{plain.pop('name')}[/bold]")
    groups = {title: plain.pop(title) for title in ("synthetic", "arms")}
    for field, value in plain.items():
        out.print(f"  {field}: {escape(str(value)) or 'none'}", soft_wrap=True, highlight=False)
    for title, entries in groups.items():
        out.print(f"\n[bold]{title}[/bold]")
        for name, words in entries.items():
            out.print(f"  {escape(name)}: {escape(words)}", soft_wrap=True, highlight=False)


def _arm_words(arm: Mapping[str, Any]) -> str:
    real = "all real training images" if arm.get("real") else "no real image"
    made = int(arm.get("synthetic", 0))
    shuffled = ", labels shuffled" if arm.get("shuffled") else ""
    return f"{real}, {made} synthetic ones from {arm.get('source')}{shuffled}" if made else real


def _synthetic_words(spec: Mapping[str, Any]) -> str:
    if "oracle" in spec:
        drawn = spec["oracle"]
        return f"{drawn['images']} phantoms of other patients, drawn in balance"
    balanced = " × ".join([*spec.get("attributes", ()), *spec.get("labels", ())])
    return f"{spec.get('images')} images by {spec.get('model')}, balanced over {balanced}"


def _gap_line(row: Mapping[str, Any]) -> str:
    what = f"{row['arm']}: {row['metric']} by {row['attribute']}, {row['better']} less {row['worse']}"
    if row["gap"] is None:
        return f"{what}: insufficient"
    gone = "" if row.get("share_gone") is None else f", {row['share_gone']:.0%} of the gap gone"
    return f"{what}: {row['gap']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]{gone}"


def _check_options(study: AugmentationStudy, given: Mapping[str, str]) -> None:
    known = [study.name, *(f"{study.name}-{which}" for which in _TABLES)]
    for option in given:
        if option not in known:
            listed = ", ".join(f"--{name}" for name in known)
            raise InvalidInput(f"no such option --{option}", field=f"--{option}", hint=f"this study has {listed}")
        if study.name not in given:
            hint = f"--{study.name} DIR"
            raise InvalidInput("a table belongs to a folder", field=f"--{option}", hint=hint)


def _source(study: AugmentationStudy, given: Mapping[str, str]) -> Folder | None:
    if study.name not in given:
        return None
    table, demographics = (given.get(f"{study.name}-{which}") for which in _TABLES)
    where = Path(given[study.name])
    return folder_of(study, where, Path(table) if table else None, Path(demographics) if demographics else None)


def _phantoms(context: typer.Context, study: AugmentationStudy, folder: Path) -> Folder:
    """Drawn once: the schema is the last file that is written, so with it the folder is whole."""
    drawn = study.phantoms
    if drawn is None:
        option = f"--{study.name}"
        raise InvalidInput("the study has no phantoms, so it needs a folder", field=option, hint=f"{option} DIR")
    images = folder / f"{drawn.kind}-{drawn.world}-{drawn.patients}-{drawn.seed}"
    if not (images / "schema.yaml").is_file():
        write_phantoms(context, images, kind=drawn.kind, world=drawn.world, patients=drawn.patients, seed=drawn.seed)
    return folder_of(study, images)
