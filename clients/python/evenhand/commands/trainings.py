"""`evenhand trainings`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml
from google.protobuf.json_format import MessageToDict
from rich.markup import escape

from evenhand.alignment import RECIPE, AlignedShares, Alignment, read_shares
from evenhand.audit.v1 import audit_pb2
from evenhand.before_after import Baseline, before_after_spec, versioned
from evenhand.client import Client
from evenhand.commands.console import (
    AsJson,
    Limit,
    RequestId,
    Watch,
    connected,
    follow,
    out,
    print_json,
    print_resource,
    print_resources,
)
from evenhand.commands.models import print_changes
from evenhand.listing import api_json
from evenhand.resources.v1 import model_pb2
from evenhand.tuning import FineTuning

app = typer.Typer(help="Training runs of the platform's recipes.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="trainings/… or what follows the slash.")]


@app.command()
def create(
    context: typer.Context,
    *,
    recipe: Annotated[str, typer.Argument(help="Such as chest-classifier; with --base, the base's own.")] = "",
    seed: Annotated[int, typer.Option(help="Seeds weights, order and phantoms.")] = 1,
    epochs: Annotated[int, typer.Option(min=0, help="Passes over the data; 0: the recipe's own.")] = 0,
    patients: Annotated[int, typer.Option(min=0, help="Patients in the phantom cohort; 0: the recipe's own.")] = 0,
    recipe_option: Annotated[str, typer.Option("--recipe", help="The recipe, instead of the argument.")] = "",
    base: Annotated[str, typer.Option(help="Reconstruction model to go on from, MODEL@VERSION.")] = "",
    method: Annotated[
        str, typer.Option("--mitigation", help="none, reweighting, equalised-odds or adversarial.")
    ] = "none",
    attributes: Annotated[
        list[str] | None,
        typer.Option("--attribute", help="To serve alike, such as sex or sex,age. Repeat for several."),
    ] = None,
    weights: Annotated[
        list[float] | None, typer.Option("--lambda", help="Weight of the term. Repeat for a sweep.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="Softness of thresholds, in logits; 0: the server's.")] = 0.0,
    label_conditional: Annotated[
        bool, typer.Option("--label-conditional", help="The adversary compares images of one label only.")
    ] = False,
    missing: Annotated[str, typer.Option(help="Images without a level: refuse, or own-group.")] = "refuse",
    labels: Annotated[list[str] | None, typer.Option("--label", help="Only in these labels. Repeat.")] = None,
    predictor: Annotated[str, typer.Option(help="Classifier that fairness is measured through, MODEL@VERSION.")] = "",
    cohort: Annotated[str, typer.Option(help="Learn from its train and validation splits; else phantoms.")] = "",
    world: Annotated[str, typer.Option(help="Of the phantoms: null, planted or confounded.")] = "",
    audit_cohort: Annotated[str, typer.Option(help="Refuse if it shares a patient with what is learned from.")] = "",
    allow_synthetic: Annotated[
        bool, typer.Option("--allow-synthetic", help="Learn from the cohort even if a model drew its images.")
    ] = False,
    watch: Watch = False,
    request_id: RequestId = None,
    as_json: AsJson = False,
) -> None:
    """Start a training run, or with --base go on from a model.

    Example: evenhand trainings create chest-classifier --seed 3 --watch

    Example: evenhand trainings create --base xray-unet@1 --mitigation equalised-odds --attribute sex --lambda 0.5
    """
    tuning = None
    if base:
        tuning = FineTuning(
            base=base,
            method=method,
            attributes=attributes or (),
            weights=weights or (),
            temperature=temperature,
            label_conditional=label_conditional,
            missing=missing,
            labels=labels or (),
            predictor=predictor,
            cohort=cohort,
            world=world,
            audit_cohort=audit_cohort,
            allow_synthetic=allow_synthetic,
        )
    elif method != "none" or attributes or weights or cohort or world or allow_synthetic:
        raise typer.BadParameter("this belongs to a fine-tuning; name the model to go on from with --base")
    named = recipe or recipe_option or base.partition("@")[0].removeprefix("models/")
    if not named:
        raise typer.BadParameter("name a recipe, or with --base a model to go on from")
    with connected(context) as client:
        operation = client.trainings.create(
            named, seed=seed, epochs=epochs, patients=patients, tuning=tuning, request_id=request_id
        )
        if watch:
            training = follow(operation, resume=f"evenhand operations wait {operation.name}")
            print_resource(training, as_json=as_json)
        else:
            print_resource(operation, as_json=as_json)


@app.command()
def align(
    context: typer.Context,
    *,
    base: Annotated[str, typer.Argument(metavar="MODEL", help="Text-to-image model to go on from, MODEL@VERSION.")],
    targets: Annotated[
        list[str], typer.Option("--target", help="sex:Female=0.5,Male=0.5, or sex for equal shares. Repeat.")
    ],
    classifiers: Annotated[
        list[str], typer.Option("--classifier", help="Guides, one for each --target in order, MODEL@VERSION. Repeat.")
    ],
    judges: Annotated[
        list[str] | None, typer.Option("--judge", help="Never guides, and says what came of it. Repeat, in order.")
    ] = None,
    joint: Annotated[bool, typer.Option("--joint", help="Align the crossing of the attributes.")] = False,
    prompts: Annotated[Path | None, typer.Option(help="To tune on, one a line; else the phantoms' 100.")] = None,
    test_prompts: Annotated[Path | None, typer.Option(help="To judge on, one a line; else the phantoms' 20.")] = None,
    iterations: Annotated[int, typer.Option(min=0, help="Batches; 0: the server's default.")] = 0,
    confidence: Annotated[float, typer.Option(help="τ: less sure targets are left out; 0: 0.6.")] = 0.0,
    preservation: Annotated[float | None, typer.Option(help="Weight of staying alike; default 12.")] = None,
    holding: Annotated[float | None, typer.Option(help="Weight of keeping its details; default 300.")] = None,
    method: Annotated[str, typer.Option(help="full, or lora.")] = "full",
    part: Annotated[str, typer.Option(help="unet, or prompt-path: where it meets the prompt.")] = "unet",
    learning_rate: Annotated[float, typer.Option(help="0: the method's default.")] = 0.0,
    guidance_scale: Annotated[float, typer.Option(help="0: the model's own.")] = 0.0,
    batch_images: Annotated[int, typer.Option(min=0, help="Of each prompt in a batch; 0: 10.")] = 0,
    test_images: Annotated[int, typer.Option(min=0, help="Of each test prompt, before and after; 0: 40.")] = 0,
    seed: Annotated[int, typer.Option(help="Seeds noise, prompts and targets.")] = 1,
    watch: Watch = False,
    request_id: RequestId = None,
    as_json: AsJson = False,
) -> None:
    """Tune a generator until its images have wanted shares of groups.

    Images of one prompt are aligned with one another, so that each prompt
    gets the shares and not only all of them together; what else they show
    is kept near to what the model drew before. The new version says what
    its images' shares were before and after, by the classifier that guided
    and by the judge. A platform serves it within seconds of the end. Look
    at it with: evenhand models prompt-grid.

    Example: evenhand trainings align cardiac-skewed-diffusion@1 --target sex:Female=0.5,Male=0.5 \\
    --classifier cardiac-sex-classifier --judge cardiac-sex-judge --watch
    """
    if len(classifiers) != len(targets) or len(judges or classifiers) != len(targets):
        raise typer.BadParameter("give one --classifier for each --target, and as many --judge or none")
    settings = {
        "confidence": confidence,
        "preservation": preservation,
        "holding": holding,
        "method": method,
        "part": part,
        "learning_rate": learning_rate,
        "guidance_scale": guidance_scale,
        "batch_images": batch_images,
        "test_images": test_images,
    }
    alignment = Alignment(
        base=base,
        shares=[
            AlignedShares(*read_shares(text)[:1], classifier, read_shares(text)[1], judge)
            for text, classifier, judge in zip(targets, classifiers, judges or [""] * len(targets), strict=True)
        ],
        joint=joint,
        prompts=_lines(prompts),
        test_prompts=_lines(test_prompts),
        settings={name: value for name, value in settings.items() if value is not None},
    )
    with connected(context) as client:
        operation = client.trainings.create(
            RECIPE, seed=seed, epochs=iterations, tuning=alignment, request_id=request_id
        )
        if watch:
            training = follow(operation, resume=f"evenhand operations wait {operation.name}")
            print_resource(training, as_json=as_json)
        else:
            print_resource(operation, as_json=as_json)


def _lines(path: Path | None) -> list[str]:
    """The lines of a file that say something."""
    text = path.read_text("utf-8") if path is not None else ""
    return [line.strip() for line in text.splitlines() if line.strip()]


@app.command("list")
def list_trainings(context: typer.Context, limit: Limit = None, as_json: AsJson = False) -> None:
    """Training runs, newest first."""
    with connected(context) as client:
        found = client.trainings.list(limit)
    print_resources(found, ["name", "recipe", "model"], as_json=as_json)


@app.command()
def show(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """One training run: its model and held-out scores."""
    with connected(context) as client:
        print_resource(client.trainings.get(name), as_json=as_json)


@app.command()
def audit(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(help="trainings/…, or MODEL@VERSION of one version that it left.")],
    cohort: Annotated[str, typer.Option(help="To audit; none of its patients may have been learned from.")],
    versions: Annotated[
        list[str] | None, typer.Option("--version", help="Only this version of the sweep. Repeat for several.")
    ] = None,
    attributes: Annotated[
        list[str] | None, typer.Option("--attribute", help="Instead of those that were to be served alike. Repeat.")
    ] = None,
    labels: Annotated[list[str] | None, typer.Option("--label", help="Only these labels. Repeat.")] = None,
    predictor: Annotated[str, typer.Option(help="Classifier, MODEL@VERSION, instead of the training's.")] = "",
    preset: Annotated[str, typer.Option(help="Acquisition, such as mri-8x, instead of the base's own.")] = "",
    baseline: Annotated[
        Baseline, typer.Option(help="What the others are compared with: the base, or undegraded originals.")
    ] = "base",
    seed: Annotated[int, typer.Option(min=0, help="Of the degradation's noise.")] = 0,
    title: Annotated[str, typer.Option("--name", help="What people will call it.")] = "",
    folder: Annotated[Path | None, typer.Option("--out", help="Also write the report and its tables there.")] = None,
    spec_only: Annotated[bool, typer.Option("--spec", help="Print the audit's YAML instead of running it.")] = False,
    request_id: RequestId = None,
    as_json: AsJson = False,
) -> None:
    """Audit a fine-tuning: the model before, beside the versions after, on people whom neither learned from.

    The result also stands in each version's card: evenhand models show xray-unet@2.

    Example: evenhand trainings audit trainings/1b2c --cohort cohorts/3d4e --out report
    """
    with connected(context) as client:
        base, tuned = _before_and_after(client, name, versions or ())
        spec = before_after_spec(
            cohort,
            base,
            tuned,
            predictor=predictor,
            attributes=attributes or (),
            labels=labels or (),
            baseline=baseline,
            preset=preset,
            seed=seed,
        )
        if spec_only:
            _print_spec(spec)
            return
        shown = title or f"{versioned(base).removeprefix('models/')} before and after {tuned[0].lineage.method}"
        operation = client.audits.create(spec, display_name=shown, request_id=request_id)
        resume = f"evenhand audits watch {operation.metadata.resource or operation.name}"
        made = follow(operation, resume=resume)
        files = made.download(folder) if folder is not None else []
        cards = [client.models.get(versioned(model), audits=True).proto for model in tuned]
    found = [one for card in cards for one in card.audits if one.audit == made.name]
    if as_json:
        print_json({"audit": made.to_json(), "cards": [api_json(one) for one in found]})
        return
    out.print(f"[bold]{escape(f'{made.name}  {shown}')}[/bold]", soft_wrap=True, highlight=False)
    print_changes(found)
    out.print(f"report: {found[0].report if found else made.name}", soft_wrap=True, highlight=False)
    for path in files:
        out.print(f"  {path}", soft_wrap=True, highlight=False)


def _before_and_after(
    client: Client, name: str, versions: list[str] | tuple[str, ...]
) -> tuple[model_pb2.Model, list[model_pb2.Model]]:
    """The base, and the versions of a fine-tuning that are asked for (all by default)."""
    names = (name,) if "@" in name else client.trainings.get(name).tuned_models
    there = {model.rpartition("@")[2]: model for model in names}
    if not there or not set(versions) <= set(there):
        raise typer.BadParameter(f"{name} left the versions {', '.join(there) or '(none yet)'}")
    chosen = [model for version, model in there.items() if not versions or version in versions]
    tuned = [client.models.get(model).proto for model in chosen]
    if not tuned[0].lineage.base:
        raise typer.BadParameter(f"{name} was trained from scratch; there is no model before it")
    return client.models.get(tuned[0].lineage.base).proto, tuned


def _print_spec(spec: audit_pb2.AuditSpec) -> None:
    plain = MessageToDict(spec, preserving_proto_field_name=True)
    typer.echo(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), nl=False)
