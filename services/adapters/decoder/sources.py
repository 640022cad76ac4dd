"""What is asked of the decoder, and what it answers. Files are read here; their contents are parsed elsewhere."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from services.errors import InvalidInput, ServiceError, TooLarge, Undecodable


@dataclass(frozen=True)
class InMemory:
    """Bytes that are here already; ``name`` is what the caller calls them."""

    name: str
    data: bytes

    def read(self, longest: int) -> bytes:
        if len(self.data) > longest:
            raise _too_long(self.name, longest)
        return self.data


@dataclass(frozen=True)
class InFolder:
    """The file ``name`` (relative, forward slashes) below ``root``, and never anything outside it."""

    root: Path
    name: str

    def read(self, longest: int) -> bytes:
        """The file's bytes. Raises InvalidInput: PATH_NOT_CONFINED, FILE_NOT_FOUND, NOT_A_FILE, FILE_OVER_LIMIT."""
        try:
            with _confined(self.root, self.name) as descriptor:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise Undecodable("is not a plain file", field=self.name, reason="NOT_A_FILE")
                if status.st_size > longest:
                    raise _too_long(self.name, longest)
                with os.fdopen(os.dup(descriptor), "rb") as file:
                    return file.read(longest)
        except OSError as error:
            raise _unreadable(error, self.name) from error


File = InMemory | InFolder


@dataclass(frozen=True)
class Slices:
    """Which axial slices of a volume become images, counted from the feet.

    ``middle``; ``largest-mask``, the slice with most mask voxels (the lowest such, or the middle without any);
    or ``range``: ``start``, ``start + step``, ... below ``stop`` (the end of the volume if None).
    """

    which: Literal["middle", "largest-mask", "range"] = "middle"
    start: int = 0
    stop: int | None = None
    step: int = 1


@dataclass(frozen=True)
class MaskForm:
    """What a mask must hold: ``planes`` of the values 0 to ``labels`` - 1. Without labels: one plane, made binary."""

    labels: int = 0
    planes: int = 1


@dataclass(frozen=True)
class Cine:
    """What of a beating heart becomes images: its two phases as channels, end-diastole (ED) and end-systole (ES).

    ``channels`` says of each channel whether it shows ED (0) or ES (1). ``ed`` and ``es`` are frames from 0; None is
    the frame whose mask has most, or least, of the label ``cavity``. ``window`` are the values shown as 0 and 1; None:
    the least and the greatest of an image's two frames. An image is made of each of ``slices`` slices around the
    middle one and of each of ``offsets`` shifts of both phases around 0; both numbers are odd.
    """

    channels: tuple[int, ...] = (0, 1, 0)
    ed: int | None = None
    es: int | None = None
    cavity: int = 1
    window: tuple[float, float] | None = None
    slices: int = 1
    offsets: int = 1


@dataclass(frozen=True)
class Source:
    """One image file, with its mask file if there is one.

    ``frame`` chooses in a multi-frame DICOM or multi-page TIFF file: "middle", "first" or a number from 0.
    """

    image: File
    mask: File | None = None
    frame: str | int = "middle"
    slices: Slices = Slices()
    mask_form: MaskForm = MaskForm()
    cine: Cine | None = None
    """Given, the image is a cine (X, Y, Z, T), and its mask one of labels with two planes."""
    es_mask: File | None = None
    """Of a cine whose phases have a mask file each: that at ES; ``mask`` is then the one at ED, both (X, Y, Z)."""


@dataclass(frozen=True)
class Decoded:
    """An image in canonical form. ``slice_index`` is set for volumes; ``source`` counts the sources of one call."""

    pixels: npt.NDArray[np.float32]
    """(C, H, W) in [0, 1]."""
    modality: str = ""
    """As the file says ("CR", "MR", ...); "" if it does not."""
    spacing: tuple[float, float] | None = None
    """Distance of rows and of columns in mm."""
    mask: npt.NDArray[np.uint8] | None = None
    """(H, W), 0 or 1; where labels were declared, (P, H, W) of them."""
    slice_index: int | None = None
    frame_offset: int | None = None
    """Of a cine: by how many frames ED and ES are shifted."""
    source: int = 0


@dataclass(frozen=True)
class Refused:
    """A source that gave no image, and why. ``error.field`` names the file."""

    error: ServiceError
    source: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {"file": self.error.field, "reason": self.error.reason, "message": self.error.message}


@contextmanager
def _confined(root: Path, name: str) -> Iterator[int]:
    """A descriptor of ``name`` below ``root``.

    Each part is opened relative to the one before and no symbolic link is followed, so neither "..", nor a link, nor a
    folder swapped for a link meanwhile leads outside. Opening does not block on a FIFO.
    """
    parts = name.split("/")
    if not name or "\0" in name or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise InvalidInput(
            "must be a relative path with forward slashes, without '.', '..' or empty parts",
            field=name,
            reason="PATH_NOT_CONFINED",
        )
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for depth, part in enumerate(parts, start=1):
            kind = os.O_DIRECTORY if depth < len(parts) else os.O_NONBLOCK | os.O_NOCTTY
            below = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _unreadable(error: OSError, name: str) -> ServiceError:
    if error.errno == errno.ENOENT:
        return InvalidInput("there is no such file in the source", field=name, reason="FILE_NOT_FOUND")
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return InvalidInput(
            "leads through a symbolic link or something that is not a folder", field=name, reason="PATH_NOT_CONFINED"
        )
    if error.errno in (errno.ENXIO, errno.EISDIR):
        return Undecodable("is not a plain file", field=name, reason="NOT_A_FILE")
    code = errno.errorcode.get(error.errno or 0, "EIO")
    return Undecodable(f"cannot be read ({code})", field=name, reason="FILE_UNREADABLE")


def _too_long(name: str, longest: int) -> TooLarge:
    return TooLarge(f"has more than {longest} bytes", field=name, reason="FILE_OVER_LIMIT")
