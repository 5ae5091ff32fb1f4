"""Text of a file, whatever its encoding says it is; what is no text is refused by what it is."""

import codecs
from typing import Final

from ledger.errors import InputError

HEAD_BYTES: Final = 256 * 2**10
"""So much of a file has its header, or is no table."""

MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
"""With what a text may begin that says its encoding: UTF-8, and UTF-16 in either order."""

_BLOCK_BYTES: Final = 32 * 2**20
_TAR: Final = b"ustar"
_TAR_PLACE: Final = 257
_KNOWN_STARTS: Final = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x7fELF": "a program",
    b"\x28\xb5\x2f\xfd": "zstd data",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
}


def beginning(content: bytes, size: int) -> bytes:
    """Return the first bytes of a file; of text as UTF-8 without its mark. The cut may fall into a character."""
    start = content[:size]
    encoding = "utf-8-sig" if start.startswith(MARKS[0]) else "utf-16" if start.startswith(MARKS[1:]) else ""
    return start.decode(encoding, errors="ignore").encode() if encoding else start


def utf8(label: str, content: bytes) -> bytes:
    """Return text as UTF-8 without a byte order mark; UTF-16 is told by its mark."""
    if content[_TAR_PLACE : _TAR_PLACE + len(_TAR)] == _TAR:
        raise InputError(
            f"{label}: found a tar archive, expected CSV, gzipped CSV or Parquet", hint="unpack it, import its folder"
        )
    for start, meaning in _KNOWN_STARTS.items():
        if content.startswith(start):
            raise InputError(
                f"{label}: found {meaning}, expected CSV, gzipped CSV or Parquet", hint="export it as CSV or Parquet"
            )
    if content.startswith(MARKS[1:]):
        try:
            content = content.decode("utf-16").encode()
        except UnicodeDecodeError as error:
            raise InputError(f"{label}: found broken UTF-16 at byte {error.start}, expected text") from error
    if b"\0" in content[:HEAD_BYTES]:
        raise InputError(
            f"{label}: found binary data, expected CSV, gzipped CSV or Parquet", hint="export it as CSV or Parquet"
        )
    if not content.isascii():
        _check(label, content)
    return content.removeprefix(MARKS[0])


def _check(label: str, content: bytes) -> None:
    """Refuse bytes that are no UTF-8; they are looked at in blocks, since a text of all of them is as large again."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(content)
    for start in range(0, len(content), _BLOCK_BYTES):
        held = len(decoder.getstate()[0])
        try:
            decoder.decode(view[start : start + _BLOCK_BYTES], final=start + _BLOCK_BYTES >= len(content))
        except UnicodeDecodeError as error:
            raise InputError(
                f"{label}: found bytes that are no UTF-8 text at byte {start - held + error.start}, "
                "expected CSV or Parquet",
                hint="save the file as UTF-8",
            ) from error
