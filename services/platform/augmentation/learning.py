"""Arms × repeats: which rows a classifier learns from, and the files that finished ones leave.

A finished repeat is one Parquet file whose name is a digest of all that it depends on. Killed at any moment, the same
command goes on with what is missing; another width, seed or cohort gives other names.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from evenhand.artifacts import write_whole

from services.maths.canonical import digest
from services.platform.augmentation.orders import Arm, Order
from services.platform.augmentation.records import TEST, TRAIN, VALIDATION, Records, joined
from services.training.classifying import fit_classifier, group_weights, probabilities, youden_threshold

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Task:
    """One repeat of one arm; ``file`` is where its predictions go."""

    arm: str
    repeat: int
    seed: int
    file: Path


def arm_records(real: Records, synthetic: Records | None, arm: Arm, order: Order) -> Records:
    """What an arm learns from: the real training records, undersampled if asked, then the first synthetic ones.

    The same synthetic cohort gives every arm its images: the first n of an order that the seed shuffles, so that a
    larger arm has all of a smaller one's.
    """
    parts = []
    if arm.real:
        parts.append(undersampled(real.of(TRAIN), order.prevalence, order.seed))
    if arm.synthetic:
        assert synthetic is not None
        rng = _stream(order.seed, 2)
        chosen = synthetic.take(rng.permutation(len(synthetic))[: arm.synthetic])
        if arm.shuffled:
            chosen = chosen.with_label(_stream(order.seed, 3).permutation(chosen.label))
        parts.append(chosen)
    return parts[0] if len(parts) == 1 else joined(*parts)


def undersampled(records: Records, prevalence: float | None, seed: int) -> Records:
    """Leave out patients without the label, in a random order, until ``prevalence`` of the records have it.

    Whole patients are drawn: the lowest ids are of one centre or of one year. With None nobody is left out.
    """
    if prevalence is None:
        return records
    positive = records.label == 1
    allowed = int(positive.sum() * (1 - prevalence) / prevalence)
    healthy = np.setdiff1d(records.patient, records.patient[positive])
    kept, count = (
        set(records.patient[positive]),
        int((~positive & np.isin(records.patient, records.patient[positive])).sum()),
    )
    for patient in _stream(seed, 4).permutation(healthy):
        size = int((records.patient == patient).sum())
        if count + size <= allowed:
            kept.add(patient)
            count += size
    return records.take(np.isin(records.patient, list(kept)))


def sampling_groups(records: Records, order: Order) -> npt.NDArray[np.str_]:
    """(N,) the group of each record: levels of ``balance`` and the label; unknown levels are a level."""
    parts = [records.levels[name].fillna("?").astype(str) for name in order.balance]
    text = pd.Series(records.label.astype(str))
    for part in parts:
        text = text + "|" + part.reset_index(drop=True)
    return text.to_numpy(str)


def seed_of(order: Order, repeat: int) -> int:
    """The seed of a repeat, the same in every arm: recorded with each prediction."""
    return order.seed * 1000 + repeat


def learn(order: Order, real: Records, synthetic: dict[str, Records], folder: Path, progress: Progress) -> pd.DataFrame:
    """Predictions of every arm and repeat: arm, repeat, seed, record_id, patient_id, split, label, score.

    Validation and test records are real ones, always. Finished repeats are read from ``folder``.
    """
    tasks: list[Task] = []
    judged = real.take(real.split != TRAIN)
    for arm in order.arms:
        records = arm_records(real, synthetic.get(arm.source), arm, order)
        name = digest(_depends_on(order, records, judged))[:16]
        for repeat in range(order.repeats):
            seed = seed_of(order, repeat)
            tasks.append(Task(arm.name, repeat, seed, folder / f"{name}-{seed}.parquet"))
    missing = [task for task in tasks if not task.file.is_file()]
    finished = len(tasks) - len(missing)
    progress("learning", finished, len(tasks))
    for _ in _run(order, real, synthetic, missing):
        finished += 1
        progress("learning", finished, len(tasks))
    parts = []
    for task in tasks:
        part = pd.read_parquet(task.file)
        parts.append(part.assign(arm=task.arm, repeat=task.repeat, seed=task.seed))
    columns = ["arm", "repeat", "seed", "record_id", "patient_id", "split", "label", "score"]
    return pd.concat(parts, ignore_index=True)[columns]


def _run(order: Order, real: Records, synthetic: dict[str, Records], tasks: list[Task]) -> Iterator[Task]:
    if not tasks:
        return
    if order.workers == 1:
        for task in tasks:
            _finish(order, real, synthetic, task)
            yield task
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(order.workers, len(tasks)), context, initializer=_share, initargs=(order, real, synthetic)
    ) as pool:
        running = {pool.submit(_finish_shared, task): task for task in tasks}
        try:
            while running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    yield running.pop(future)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


_SHARED: list[Any] = []  # of a worker process: what every task of it reads


def _share(order: Order, real: Records, synthetic: dict[str, Records]) -> None:
    torch.set_num_threads(1)
    _SHARED[:] = [order, real, synthetic]


def _finish_shared(task: Task) -> None:
    order, real, synthetic = _SHARED
    _finish(order, real, synthetic, task)


def _finish(order: Order, real: Records, synthetic: dict[str, Records], task: Task) -> None:
    arm = next(arm for arm in order.arms if arm.name == task.arm)
    records = arm_records(real, synthetic.get(arm.source), arm, order)
    weights = np.full(len(records), 1.0 / len(records))
    if order.sampler == "group-balanced":
        weights = group_weights(sampling_groups(records, order))
    network = fit_classifier(records.pixels, records.label, weights, order.fit, seed=task.seed)
    judged = real.take(real.split != TRAIN)
    table = pd.DataFrame(
        {
            "record_id": judged.record,
            "patient_id": judged.patient,
            "split": judged.split,
            "label": judged.label,
            "score": probabilities(network, judged.pixels),
        }
    )
    file = io.BytesIO()
    table.to_parquet(file, index=False)
    write_whole(task.file, file.getvalue())


def thresholds(predictions: pd.DataFrame) -> dict[tuple[str, int], float]:
    """The threshold of each arm and repeat, chosen on its validation patients."""
    validation = predictions[predictions["split"] == VALIDATION]
    return {
        (str(arm), int(repeat)): youden_threshold(part["label"].to_numpy(), part["score"].to_numpy())  # type: ignore[call-overload]
        for (arm, repeat), part in validation.groupby(["arm", "repeat"], sort=False)  # type: ignore[misc]
    }


def _depends_on(order: Order, records: Records, judged: Records) -> dict[str, Any]:
    return {
        "fit": asdict(order.fit),
        "sampler": order.sampler,
        "balance": list(order.balance) if order.sampler == "group-balanced" else [],
        "learned_from": _fingerprint(records),
        "judged": _fingerprint(judged),
    }


def _fingerprint(records: Records) -> str:
    found = hashlib.sha256(records.pixels.tobytes())
    found.update(records.label.tobytes())
    found.update("\n".join([*records.record, *records.patient, records.levels.to_csv()]).encode())
    return found.hexdigest()


def _stream(seed: int, purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, purpose))))


__all__ = ["TEST", "Task", "arm_records", "learn", "sampling_groups", "seed_of", "thresholds", "undersampled"]
