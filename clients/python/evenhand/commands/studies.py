"""`evenhand studies`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from rich.markup import escape

from evenhand.audit.v1 import audit_pb2
from evenhand.augmentation import is_augmentation
from evenhand.commands import augmentation
from evenhand.commands.console import AsJson, ExitCode, connected, err, out, print_json
from evenhand.commands.phantoms import write_phantoms
from evenhand.errors import InvalidInput
from evenhand.following import follow_together
from evenhand.reports import AuditReport
from evenhand.studies import Phantoms, Study, StudyAudit, read_study
from evenhand.study_page import verdict_line
from evenhand.study_runs import Folder, Source, check_models, folder_of, run_study

app = typer.Typer(help="Studies: several audits of several cohorts in one YAML file.", no_args_is_help=True)
FOLDER_OPTIONS = {"allow_extra_args": True, "ignore_unknown_options": True}  # --chest DIR: named by the study
FOLDER_TABLES = ("table", "demographics")
StudyFile = Annotated[Path, typer.Argument(metavar="FILE", help="YAML file with name and audits.")]
OtherModel = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="NAME=OTHER[@VERSION]", help="Use another model; may be given several times."),
]


@app.command(context_settings=FOLDER_OPTIONS)
def run(
    context: typer.Context,
    file: StudyFile,
    *,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder for artifacts and index.html; out/<study> by default.")
    ] = None,
    model: OtherModel = None,
    as_json: AsJson = False,
) -> None:
    """Run all audits of a study. The same command again goes on where it was.

    Each audit of the study is an option that says where its cohort is: --chest DIR is a folder of images with one CSV
    (--chest-table FILE chooses among several; --chest-demographics FILE is a second one with a row per patient),
    --chest cohorts/1b2c a cohort that is there already. Without the option phantoms are drawn as the study says.

    Examples:

      evenhand studies run deploy/studies/reconstruction.yaml

      evenhand studies run deploy/studies/reconstruction.yaml --chest CheXpert
      --chest-table CheXpert/CheXpert-v1.0-small/valid.csv --chest-demographics "CHEXPERT DEMO.csv"
      --brain UCSF-PDGM --model chest-classifier=densenet@2

      evenhand studies run deploy/studies/augmentation.yaml
    """
    path, given = _split([str(file), *context.args])
    if is_augmentation(path):
        _refuse_models(model)
        augmentation.run_file(context, path, given, folder, as_json=as_json)
        return
    study = read_study(path).with_models(_other_models(model or ()))
    _check_options(study, given)
    target = folder or Path("out") / study.name
    sources = {audit.name: _source(audit, given) for audit in study.audits if audit.name in given}
    with connected(context) as client:
        check_models(client, study)  # drawing phantoms takes a while: first what may be wrong
        for audit in study.audits:
            if audit.name not in sources:
                sources[audit.name] = _phantoms(context, audit, target / "phantoms")
        try:
            audits = run_study(client, study, sources, target, follow_together)
            joined = {name: client.cohorts.get(audit.proto.spec.cohort).demographics for name, audit in audits.items()}
        except KeyboardInterrupt:
            err.print("\nwhat has begun goes on; the same command again comes back to it", soft_wrap=True)
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    if as_json:
        print_json({name: audit.to_json() for name, audit in audits.items()})
        return
    for name, made in audits.items():
        report = AuditReport.load(target / name / "report.json")
        out.print(f"[bold]{name}[/bold]  {made.name}  {target / name / 'report.html'}", soft_wrap=True, highlight=False)
        for line in verdict_line(report).split("; "):
            out.print(f"  {escape(line)}", soft_wrap=True, highlight=False)
        if joined[name]:
            counts = ", ".join(f"{count} {how}" for how, count in joined[name].items())
            out.print(f"  patients in the demographics: {counts}", soft_wrap=True, highlight=False)
    out.print(f"open {target / 'index.html'} in a browser", soft_wrap=True, highlight=False)


@app.command()
def show(file: StudyFile, model: OtherModel = None, as_json: AsJson = False) -> None:
    """What a study asks: cohorts, pipelines, attributes. Nothing is sent.

    Example: evenhand studies show deploy/studies/reconstruction.yaml
    """
    if is_augmentation(file):
        _refuse_models(model)
        augmentation.show_file(file, as_json=as_json)
        return
    study = read_study(file).with_models(_other_models(model or ()))
    if as_json:
        print_json({"name": study.name, "audits": [_plain(audit) for audit in study.audits]})
        return
    out.print(f"[bold]{study.name}[/bold]")
    for audit in study.audits:
        plain = _plain(audit)
        out.print(f"\n[bold]{plain.pop('name')}[/bold]")
        pipelines = plain.pop("pipelines")
        for field, value in plain.items():
            out.print(f"  {field}: {escape(value) or 'none'}", soft_wrap=True, highlight=False)
        for name, stages in pipelines.items():
            out.print(f"  {name}: {escape(' → '.join(stages))}", soft_wrap=True, highlight=False)


def _refuse_models(given: Sequence[str] | None) -> None:
    if given:
        raise InvalidInput("a downstream study names its models itself: synthetic.NAME.model", field="--model")


def _plain(audit: StudyAudit) -> dict[str, Any]:
    drawn = audit.phantoms
    return {
        "name": audit.name,
        "schema": audit.schema,
        "phantoms": f"{drawn.patients} {drawn.kind} patients, {drawn.world} world, seed {drawn.seed}" if drawn else "",
        "attributes": "; ".join(audit.spec.attributes),
        "optional attributes": ", ".join(audit.optional_attributes),
        "files": ", ".join(audit.files),
        "quality metrics": ", ".join(audit.spec.quality_metrics),
        "pipelines": {pipeline.name: [_stage(stage) for stage in pipeline.stages] for pipeline in audit.spec.pipelines},
    }


def _stage(stage: audit_pb2.Stage) -> str:
    """ "degrade preset=mri-8x", "reconstruct mri-unet"."""
    fields = MessageToDict(stage, preserving_proto_field_name=True)
    return " ".join(f"{name} {_words(value)}" for name, value in fields.items()) or "empty"


def _words(value: Mapping[str, Any] | str) -> str:
    if isinstance(value, str):
        return value.removeprefix("models/")
    return " ".join(
        f"{name}={number:g}" if isinstance(number, float) else f"{name}={number}" for name, number in value.items()
    )


def _other_models(given: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for name, _, other in pairs:
        if not name or not other:
            raise InvalidInput("--model takes NAME=OTHER or NAME=OTHER@VERSION", field="--model")
    return {name: other for name, _, other in pairs}


def _split(arguments: Sequence[str]) -> tuple[Path, dict[str, str]]:
    """The study's file, and the options that its audits name: {"chest": DIR, "chest-table": FILE}."""
    given: dict[str, str] = {}
    files: list[str] = []
    rest = list(arguments)
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        if not option.startswith("--"):
            files.append(option + equals + value)
        elif not equals and not rest:
            raise InvalidInput(f"{option} needs a value", field=option)
        else:
            given[option[2:]] = value if equals else rest.pop(0)
    if len(files) != 1:
        raise InvalidInput(f"one study at a time, got {', '.join(files) or 'none'}", field="FILE")
    return Path(files[0]), given


def _check_options(study: Study, given: Mapping[str, str]) -> None:
    of_folders = {f"{audit.name}-{which}": audit.name for audit in study.audits for which in FOLDER_TABLES}
    known = {audit.name: None for audit in study.audits} | of_folders
    for option in given:
        if option not in known:
            listed = ", ".join(f"--{name}" for name in sorted(known))
            raise InvalidInput(f"no such option --{option}", field=f"--{option}", hint=f"this study has {listed}")
        folder = known[option]
        if folder is not None and given.get(folder, "cohorts/").startswith("cohorts/"):
            raise InvalidInput("a table belongs to a folder", field=f"--{option}", hint=f"--{folder} DIR")


def _source(audit: StudyAudit, given: Mapping[str, str]) -> Source:
    where = given[audit.name]
    if where.startswith("cohorts/"):
        return where
    table, demographics = (given.get(f"{audit.name}-{which}") for which in FOLDER_TABLES)
    return folder_of(audit, Path(where), Path(table) if table else None, Path(demographics) if demographics else None)


def _phantoms(context: typer.Context, audit: StudyAudit, folder: Path) -> Folder:
    """Drawn once: the schema is the last file that is written, so with it the folder is whole."""
    drawn: Phantoms | None = audit.phantoms
    if drawn is None:
        option = f"--{audit.name}"
        raise InvalidInput(f"{audit.name} has no phantoms, so it needs a folder", field=option, hint=f"{option} DIR")
    images = folder / f"{drawn.kind}-{drawn.world}-{drawn.patients}-{drawn.seed}"
    if not (images / "schema.yaml").is_file():
        write_phantoms(context, images, kind=drawn.kind, world=drawn.world, patients=drawn.patients, seed=drawn.seed)
    return folder_of(audit, images)
