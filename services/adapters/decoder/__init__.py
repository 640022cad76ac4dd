"""From untrusted files to canonical pixels, in a separate process that can be killed without loss.

A file is parsed by a worker (:mod:`.worker`) that has no open files, no way to open any, no secrets in its environment,
bounded memory, and a processor-time budget for each file. A file that is malformed, lies about its size, or kills or
hangs the worker is refused with a reason; the worker is replaced and the batch goes on.

Reads DICOM (:mod:`.dicom`), NIfTI-1 and -2 (:mod:`.nifti`), PNG, TIFF and JPEG (:mod:`.raster`) and NPY (:mod:`.npy`).
What a file is, its bytes decide; a name that says something else is a reason to refuse it.
"""

from .limits import Limits
from .pool import Decoder, decode_bytes, decode_many
from .sources import Cine, Decoded, File, InFolder, InMemory, MaskForm, Refused, Slices, Source

__all__ = [
    "Cine",
    "Decoded",
    "Decoder",
    "File",
    "InFolder",
    "InMemory",
    "Limits",
    "MaskForm",
    "Refused",
    "Slices",
    "Source",
    "decode_bytes",
    "decode_many",
]
