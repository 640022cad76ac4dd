"""All sampled models of an application: loaded once, listed, and asked by name. No Ray in here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from services.adapters.weights import DirectoryRegistry, ModelRecord, OnLeftOut
from services.errors import InvalidInput, NotFound
from services.hosting.diffusion.engine import Engine, Event, OnCall
from services.hosting.diffusion.families import ClassToImage, Condition, Denoiser, SuperResolution, TextToImage
from services.hosting.diffusion.loading import Loader
from services.hosting.diffusion.rows import Order
from services.hosting.diffusion.sampling import DEFAULT_SAMPLER, diffusion_of, plan_of
from services.hosting.diffusion.settings import DiffusionSettings, place
from services.hosting.registries import RegistryWatch
from services.maths.diffusion.plans import SAMPLERS, Plan
from services.maths.diffusion.schedules import Spacing

Key = tuple[str, str]  # of a model: its name and version
Opened = tuple[ModelRecord, Denoiser]
MASK_PHASES = ("ED", "ES")  # the planes of a mask for three channels, which show ED, ES and ED


class DiffusionHost:
    """The models of ``tasks`` and the engine that samples them."""

    def __init__(
        self,
        settings: DiffusionSettings,
        tasks: Collection[str],
        *,
        on_call: OnCall = lambda model, rows, padded, seconds: None,
    ) -> None:
        self.settings = settings
        self.placement = place(settings)
        self._tasks = tasks
        self._watch = RegistryWatch(settings.registries, self._open_new, self._serve_new)
        self._loader = Loader(DirectoryRegistry(settings.registries), self.placement)
        self._denoisers: dict[Key, Denoiser] = {}
        opened = self._open_new(self._loader.registry)
        self._records = [record for record, _ in opened]
        self._denoisers = {_key(record): denoiser for record, denoiser in opened}
        self.engine = Engine(
            self._denoisers,
            batch=self.placement.batch,
            threads=self.placement.threads,
            most_waiting=settings.most_waiting,
            on_call=on_call,
        )

    async def warm_up(self, records: Collection[ModelRecord] | None = None) -> None:
        """Sample one step of every model (or of ``records``), so that no caller pays for first use."""
        for record in self._records if records is None else records:
            orders = [Order(await self.any_condition(record), self.plan(record, DEFAULT_SAMPLER, 1), seed=0)]
            await self.images(record, orders, background=True)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Within the block packages that appear in the registries, such as a training's, are served from then on."""
        looking = asyncio.create_task(self._watch.run())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def look(self) -> None:
        """See :meth:`RegistryWatch.look`."""
        await self._watch.look()

    async def meet(self, model: str, version: str = "", *, digest: str = "") -> None:
        """Look for what :meth:`find` has not: another replica may have seen its package first."""
        matching = self._versions(model, version)
        if not matching or digest not in ("", *(record.digest for record in matching)):
            await self.look()

    def close(self) -> None:
        self.engine.close()

    def catalogue(self) -> list[dict[str, Any]]:
        """Every served version as plain data, with its digest, the name of its output and what it can be asked."""
        return [self._entry(record) for record in self._records]

    def find(self, model: str, version: str = "", *, digest: str = "", field: str = "model") -> ModelRecord:
        """The served record; without a version, behind an @ or apart, the one of ``digest``, else the highest."""
        matching = self._versions(model, version)
        if not matching:
            name, version = _named(model, version)
            wanted = f"{name[:64]!r} version {version[:16]}" if version else repr(name[:64])
            raise NotFound(f"no model {wanted} is served here", field=field, reason="MODEL_NOT_FOUND")
        return next((record for record in matching if record.digest == digest), matching[-1])

    def _versions(self, model: str, version: str) -> list[ModelRecord]:
        name, version = _named(model, version)
        return [record for record in self._records if record.name == name and version in ("", record.version)]

    def denoiser(self, record: ModelRecord) -> Any:
        """The loaded model; what it is follows from the record's task."""
        return self._denoisers[_key(record)]

    def plan(self, record: ModelRecord, sampler: str, steps: int, *, spacing: Spacing | None = None) -> Plan:
        """The plan of ``sampler`` in so many steps, at the levels that the model's record asks for or ``spacing``."""
        schedule = self.denoiser(record).parameterisation.schedule
        return plan_of(schedule, sampler, steps, spacing or diffusion_of(record).spacing)

    def batch_shape(self, record: ModelRecord) -> list[int]:
        """Shape of every call of the model's network."""
        return [self.placement.batch, *self.denoiser(record).shape]

    def sample(
        self, record: ModelRecord, orders: Sequence[Order], *, background: bool = False, tile: int = 0
    ) -> AsyncGenerator[Event, None]:
        """See :meth:`Engine.sample`. ``tile`` is for super-resolution through windows of another size."""
        key: tuple[Any, ...] = _key(record)
        if tile and tile != self.denoiser(record).shape[-1]:
            key = (*key, tile)
            self.engine.add(key, self.denoiser(record).tiled(tile))
        return self.engine.sample(key, orders, background=background)

    async def images(
        self, record: ModelRecord, orders: Sequence[Order], *, background: bool = False, tile: int = 0
    ) -> np.ndarray:
        """(N, C, H, W) canonical pixels in the orders' order."""
        done: dict[int, np.ndarray] = {}
        tagged = [_tagged(order, place) for place, order in enumerate(orders)]
        async with aclosing(self.sample(record, tagged, background=background, tile=tile)) as events:
            async for event in events:
                if event.done and event.pixels is not None:
                    done[event.tag] = event.pixels
        return np.stack([done[place] for place in range(len(orders))])

    async def any_condition(self, record: ModelRecord) -> Condition:
        """A condition that the model takes, whatever it shows."""
        denoiser = self.denoiser(record)
        if isinstance(denoiser, ClassToImage):
            vector = np.full(sum(attribute.places for attribute in record.attributes()), np.nan, np.float32)
            return Condition(await self.engine.run(denoiser.embed, vector))
        if isinstance(denoiser, SuperResolution):
            spec, factor = record.output, record.factor
            assert spec is not None and factor is not None
            small = np.zeros((spec.channels, spec.height // factor, spec.width // factor), np.float32)
            return Condition(hint=await self.engine.run(denoiser.enlarge, small))
        assert isinstance(denoiser, TextToImage)
        planes = np.zeros((len(MASK_PHASES), *denoiser.image[1:]), np.uint8) if record.mask_labels else None
        return await self.engine.run(denoiser.condition, "", planes)

    def _open_new(self, registry: DirectoryRegistry, left_out: OnLeftOut | None = None) -> list[Opened]:
        """Open what the registry has and this host has not. What was served stays as it was.

        A package that cannot be opened is told to ``left_out``; without ``left_out`` its error is raised.
        """
        self._loader.registry = registry
        opened: list[Opened] = []
        for record in registry.models():
            if record.task not in self._tasks or _key(record) in self._denoisers:
                continue
            try:
                opened.append((record, self._loader.open(record)))
            except Exception as error:
                if left_out is None:
                    raise
                left_out(f"{record.name}/{record.version}", error)
        return opened

    async def _serve_new(self, opened: list[Opened]) -> list[ModelRecord]:
        """On the event loop, which the engine's bookkeeping belongs to."""
        for record, denoiser in opened:
            self.engine.add(_key(record), denoiser)
            self._denoisers[_key(record)] = denoiser
        new = [record for record, _ in opened]
        self._records = sorted([*self._records, *new], key=lambda record: (record.name, int(record.version)))
        await self.warm_up(new)
        return new

    def _entry(self, record: ModelRecord) -> dict[str, Any]:
        denoiser = self.denoiser(record)
        diffusion = diffusion_of(record)
        return {
            **record.model_dump(mode="json"),
            "digest": record.digest,
            "output_name": "image",
            "samplers": [DEFAULT_SAMPLER, *(name for name in SAMPLERS if name != DEFAULT_SAMPLER)],
            "guidable": diffusion.null_condition,
            "prompt_tokens": denoiser.limit if isinstance(denoiser, TextToImage) else 0,
            "mask_phases": list(MASK_PHASES) if record.mask_labels else [],
        }


def check_task(record: ModelRecord, tasks: Collection[str], *, field: str = "model") -> None:
    """InvalidInput MODEL_TASK_MISMATCH unless the model's task is one of ``tasks``."""
    if record.task not in tasks:
        raise InvalidInput(
            f"{record.name} is a {record.task} model; {field} takes {' or '.join(tasks)}",
            field=field,
            reason="MODEL_TASK_MISMATCH",
        )


def _tagged(order: Order, tag: int) -> Order:
    return replace(order, tag=tag)


def _named(model: str, version: str) -> tuple[str, str]:
    """Name and version of "models/NAME@VERSION", whose version may stand apart, or be left out."""
    name, _, said = model.removeprefix("models/").partition("@")
    return name, version or said


def _key(record: ModelRecord) -> Key:
    return record.name, record.version
