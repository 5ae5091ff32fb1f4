"""What a message of protocol buffers holds: enough for services with a few numbers and names.

Source: encoding of protocol buffers.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Final

_VARINT: Final = 0
_FIXED: Final = {1: 8, 5: 4}
_LENGTH: Final = 2
_LONGEST_VARINT: Final = 10
_CONTINUES: Final = 0x80

Fields = Mapping[int, Sequence[int | bytes]]
"""What a message holds by field number: whole numbers, and the bytes of all else, in the order of the message."""


def text_field(number: int, value: str) -> bytes:
    """Return a field that holds a short text, as it stands in a message."""
    encoded = value.encode()
    return bytes((number << 3 | _LENGTH, len(encoded))) + encoded


def fields(message: bytes) -> Fields:
    """Return what a message holds.

    Raises: ValueError: it is none.
    """
    found: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        value: int | bytes
        if kind == _VARINT:
            value, at = _varint(message, at)
        elif kind == _LENGTH or kind in _FIXED:
            size, at = _varint(message, at) if kind == _LENGTH else (_FIXED[kind], at)
            value, at = message[at : at + size], at + size
        else:
            raise ValueError(f"a field of kind {kind}")
        if at > len(message):
            raise ValueError("a field that ends behind its message")
        found.setdefault(tag >> 3, []).append(value)
    return found


def messages(found: Fields, number: int) -> list[bytes]:
    """Return the messages or texts in a field."""
    return [value for value in found.get(number, ()) if isinstance(value, bytes)]


def whole(found: Fields, number: int) -> int | None:
    """Return the last whole number in a field; none for a negative one."""
    values = [value for value in found.get(number, ()) if isinstance(value, int)]
    return values[-1] if values and values[-1] < 1 << 63 else None


def word(found: Fields, number: int) -> str:
    """Return the last text in a field; '' for none."""
    values = messages(found, number)
    return values[-1].decode("utf-8", "replace") if values else ""


def real(found: Fields, number: int) -> float | None:
    """Return the last number of double precision in a field."""
    values = [value for value in messages(found, number) if len(value) == struct.calcsize("<d")]
    return float(struct.unpack("<d", values[-1])[0]) if values else None


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length and where it ends.

    Raises: ValueError: it does not end.
    """
    value = 0
    for index, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & ~_CONTINUES) << 7 * index
        if not byte & _CONTINUES:
            return value, at + index + 1
    raise ValueError("a number that does not end")
