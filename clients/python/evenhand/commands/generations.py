"""`evenhand generations`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from evenhand.commands.console import (
    AsJson,
    Limit,
    RequestId,
    Watch,
    connected,
    err,
    follow,
    print_fields,
    print_json,
    print_resource,
    print_resources,
)
from evenhand.commands.settings import (
    Formats,
    Guidance,
    Model,
    Out,
    Sampler,
    Seed,
    Steps,
    Title,
    Upscale,
    given,
    pairs,
)
from evenhand.errors import FailedPrecondition
from evenhand.pictures import GeneratedImage
from evenhand.progress import count_bar

HELP = """Synthetic images from words, attributes or a mask.

evenhand generations create "Frontal chest radiograph, female" -o images

evenhand generations create -a sex=Female -a age=63 --count 8 -o images

evenhand generations stream "Axial T2 image of a glioma patient" -o images

evenhand generations repeat images/image-0000.png
"""
app = typer.Typer(help=HELP, no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="generations/… or what follows the slash.")]
Prompt = Annotated[str, typer.Argument(help="What the image shows, in words.")]
Attribute = Annotated[
    list[str] | None, typer.Option("--attribute", "-a", help="name=value, such as sex=Female; those left out are open.")
]
Mask = Annotated[Path | None, typer.Option(help="NPY, PNG or NIfTI file with label numbers.")]
Negative = Annotated[str, typer.Option("--negative", help="What guidance leads away from.")]
Count = Annotated[int, typer.Option(min=1, help="How many images.")]
First = Annotated[int, typer.Option(min=0, help="Index of the first: an image depends on seed and index.")]


@app.command()
def create(
    context: typer.Context,
    *,
    prompt: Prompt = "",
    attribute: Attribute = None,
    mask: Mask = None,
    model: Model = "",
    count: Count = 1,
    seed: Seed = 0,
    first_index: First = 0,
    sampler: Sampler = "",
    steps: Steps = 0,
    guidance: Guidance = 0.0,
    negative: Negative = "",
    upscale: Upscale = "",
    formats: Formats = None,
    folder: Out = None,
    name: Title = "",
    watch: Watch = False,
    request_id: RequestId = None,
    as_json: AsJson = False,
) -> None:
    """Start a generation; with --out wait for it and write its files.

    Example: evenhand generations create "Frontal chest radiograph, female" --count 4 --out images

    Example: evenhand generations create -a sex=Female,age=63 --upscale pelvis-upscaler --format dicom --out images
    """
    settings = given(
        attributes=pairs(attribute, "--attribute"),
        mask=mask,
        model=model,
        count=count,
        seed=seed,
        first_index=first_index,
        sampler=sampler,
        steps=steps,
        guidance_scale=guidance,
        negative_prompt=negative,
        upscale_model=upscale,
        formats=formats,
    )
    with connected(context) as client:
        operation = client.generations.create(prompt, display_name=name, request_id=request_id, **settings)
        finish(operation, folder, watch=watch, as_json=as_json)


def finish(operation: Any, folder: Path | None, *, watch: bool, as_json: bool) -> None:
    """What every command that starts something does with --watch and --out."""
    if folder is None and not watch:
        print_resource(operation, as_json=as_json)
        return
    made = follow(operation, resume=f"evenhand operations wait {operation.name}")
    if folder is not None:
        made.download(folder)
        err.print(f"{len(made.artifacts)} files in {folder}", highlight=False)
    print_resource(made, as_json=as_json)


@app.command()
def stream(
    context: typer.Context,
    *,
    prompt: Prompt = "",
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder to write into.")] = Path("images"),
    attribute: Attribute = None,
    mask: Mask = None,
    model: Model = "",
    count: Count = 1,
    seed: Seed = 0,
    first_index: First = 0,
    sampler: Sampler = "",
    steps: Steps = 0,
    guidance: Guidance = 0.0,
    negative: Negative = "",
    upscale: Upscale = "",
    formats: Annotated[str, typer.Option("--format", help="png (with the record inside) or npy (every bit).")] = "png",
    previews: Annotated[int, typer.Option(min=0, help="Write a preview every so many steps.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make images now and write each as it is done. Ctrl-C ends the work. Nothing stays on the server.

    Example: evenhand generations stream "Axial T2 image of a glioma patient" --count 4 --previews 5
    """
    if formats not in ("png", "npy"):
        raise typer.BadParameter("png or npy; the platform writes DICOM: generations create", param_hint="--format")
    settings = given(
        attributes=pairs(attribute, "--attribute"),
        mask=mask,
        model=model,
        count=count,
        seed=seed,
        first_index=first_index,
        sampler=sampler,
        steps=steps,
        guidance_scale=guidance,
        negative_prompt=negative,
        upscale_model=upscale,
    )
    written = []
    with connected(context) as client, count_bar("images", count) as done:
        for image in client.generations.stream(prompt, previews_every=previews, **settings):
            written.append({"file": str(image.save(folder / _filename(image, formats))), **image.to_dict()})
            done(sum(not row["preview"] for row in written))
    if as_json:
        print_json(written)
    else:
        print_fields({row["file"]: row["digest"] for row in written}, as_json=False)


def _filename(image: GeneratedImage, ending: str) -> str:
    preview = f"-step-{image.step:03d}" if image.preview else ""
    return f"image-{image.index:04d}{preview}.{ending}"


@app.command()
def repeat(
    context: typer.Context,
    record: Annotated[Path, typer.Argument(help="A PNG of the platform's, or a JSON file with a record.")],
    target: Annotated[Path | None, typer.Option("--out", "-o", help="Write the image here, .png or .npy.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make an image again from its record, and say whether it is the same to the bit. Exit code 5 if it is not.

    Example: evenhand generations repeat images/image-0000.png --out again.npy
    """
    with connected(context) as client:
        found = client.generations.repeat(record)
    if target is not None:
        found.image.save(target)
    fields = {"identical": found.identical, "device": found.device, "device_then": found.device_then}
    print_fields({**fields, "pixels_digest": found.image.digest}, as_json=as_json)
    if not found.identical:
        raise FailedPrecondition(
            "the image is not the same to the bit",
            field=str(record),
            reason="IMAGE_DIFFERS",
            hint="bits are the same on the same device class and the same versions only",
        )


@app.command("list")
def list_generations(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="Only those of this model.")] = "",
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Generations, newest first."""
    with connected(context) as client:
        found = client.generations.list(model=model, limit=limit)
    print_resources(found, ["name", "display_name", "state", "model", "seed", "done"], as_json=as_json)


@app.command()
def show(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """One generation: what was asked, where it stands, what it left."""
    with connected(context) as client:
        print_resource(client.generations.get(name), as_json=as_json)


@app.command()
def download(
    context: typer.Context,
    name: Name,
    filenames: Annotated[list[str] | None, typer.Argument(help="Files; all of them by default.")] = None,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder to write into.")] = Path("images"),
    as_json: AsJson = False,
) -> None:
    """Write a generation's files into a folder, each checked against its sha256.

    Example: evenhand generations download generations/1b2c --out images
    """
    with connected(context) as client:
        paths = client.generations.get(name).download(folder, filenames or ())
    print_fields({str(path): path.stat().st_size for path in paths}, as_json=as_json)


@app.command()
def cancel(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Stop a generation."""
    with connected(context) as client:
        operation = client.generations.get(name).operation()
        operation.cancel()
    print_fields({"cancelling": name, "operation": operation.name}, as_json=as_json)


@app.command()
def delete(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Forget a finished generation."""
    with connected(context) as client:
        client.generations.delete(name)
    print_fields({"deleted": name}, as_json=as_json)
