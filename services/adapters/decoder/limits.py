"""How much a file may ask for. Checked against what headers declare, before anything is allocated."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from services.errors import TooLarge, Undecodable

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Limits for one file. A worker process is bound to one set of them for its life."""

    input_bytes: int = 256 * MIB
    output_bytes: int = 256 * MIB
    """Pixels as stored, all frames together, and equally what may come out of gzip or deflate."""
    ratio: int = 100
    """Most bytes of pixels for each byte of file, above ``ratio_free_bytes``."""
    ratio_free_bytes: int = 64 * MIB
    """Up to here any ratio is honest: an empty segmentation of a head is 9 MB of zeros in 20 kB of gzip."""
    memory_bytes: int = 1536 * MIB
    """Address space a worker may add to what it has after its imports."""
    cpu_s: float = 2.0
    """Processor time for one file, kept by the kernel. Not wall time: a busy machine must not refuse good files."""
    cpu_s_per_mib: float = 0.25
    """And this much more for each MiB of file: a mammogram of 10 MiB in JPEG 2000 takes 2 s by itself."""
    wall_s: float = 30.0
    """Wall time for one file, for the case that a worker stops without using the processor."""

    def admit(self, declared: int, given: int) -> None:
        """Refuse with TooLarge when ``given`` bytes of file declare ``declared`` bytes of pixels beyond the limits."""
        if declared > self.most(given):
            raise TooLarge(
                f"declares {declared} bytes of pixels in {given} bytes of file; "
                f"at most {self.output_bytes}, and at most {self.ratio} times the file above {self.ratio_free_bytes}",
                reason="DECODED_SIZE_OVER_LIMIT",
            )

    def time_for(self, given: int) -> float:
        """Seconds of processor time that ``given`` bytes of file may take."""
        return self.cpu_s + self.cpu_s_per_mib * given / MIB

    def most(self, given: int) -> int:
        """Most bytes that ``given`` bytes of file may become."""
        return min(self.output_bytes, max(self.ratio_free_bytes, self.ratio * given))

    def inflate(self, data: bytes, wbits: int) -> bytes:
        """``data`` decompressed by zlib; ``wbits`` is 31 for gzip and -15 for raw deflate.

        Raises TooLarge before more than the limit is held, Undecodable for broken or truncated streams.
        """
        most = self.most(len(data))
        stream = zlib.decompressobj(wbits)
        try:
            inflated = stream.decompress(data, most + 1)
        except zlib.error as error:
            raise Undecodable("the compressed stream is broken", reason="COMPRESSED_STREAM_BROKEN") from error
        if len(inflated) > most:
            raise TooLarge(f"decompresses to more than {most} bytes", reason="DECODED_SIZE_OVER_LIMIT")
        if not stream.eof:
            raise Undecodable("the compressed stream ends too early", reason="COMPRESSED_STREAM_BROKEN")
        return inflated
