"""A small cardiac world for synthetic cohorts: a real generator with tiny untrained models, and the audit's worker."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from evenhand.cohort.v1 import cohort_pb2, cohort_service_pb2, synthetic_pb2
from google.longrunning import operations_pb2

from services.adapters.ledger import Operation
from services.audit.cohorts import Cohorts
from services.audit.synthesis.creation import SyntheticCohorts
from services.audit.worker import Worker
from services.generator.application import Application
from services.hosting.envelope import unseal
from services.hosting.shards import Record
from tests.audit.cohorts import put_cohort
from tests.audit.world import Processes, World
from tests.diffusion_packages import write_mask_to_image, write_text_to_image
from tests.generator.world import World as GeneratorWorld
from tests.packages import write_classifier

MODEL, WORDS_ONLY, COHORT = "models/phantom-controlnet", "models/phantom-diffusion", "cohorts/hearts"
MASK_LABELS = ["background", "left ventricle", "myocardium", "right ventricle"]
LEVELS = {"sex": ("Female", "Male"), "bmi": ("normal", "obese"), "race": ("White", "Black")}
MASKS = {"mask_labels": MASK_LABELS, "mask_planes": ["ED", "ES"]}
# Patients of each (sex, bmi, heart failure) in the training split.
PATIENTS = {
    ("Female", "normal", 0): 6,
    ("Female", "normal", 1): 1,
    ("Female", "obese", 0): 4,
    ("Female", "obese", 1): 2,
    ("Male", "normal", 0): 7,
    ("Male", "normal", 1): 2,
    ("Male", "obese", 0): 3,
    ("Male", "obese", 1): 4,
}


class LocalImageMaker:
    """The generator in this process."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def resolve(self, asked: Mapping[str, Any], prompts: Sequence[str]) -> dict[str, Any]:
        found: dict[str, Any] = unseal(await self._application.resolve_images(asked, prompts))
        return found

    async def make(
        self, resolved: Mapping[str, Any], prompts: Sequence[str], planes: np.ndarray | None, first: int
    ) -> AsyncGenerator[dict[str, Any], None]:
        async with aclosing(self._application.make_images(resolved, prompts, planes, first)) as replies:
            async for reply in replies:
                yield unseal(reply)


class Calls:
    """The models of the audit's world and of the generator."""

    def __init__(self, world: World, application: Application) -> None:
        self._local = world.calls()
        self._application = application

    async def catalogue(self) -> list[dict[str, Any]]:
        return [*await self._local.catalogue(), *unseal(await self._application.catalogue())]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._local, name)


@dataclass
class Studio:
    """Everything in one folder. ``settings`` change those of the audit."""

    folder: Path
    changes: dict[str, Any]

    @cached_property
    def world(self) -> World:
        return World(self.folder)

    @cached_property
    def settings(self) -> Any:
        return self.world.settings.model_copy(update={"images_per_chunk": 4, "progress_every_s": 0.0, **self.changes})

    @cached_property
    def generator(self) -> Application:
        return GeneratorWorld(self.folder).generator()

    @cached_property
    def calls(self) -> Any:
        return Calls(self.world, self.generator)

    @cached_property
    def creation(self) -> SyntheticCohorts:
        maker = LocalImageMaker(self.generator)
        return SyntheticCohorts(self.world.ledger(), self.world.store(), self.calls, maker, self.settings)

    def worker(self, name: str = "worker", maker: Any = None) -> Worker:
        return self.world.worker(
            name, self.calls, maker=maker or LocalImageMaker(self.generator), settings=self.settings
        )

    async def create(self, **changes: Any) -> Operation:
        answer = await self.creation.create(request(**changes))
        return self.world.ledger().get_operation(operations_pb2.Operation.FromString(answer).name)

    async def made(self, **changes: Any) -> cohort_pb2.Cohort:
        """Create and finish one with a single worker."""
        done = await self.world.finish(await self.create(**changes), self.worker(), limit_s=180)
        assert done.state == "succeeded", done.error
        return await self.cohort(done.resource)

    async def cohort(self, name: str) -> cohort_pb2.Cohort:
        get = cohort_service_pb2.GetCohortRequest(name=name).SerializeToString()
        cohorts = Cohorts(self.world.ledger(), self.world.store(), self.settings)
        return cohort_pb2.Cohort.FromString(await cohorts.get(get))

    def artifact(self, cohort: cohort_pb2.Cohort, filename: str) -> bytes:
        found = next(artifact for artifact in cohort.artifacts if artifact.filename == filename)
        return self.world.store().get(found.key, sha256=found.sha256)


SPEC: dict[str, Any] = {
    "cohort": COHORT,
    "model": MODEL,
    "attributes": ["sex", "bmi"],
    "labels": ["heart_failure"],
    "template": "{sex}, {bmi} BMI, {heart_failure}",
    "images": 10,
    "seed": 3,
    "steps": 2,
}


def request(display_name: str = "balanced", request_id: str = "", **changes: Any) -> bytes:
    """The standard request, with fields of its spec changed; None leaves one out."""
    fields = {name: value for name, value in {**SPEC, **changes}.items() if value is not None}
    message = cohort_service_pb2.CreateSyntheticCohortRequest(
        display_name=display_name, request_id=request_id, spec=synthetic_pb2.SyntheticSpec(**fields)
    )
    return message.SerializeToString()


class Fleet(Processes):
    """Workers with a generator each."""

    def __init__(self, studio: Studio) -> None:
        super().__init__("tests.audit.studio", studio.folder)


def make_studio(folder: Path, **changes: Any) -> Studio:
    studio = Studio(folder, changes)
    zoo = folder / "zoo"
    write_mask_to_image(zoo, write_text_to_image(zoo))
    write_classifier(
        folder / "models",
        labels=("heart_failure",),
        name="heart",
        architecture={"in_channels": 3, "outputs": 1, "width": 2},
        thresholds={"heart_failure": 0.5},
        input={"channels": 3, "height": 64, "width": 64},
        output=None,
    )
    put_hearts(studio)
    return studio


def put_hearts(studio: Studio, name: str = COHORT, *, masks: bool = True, more: Mapping[str, Any] = MASKS) -> None:
    """Records of 32 × 32 in shards of 11; a third of the patients have two."""
    records = list(_records(masks))
    world = studio.world
    put_cohort(world.ledger(), world.store(), name, records, levels=LEVELS, rows_per_shard=11, more=more)


def _records(masks: bool) -> Sequence[Record]:
    found: list[Record] = []
    who = 0
    for split, patients in (("train", PATIENTS), ("test", dict.fromkeys(PATIENTS, 1))):
        for (sex, bmi, failing), count in patients.items():
            for _ in range(count):
                known = ({"sex": sex, "bmi": bmi}, failing)
                found += [_record(who, number, split, *known) for number in range(2 if who % 3 == 0 else 1)]
                who += 1
    found.append(_record(who, 0, "train", {"sex": "Female", "bmi": None}, 1))
    return found if masks else [replace(record, mask=None) for record in found]


def _record(who: int, number: int, split: str, levels: Mapping[str, str | None], failing: int) -> Record:
    draw = np.random.default_rng((who, number))
    return Record(
        f"r{who:03d}-{number}",
        f"p{who:03d}",
        draw.random((3, 32, 32), np.float32),
        draw.integers(0, 4, (2, 32, 32)).astype(np.uint8),
        {**levels, "race": ("White", "Black")[who % 2]},
        {"heart_failure": failing},
        split,
        (2.0, 2.0),
        "MR",
    )


if __name__ == "__main__":
    asyncio.run(Studio(Path(sys.argv[1]), {}).worker(f"process-{os.getpid()}").run())
