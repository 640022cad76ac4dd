"""From committed frames to what a person looks at: videos, difference map, filmstrip, trace and page."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.adapters.encoder import VideoWriter
from services.adapters.object_store import ObjectStore
from services.errors import Cancelled
from services.generator.measures import UNITS
from services.generator.report import (
    Findings,
    Trace,
    Unguided,
    counterfactual_page,
    difference_map,
    excesses,
    filmstrip,
    filmstrip_frames,
    trace_csv,
    trace_parquet,
    trace_svg,
)
from services.hosting.diffusion.files import Artifact, put_file
from services.maths.canonical import canonical_json

EXAGGERATED = 1.1  # an effect so many times the unguided one is called exaggerated
_CHANGES = "The middle frame's {name} is {used:.2f}; without guidance it is {plain:.2f}."


@dataclass(frozen=True)
class Publication:
    """``frames`` are what the frame chunks left, in order; ``unguided`` the ends and the middle without guidance.

    ``known`` is what the model's package says of its training: ``spreads`` of features, ``shares`` of levels.
    """

    record: Mapping[str, Any]
    frames: Sequence[Mapping[str, Any]]
    unguided: Sequence[Mapping[str, Any]]
    display_name: str
    free: Sequence[str]
    known: Mapping[str, Any]
    frames_per_s: int
    largest_embedded_video: int

    @property
    def spec(self) -> Mapping[str, Any]:
        spec: Mapping[str, Any] = self.record["spec"]
        return spec

    @property
    def ends(self) -> tuple[str, str]:
        """The levels of the changing attributes at both ends."""
        names = sorted(self.spec["source_attributes"])
        source, target = (
            ", ".join(self.spec[end][name] for name in names) for end in ("source_attributes", "target_attributes")
        )
        return source, target


def publish(
    store: ObjectStore, work: Publication, stopped: Callable[[], bool] = lambda: False
) -> tuple[list[Artifact], list[str]]:
    """The artifacts beside the frames' own files, and the warnings. Raises Cancelled soon after ``stopped``."""
    trace, spreads = trace_of(work.frames), dict(work.known.get("spreads") or {})
    spreads = {name: value for name, value in spreads.items() if name in trace.features} if trace else {}
    unguided = unguided_of(work)
    warnings = warnings_of(work, trace, unguided)
    video = _video(store, work, stopped, backwards=False)
    artifacts = [put_file(store, "video.mp4", video)]
    if work.spec["both_directions"]:
        artifacts.append(put_file(store, "video-back.mp4", _video(store, work, stopped, backwards=True)))
    source, target = work.ends
    first, last = (read_frame(store, work.frames[place]) for place in (0, -1))
    difference = difference_map(first, last, work.record, caption=f"{target} minus {source}")
    film = _filmstrip(store, work)
    artifacts += [put_file(store, "difference.png", difference), put_file(store, "filmstrip.png", film)]
    artifacts.append(put_file(store, "record.json", canonical_json(_whole_record(work))))
    if trace is not None:
        artifacts += [
            put_file(store, "trace.csv", trace_csv(trace)),
            put_file(store, "trace.parquet", trace_parquet(trace, work.record)),
            put_file(store, "trace.svg", trace_svg(trace, spreads=spreads, source=source, target=target).encode()),
        ]
        findings = Findings(
            record=work.record,
            source=work.spec["source_attributes"],
            target=work.spec["target_attributes"],
            held=work.spec["held_attributes"],
            free=work.free,
            trace=trace,
            filmstrip=film,
            difference=difference,
            spreads=spreads,
            spread_source=str(work.known.get("recipe") or "") if spreads else "",
            unguided=unguided,
            video=video if len(video) <= work.largest_embedded_video else None,
            back_video_name="video-back.mp4" if work.spec["both_directions"] else "",
            display_name=work.display_name,
            warnings=warnings,
        )
        artifacts.append(put_file(store, "counterfactual.html", counterfactual_page(findings).encode()))
    return artifacts, warnings


def read_frame(store: ObjectStore, frame: Mapping[str, Any]) -> np.ndarray:
    """The exact pixels (C, H, W) of a committed frame."""
    stored = frame["pixels"]
    pixels: np.ndarray = np.load(io.BytesIO(store.get(stored["key"], sha256=stored["sha256"])), allow_pickle=False)
    return pixels


def trace_of(frames: Sequence[Mapping[str, Any]]) -> Trace | None:
    """What was measured, frame by frame; None where the model has no reader and no classifier was asked."""
    features, chances = (
        {name: [_number(frame[kind].get(name)) for frame in frames] for name in frames[0][kind]}
        for kind in ("features", "probabilities")
    )
    if not features and not chances:
        return None
    return Trace(features, chances, {name: UNITS.get(name, "") for name in features})


def unguided_of(work: Publication) -> Unguided | None:
    """The ends at guidance scale 1, where they were computed and could be read."""
    if not work.unguided or not work.unguided[0]["features"]:
        return None
    first, last = (
        {name: _number(value) for name, value in work.unguided[place]["features"].items()} for place in (0, -1)
    )
    shares = [_share(work, end) for end in ("source_attributes", "target_attributes")]
    if None in shares or shares[0] == shares[1]:
        return Unguided(first, last)
    minority = "first" if shares[0] < shares[1] else "last"  # type: ignore[operator]
    return Unguided(first, last, minority, min(share for share in shares if share is not None))  # type: ignore[arg-type]


def warnings_of(work: Publication, trace: Trace | None, unguided: Unguided | None) -> list[str]:
    """What a reader has to know, in sentences."""
    told = []
    if trace is not None and unguided is not None:
        scale = float(work.spec["guidance"]["scale"])
        for excess in excesses(trace, unguided):
            if excess.ratio is not None and excess.ratio >= EXAGGERATED:
                name = excess.feature.replace("_", " ")
                told.append(
                    f"Guidance {scale:g} makes the effect on {name} {excess.ratio:.2f} times what it is without."
                )
    if work.unguided:
        told += _middle(work)
    if trace is not None:
        for name in trace.features:
            missing = int(np.isnan(trace.feature(name)).sum())
            if missing:
                words = name.replace("_", " ")
                told.append(f"The {words} could not be measured in {missing} of {trace.frames} frames.")
    if work.free:
        told.append(f"Nobody set {', '.join(work.free)}: they may move along the path.")
    return told


def _middle(work: Publication) -> Iterator[str]:
    """Whether guidance moves the point at which the classifier changes its mind."""
    middle = work.frames[len(work.frames) // 2]
    plain = {frame["frame"]: frame for frame in work.unguided}.get(middle["frame"])
    for name, used in middle["probabilities"].items() if plain else ():
        unguided = plain["probabilities"].get(name) if plain else None
        if unguided is not None and abs(used - unguided) >= 0.05:
            yield _CHANGES.format(name=f"probability of {name}", used=used, plain=unguided)


def _share(work: Publication, end: str) -> float | None:
    """The share of training images with this end's level, where one attribute changes and the package says so."""
    given: Mapping[str, str] = work.spec[end]
    if len(given) != 1:
        return None
    ((name, level),) = given.items()
    share = ((work.known.get("shares") or {}).get(name) or {}).get(level)
    return None if share is None else float(share)


def _video(store: ObjectStore, work: Publication, stopped: Callable[[], bool], *, backwards: bool) -> bytes:
    """The frames through the video writer, one in memory at a time."""
    target = io.BytesIO()
    order: Iterable[Mapping[str, Any]] = reversed(work.frames) if backwards else work.frames
    first = read_frame(store, work.frames[0])
    height, width = first.shape[1:]
    ends = work.ends[::-1] if backwards else work.ends
    with VideoWriter(target, width, height, work.frames_per_s, work.record, title=" to ".join(ends)) as video:
        for place, frame in enumerate(order):
            if stopped():
                raise Cancelled("the operation was cancelled")
            share = place / (len(work.frames) - 1)
            video.add(read_frame(store, frame), f"{ends[0]} to {ends[1]}: {100 * share:.0f} %")
    return target.getvalue()


def _filmstrip(store: ObjectStore, work: Publication) -> bytes:
    shown = filmstrip_frames(len(work.frames))
    images = [read_frame(store, work.frames[place]) for place in shown]
    source, target = work.ends
    labels = [source, *(f"{100 * place / (len(work.frames) - 1):.0f} %" for place in shown[1:-1]), target]
    return filmstrip(images, work.record, labels=labels)


def _whole_record(work: Publication) -> dict[str, Any]:
    """The record with every frame's digest, so that a frame made again can be compared."""
    digests = [frame["pixels"]["sha256"] for frame in work.frames]
    return json.loads(canonical_json({**work.record, "frames": digests}))  # type: ignore[no-any-return]


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
