"""The platform's side of one decode worker: starts it, asks it, and replaces it when it dies."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import services
from services.adapters.decoder import messages
from services.adapters.decoder.limits import Limits
from services.adapters.decoder.sources import Decoded, Source
from services.errors import Cancelled, Internal, InvalidInput, ServiceError, TooLarge, Undecodable, error_from_dict

_START_S = 60.0
_OUT_OF_MEMORY = 3  # worker.OUT_OF_MEMORY; importing it would import every parser into the platform's own process
_INHERITED = ("PATH", "LANG", "LD_LIBRARY_PATH", "TZ")
_PACKAGES = str(Path(next(iter(services.__path__))).parent)


class _Died(Exception):
    """The worker ended or fell silent while it had a file."""


class Sandbox:
    """One worker process. Not for several threads at once, except for :meth:`close`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._closed = False
        self._lock = threading.Lock()

    def decode(self, source: Source) -> list[Decoded]:
        """The images of ``source``. Raises ServiceError whose ``field`` names the file.

        A file that a worker dies of gets a second try in a fresh one, so that what an old worker had gathered (memory
        that a codec leaked) is never held against a good file. A file that used up its time gets none.
        """
        image = source.image.read(self._limits.input_bytes)
        masks = [
            None if file is None else (file.name, file.read(self._limits.input_bytes))
            for file in (source.mask, source.es_mask)
        ]
        files = [image, *(named[1] for named in masks if named is not None)]
        mask, es_mask = (None if named is None else {"name": named[0], "size": len(named[1])} for named in masks)
        request = {
            "image": {"name": source.image.name, "size": len(image)},
            "mask": mask,
            "es_mask": es_mask,
            "frame": source.frame,
            "slices": asdict(source.slices),
            "mask_form": asdict(source.mask_form),
            "cine": None if source.cine is None else asdict(source.cine),
        }
        for last in (False, True):
            try:
                return self._ask(request, files)
            except InvalidInput as error:
                error.field = error.field or source.image.name
                raise
            except _Died as death:
                refusal = self._bury(death)
                if last or not isinstance(refusal, InvalidInput) or refusal.reason == "DECODE_TIMEOUT":
                    refusal.field = source.image.name
                    raise refusal from None
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End the worker, even while another thread waits for it: that thread gets Cancelled."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()
        if self._process is not None:
            self._process.wait()

    def _ask(self, request: Mapping[str, Any], files: Sequence[bytes]) -> list[Decoded]:
        channel = self._ready_channel()
        deadline = time.monotonic() + self._limits.wall_s
        try:
            messages.send(channel, request, *files, deadline=deadline)
            answer, payload = messages.receive(channel, 2 * self._limits.output_bytes, deadline=deadline)
        except (OSError, EOFError, ValueError) as error:  # OSError covers TimeoutError and a broken pipe
            raise _Died(error) from error
        if "error" in answer:
            raise _refusal(answer["error"])
        try:
            return _images(answer["images"], payload)
        except (KeyError, TypeError, ValueError) as error:
            raise _Died(error) from error

    def _ready_channel(self) -> socket.socket:
        if self._channel is None:
            ours, theirs = socket.socketpair()
            with self._lock, theirs:
                if self._closed:
                    raise Cancelled("the decoder was closed")
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "services.adapters.decoder.worker", json.dumps(asdict(self._limits))],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=_environment(),
                )
            try:
                messages.receive(ours, 0, deadline=time.monotonic() + _START_S)
            except (OSError, EOFError, ValueError) as error:
                ours.close()
                raise self._failed_start() from error
            self._channel = ours
        return self._channel

    def _failed_start(self) -> ServiceError:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        if self._closed:
            return Cancelled("the decoder was closed")
        return Internal("the decode worker did not start", reason="DECODER_DID_NOT_START")

    def _bury(self, death: _Died) -> ServiceError:
        """Reap the dead or silent worker and say what became of its file."""
        assert self._process is not None and self._channel is not None
        self._channel.close()
        self._channel = None
        timed_out = isinstance(death.__cause__, TimeoutError)
        if timed_out or isinstance(death.__cause__, ValueError | KeyError | TypeError):
            self._process.kill()
        status = self._process.wait()
        if self._closed:
            return Cancelled("the decoder was closed")
        if timed_out or status == -signal.SIGPROF:
            return Undecodable("took more time to decode than a file of its size may", reason="DECODE_TIMEOUT")
        if status == _OUT_OF_MEMORY:
            return TooLarge("needs more memory than one file may have", reason="DECODE_OUT_OF_MEMORY")
        return Undecodable("ended the process that decoded it", reason="DECODER_CRASHED")


def _environment() -> dict[str, str]:
    """What a worker needs to start and nothing more: no keys, no passwords, no addresses."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**inherited, "PYTHONPATH": _PACKAGES, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _refusal(plain: Mapping[str, Any]) -> ServiceError:
    """What the worker said about the file; whatever it says, a file is the input's fault."""
    error = error_from_dict(plain)
    return error if isinstance(error, InvalidInput) else Undecodable("could not be decoded", field=error.field)


def _images(entries: list[dict[str, Any]], payload: bytes) -> list[Decoded]:
    """The worker's answer as arrays. Raises ValueError if sizes do not add up."""
    images, at = [], 0
    for entry in entries:
        channels, height, width = (int(size) for size in entry["shape"])
        count = channels * height * width
        pixels = np.frombuffer(payload, np.float32, count, at).reshape(channels, height, width)
        at += 4 * count
        mask = None
        if entry["mask"] is not None:
            *planes, rows, columns = (int(size) for size in entry["mask"])
            if (rows, columns) != (height, width):
                raise ValueError("the answer's mask has another extent than its image")
            count = math.prod(planes) * height * width
            mask = np.frombuffer(payload, np.uint8, count, at).reshape(*planes, height, width)
            at += count
        spacing = None if entry["spacing"] is None else (float(entry["spacing"][0]), float(entry["spacing"][1]))
        images.append(Decoded(pixels, str(entry["modality"]), spacing, mask, entry["slice"], entry["offset"]))
    if at != len(payload):
        raise ValueError("the answer has bytes left over")
    return images
