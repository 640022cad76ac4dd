"""MP4 with H.264: frames in, one at a time; what is held is the codec's look-ahead, whatever the number of frames.

Below each frame runs a strip that says SYNTHETIC: it stays in screenshots and after re-encoding, where metadata do not,
and hides no anatomy. One thread and bit-exact muxing: the same frames and record give the same bytes.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from PIL import Image

from services.adapters.encoder.lettering import Picture, strip, strip_height
from services.adapters.encoder.pixels import checked, quantised, without_copies
from services.adapters.encoder.reading import record_of
from services.adapters.encoder.record import NOT_A_PATIENT, Record, derivation, record_digest, record_text
from services.errors import InvalidInput, OutOfRange, ShapeMismatch, Undecodable

Enlarging = Literal["lanczos", "nearest"]
_RESAMPLING = {"lanczos": Image.Resampling.LANCZOS, "nearest": Image.Resampling.NEAREST}
_LARGEST = 4096
_FASTEST = 120


class VideoWriter:
    """Writes frames (1 or 3, ``height``, ``width``) in [0, 1] to ``target``, a path or a binary file.

    Frames smaller than ``least_side`` are enlarged by a whole factor. Use it as a context manager: the file is whole
    once the block is left without an error, and after an error there is none.
    """

    def __init__(
        self,
        target: Path | str | IO[bytes],
        width: int,
        height: int,
        fps: int,
        record: Record,
        *,
        title: str = "",
        least_side: int = 512,
        enlarging: Enlarging = "lanczos",
        quality: int = 15,
    ) -> None:
        if not 1 <= fps <= _FASTEST:
            raise OutOfRange(f"a video has 1 to {_FASTEST} frames a second", field="fps")
        if min(width, height) < 1 or max(width, height) > _LARGEST:
            raise OutOfRange(f"a frame's sides are 1 to {_LARGEST} pixels", field="width")
        if enlarging not in _RESAMPLING:
            raise InvalidInput("frames are enlarged by lanczos or nearest", field="enlarging")
        metadata = _metadata(record, title)
        self._target = target
        self._shape = (height, width)
        self._factor = max(1, min(-(-least_side // min(width, height)), _LARGEST // max(width, height)))
        self._resampling = _RESAMPLING[enlarging]
        self._frames = 0
        self._closed = False
        shown = self._factor * width
        even = (shown + shown % 2, (self._factor * height + strip_height(shown) + 1) // 2 * 2)
        # The index goes to the front in a second pass over a file with a name, which not every target has.
        self._folder = tempfile.TemporaryDirectory(prefix="video-")
        self._draft = Path(self._folder.name) / "video.mp4"
        self._container = av.open(
            str(self._draft), "w", options={"movflags": "+faststart", "fflags": "+bitexact", "brand": "mp42"}
        )
        self._container.metadata.update(metadata)
        self._stream = _h264(self._container, even, fps, quality)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the video, with the strip, in pixels."""
        return int(self._stream.width), int(self._stream.height)

    def add(self, frame: npt.NDArray[np.floating], caption: str = "") -> None:
        """The next frame, (1 or 3, height, width) in [0, 1]; ``caption`` stands in the strip. Raises InvalidInput."""
        if self._closed:
            raise ValueError("the video is closed")
        field = f"frames[{self._frames}]"
        image = checked(frame, field=field)
        if image.shape[0] not in (1, 3) or image.shape[1:] != self._shape:
            raise ShapeMismatch(f"a frame has shape (1 or 3, {self._shape[0]}, {self._shape[1]})", field=field)
        picture = self._laid_out(quantised(without_copies(image), 8), caption)
        encoded = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        encoded.pts = self._frames
        encoded.time_base = self._stream.codec_context.time_base
        self._container.mux(self._stream.encode(encoded))
        self._frames += 1

    def close(self) -> None:
        """Finish the file and hand it over. Raises InvalidInput when no frame was added."""
        if self._closed:
            return
        if self._frames == 0:
            self._discard()
            raise InvalidInput("a video needs at least one frame", field="frames", reason="VIDEO_EMPTY")
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            if isinstance(self._target, str | Path):
                shutil.move(self._draft, self._target)
            else:
                with self._draft.open("rb") as file:
                    shutil.copyfileobj(file, self._target)
        finally:
            self._discard()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def _laid_out(self, levels: npt.NDArray[np.generic], caption: str) -> Picture:
        """The frame enlarged, the strip below it, and what makes the sides even."""
        height, width = self._shape[0] * self._factor, self._shape[1] * self._factor
        planes = [
            np.asarray(Image.fromarray(np.asarray(plane, np.uint8)).resize((width, height), self._resampling))
            for plane in levels
        ]
        wide, high = self.size
        picture = np.empty((high, wide, 3), np.uint8)
        picture[:height, :width] = np.stack(planes, axis=-1) if len(planes) == 3 else planes[0][..., None]
        picture[:height, width:] = picture[:height, width - 1 : width]
        below = strip(wide, caption)
        picture[height : height + len(below)] = below
        picture[height + len(below) :] = below[-1:]
        return picture

    def _discard(self) -> None:
        self._closed = True
        self._container.close()
        self._folder.cleanup()


def read_video_record(data: bytes) -> dict[str, object]:
    """The record inside a video of ours. Raises Undecodable where there is none."""
    try:
        with av.open(io.BytesIO(data), "r", format="mp4") as container:
            text = container.metadata.get("synopsis")
    except (av.FFmpegError, ValueError) as error:
        raise Undecodable("is not an MP4 file", field="file") from error
    return record_of(text)


def _metadata(record: Record, title: str) -> dict[str, str]:
    """The keys of iTunes' list that players show, and the whole record."""
    return {
        "title": f"SYNTHETIC: {title}" if title else "SYNTHETIC",
        "comment": f"{NOT_A_PATIENT} Record sha256:{record_digest(record)}",
        "description": derivation(record),
        "synopsis": record_text(record),
    }


def _h264(container: Any, size: tuple[int, int], fps: int, quality: int) -> Any:
    """A stream that browsers play: 4:2:0, limited range, BT.709, a key frame at least every second."""
    stream = container.add_stream("libx264", rate=fps)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = Fraction(1, fps)
    stream.codec_context.thread_count = 1
    stream.codec_context.color_range = ColorRange.MPEG
    stream.codec_context.colorspace = Colorspace.ITU709
    stream.codec_context.color_primaries = ColorPrimaries.BT709
    stream.codec_context.color_trc = ColorTrc.BT709
    stream.options = {
        "crf": str(quality),
        "preset": "veryfast",
        "profile": "high",
        "threads": "1",
        "g": str(fps),
        "flags": "+bitexact",
        "x264-params": "rc-lookahead=20",
    }
    return stream
