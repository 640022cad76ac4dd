"""The folder of one run, through which the ledger's worker and the processes that train talk to each other.

It lies on storage that all nodes share, as the checkpoints of Ray Train do, and outlives every process: whoever takes
an interrupted run up finds its order, its checkpoints and, if it had just ended, its result. Writers rename, so that
readers never see half a file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from services.training.runs import AlignmentRun, Run, run_from_dict
from services.training.snapshots import State


class Stopped(Exception):
    """The run was asked to stop."""


@dataclass(frozen=True)
class RunFolder:
    """``order.json``, ``holder.json``, ``progress.json``, ``result.json``, the mark ``stop``, and Ray Train's ``ray/``.

    A sweep also leaves ``kept-<number>.safetensors`` of each part that is done.

    ``token`` is that of the lease under which the folder is used; a newer lease has a higher one.
    """

    path: Path
    token: int = 0

    def place_order(self, run: Run | AlignmentRun, registry: Path, version: str) -> None:
        """Write what is to be done, unless an earlier attempt already did: the version must not change under it."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / "order.json").exists():
            self._write("order.json", run.to_dict() | {"registry": str(registry), "version": version})

    def claim(self) -> None:
        """Let only runs of this lease go on here: those of older leases stop at their next :meth:`check`."""
        if self._holder() < self.token:
            self._write("holder.json", {"token": self.token})

    def order(self) -> tuple[Run | AlignmentRun, Path, str]:
        """The run, the registry folder it publishes into, and the version it gets there."""
        order = self._read("order.json") or {}
        return run_from_dict(order), Path(order["registry"]), order["version"]

    def report(self, stage: str, epochs_done: int, epochs_total: int, loss: float, **more: int) -> None:
        progress = {"stage": stage, "epochs_done": epochs_done, "epochs_total": epochs_total, "loss": loss}
        self._write("progress.json", progress | more)

    def progress(self) -> dict[str, Any]:
        """What was reported last; empty before the first report."""
        return self._read("progress.json") or {}

    def keep(self, number: int, tensors: State) -> None:
        """Let the part ``number`` of a sweep be done, with what it came to."""
        draft = self.path / f"kept-{number}.draft"
        save_file(tensors, str(draft))
        draft.replace(self.path / f"kept-{number}.safetensors")

    def kept(self, number: int) -> State | None:
        """What :meth:`keep` was given, None before."""
        path = self.path / f"kept-{number}.safetensors"
        if not path.exists():
            return None
        tensors: State = load_file(str(path))
        return tensors

    def finish(self, scores: Mapping[str, float], **more: Any) -> None:
        """``more`` are other fields of the Training message."""
        self._write("result.json", {"scores": dict(scores), **more})

    def result(self) -> dict[str, Any] | None:
        """``{"scores": {name: value}, …}`` once the packages are published, else None."""
        return self._read("result.json")

    def ask_to_stop(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "stop").touch()

    def check(self) -> None:
        """Raises Stopped once :meth:`ask_to_stop` was called, or a newer lease has the folder, by whichever process."""
        if (self.path / "stop").exists() or self._holder() > self.token:
            raise Stopped

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def _holder(self) -> int:
        return int((self._read("holder.json") or {"token": 0})["token"])

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        draft = self.path / f"{name}.draft"
        draft.write_text(json.dumps(document), "utf-8")
        draft.replace(self.path / name)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            document: dict[str, Any] = json.loads((self.path / name).read_text("utf-8"))
        except FileNotFoundError:
            return None
        return document
