"""A balanced synthetic cohort through the whole platform, against the bare sampler on the same prompts and masks.

    python loadtests/synthetic_cohort.py [--images 96] [--steps 0] [--rounds 3] [--json] [--quick]

    served   from CreateSyntheticCohort until the cohort is published: draws, masks read from shards, sampling by handle
             in the background, shards, provenance, manifest and card written, chunks committed
    bare     the engine alone in this process, as many threads and rows a call, all images ordered at once; nothing is
             read or written

Both make the same images of the shipped phantom-controlnet, one after the other in every round; the ratio is the median
over rounds. Ends with 1 when it is over its budget.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import sys
import time
from statistics import median

import numpy as np
import pandas as pd
from evenhand import Client
from evenhand.cohorts import Cohort

from loadtests.figures import Figures, told
from loadtests.pelvis_pair import ZOO
from loadtests.platform_run import Platform, platform
from services.hosting.diffusion.host import DiffusionHost
from services.hosting.diffusion.records import pixels_digest
from services.hosting.diffusion.rows import Order
from services.hosting.diffusion.settings import DiffusionSettings
from services.hosting.shards import Record
from services.maths.diffusion.guidance import Guidance
from services.maths.phantoms import draw_cohort
from services.maths.phantoms.captions import attributes_of
from services.maths.pixels import resize_masks
from tests.audit.cohorts import put_cohort

MODEL, COHORT = "phantom-controlnet", "cohorts/hearts"
TEMPLATE = "Short-axis cardiac MRI. {sex}, {bmi} BMI, {heart_failure}"
MASKS = {"mask_labels": ["background", "left ventricle", "myocardium", "right ventricle"], "mask_planes": ["ED", "ES"]}
LEVELS = {"sex": ("Female", "Male"), "bmi": ("underweight", "normal", "overweight", "obese")}
PATIENTS = 200
LIMIT_S = 3600.0


def heart_records() -> list[Record]:
    """Cardiac phantoms at the model's own size, with both phases' labels."""
    drawn = draw_cohort("cardiac", "null", PATIENTS, seed=3, size=64)
    assert drawn.es_masks is not None
    return [
        Record(
            record_id=str(row["record_id"]),
            patient_id=str(row["patient_id"]),
            image=drawn.images[place],
            mask=np.stack([drawn.masks[place], drawn.es_masks[place]]),
            attributes={"sex": str(row["sex"]), "bmi": attributes_of("cardiac", row)["bmi"]},
            labels={"heart_failure": int(row["heart_failure"]) if row["heart_failure"] in (0, 1) else None},
            split="train",
            modality="MR",
        )
        for place, row in enumerate(drawn.table.to_dict("records"))
    ]


def served(client: Client, images: int, steps: int, seed: int) -> tuple[Cohort, float]:
    """The cohort, and seconds from the request until it was there."""
    started = time.perf_counter()
    cohort = client.cohorts.synthesise(
        COHORT,
        model=MODEL,
        template=TEMPLATE,
        images=images,
        labels=["heart_failure"],
        attributes=["sex"],
        seed=seed,
        steps=steps,
    ).result(timeout=LIMIT_S)
    return cohort, time.perf_counter() - started


async def bare(cohort: Cohort, provenance: pd.DataFrame, masks: dict[str, np.ndarray]) -> tuple[list[str], float]:
    """Digests of the same images, and the seconds of sampling them."""
    assert cohort.synthetic is not None
    spec = cohort.synthetic.proto.spec
    host = DiffusionHost(DiffusionSettings(registries=(ZOO,)), ("mask-to-image",))
    try:
        await host.warm_up()
        record = host.find(MODEL)
        denoiser, plan = host.denoiser(record), host.plan(record, spec.sampler, spec.steps)
        started = time.perf_counter()
        orders = []
        for place, row in enumerate(provenance.to_dict("records")):
            planes = resize_masks(masks[row["source_record"]], 64, 64)
            condition = await host.engine.run(denoiser.condition, row["prompt"], planes)
            null = await host.engine.run(denoiser.condition, "", planes)
            guidance = Guidance(spec.guidance_scale)
            orders.append(Order(condition, plan, spec.seed, index=place, guidance=guidance, null=null))
        made = await host.images(record, orders)
        seconds = time.perf_counter() - started
    finally:
        host.close()
    return [pixels_digest(image) for image in made], seconds


def compare(running: Platform, images: int, steps: int, rounds: int) -> Figures:
    records = heart_records()
    put_cohort(running.ledger, running.store, COHORT, records, levels=LEVELS, more=MASKS)
    masks = {record.record_id: record.mask for record in records if record.mask is not None}
    ours: list[float] = []
    theirs: list[float] = []
    with Client(f"{running.settings.host}:{running.settings.grpc_port}") as client:
        served(client, 8, 2, seed=0)  # warms up both sides
        for seed in range(1, rounds + 1):
            cohort, seconds = served(client, images, steps, seed)
            ours.append(images / seconds)
            file = next(part for part in cohort.proto.artifacts if part.filename == "provenance.parquet")
            provenance = pd.read_parquet(io.BytesIO(running.store.get(file.key)))
            digests, seconds = asyncio.run(bare(cohort, provenance, masks))
            theirs.append(images / seconds)
            if digests != list(provenance["pixels_digest"]):
                raise RuntimeError("the bare sampler made other images")
            print(f"round {seed}: served {ours[-1]:.2f}, bare {theirs[-1]:.2f} images/s", file=sys.stderr)
    return {
        "images": images,
        "served_images_per_s": median(ours),
        "bare_images_per_s": median(theirs),
        "served_to_bare": median(a / b for a, b in zip(ours, theirs, strict=True)),
        "load_average": os.getloadavg()[0],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--steps", type=int, default=0, help="0: the model's own")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a few images and steps; never fails")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    images, steps, rounds = (8, 2, 1) if options.quick else (options.images, options.steps, options.rounds)
    with platform() as running:
        found = compare(running, images, steps, rounds)
    within = told(found, "synthetic_cohort", as_json=options.json)
    return 0 if within or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())
