"""PNG with the record inside, and the marks by which other software knows a synthetic image.

Chunks: ``Synthetic`` = YES, ``Software``, ``Description`` and ``Comment`` in words, ``evenhand:record`` with the
record's canonical JSON, and XMP with IPTC's DigitalSourceType, which photo libraries and search engines read.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from services.adapters.encoder.pixels import checked, quantised, without_copies
from services.adapters.encoder.reading import record_of
from services.adapters.encoder.record import (
    NOT_A_PATIENT,
    SOFTWARE,
    SYNTHETIC_KEY,
    SYNTHETIC_VALUE,
    Record,
    derivation,
    record_text,
)
from services.errors import ShapeMismatch, Undecodable, UnsupportedFormat

RECORD_KEY = "evenhand:record"
_XMP_KEY = "XML:com.adobe.xmp"
_XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType='
    '"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/></rdf:RDF></x:xmpmeta>'
    '<?xpacket end="r"?>'
)


def png_bytes(pixels: npt.NDArray[np.floating], record: Record, *, bits: int = 8) -> bytes:
    """A PNG of ``pixels`` (1 or 3, H, W) in [0, 1], with 8 or 16 bits; three equal channels are written as one.

    Raises ShapeMismatch, NonFinite, OutOfRange, and UnsupportedFormat for 16 bits of colour.
    """
    image = without_copies(checked(pixels))
    if image.shape[0] not in (1, 3):
        raise ShapeMismatch(f"a PNG has 1 or 3 channels, got {image.shape[0]}; NPY takes any", field="pixels")
    if bits not in (8, 16):
        raise UnsupportedFormat(f"a PNG has 8 or 16 bits, not {bits}", field="bits")
    if bits == 16 and image.shape[0] == 3:
        raise UnsupportedFormat("16 bits are for one channel; NPY keeps all digits of three", field="bits")
    levels = quantised(image, bits)
    return _written(levels[0] if image.shape[0] == 1 else levels.transpose(1, 2, 0), record)


def picture_bytes(picture: npt.NDArray[np.uint8], record: Record) -> bytes:
    """A PNG of a picture (H, W) or (H, W, 3), uint8, that shows synthetic images: a map, a filmstrip."""
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,)):
        raise ShapeMismatch(
            f"a picture is uint8, (H, W) or (H, W, 3), got {picture.dtype} {picture.shape}", field="picture"
        )
    return _written(picture, record)


def read_png_record(data: bytes) -> dict[str, object]:
    """The record inside a PNG of ours. Raises Undecodable where there is none."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.load()
            text = getattr(image, "text", {}).get(RECORD_KEY)
    except (OSError, SyntaxError, ValueError) as error:
        raise Undecodable("is not a PNG file", field="file") from error
    return record_of(text)


def _written(levels: npt.NDArray[np.unsignedinteger], record: Record) -> bytes:
    words = PngInfo()
    words.add_text(SYNTHETIC_KEY, SYNTHETIC_VALUE)
    words.add_text("Software", SOFTWARE)
    words.add_itxt("Description", NOT_A_PATIENT)
    words.add_itxt("Comment", derivation(record))
    words.add_itxt(RECORD_KEY, record_text(record))
    words.add_itxt(_XMP_KEY, _XMP)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(levels)).save(file, "PNG", pnginfo=words, compress_level=6)
    return file.getvalue()
