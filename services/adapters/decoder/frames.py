"""The choice of one frame or page out of several."""

from __future__ import annotations

from services.errors import OutOfRange


def frame_index(frame: str | int, count: int) -> int:
    """Index of "middle", "first" or a number among ``count`` frames. Raises OutOfRange."""
    if frame == "middle":
        return count // 2
    index = 0 if frame == "first" else int(frame)
    if not 0 <= index < count:
        raise OutOfRange(f"frame {frame} was asked for, the file has {count}", reason="FRAME_OUT_OF_RANGE")
    return index
