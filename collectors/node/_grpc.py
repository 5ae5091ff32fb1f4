"""One unary call of gRPC over HTTP/2, and what its message holds: enough for a service with a few numbers.

gRPC's own library would take several times the agent's memory.
Source: gRPC over HTTP2; encoding of protocol buffers.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Final

import httpx2

from ledger.errors import SourceError

_HEADER: Final = struct.Struct(">BI")
_LONGEST_ANSWER: Final = 4 << 20
_OK: Final = "0"

_VARINT: Final = 0
_FIXED: Final = {1: 8, 5: 4}
_LENGTH: Final = 2
_LONGEST_VARINT: Final = 10
_CONTINUES: Final = 0x80

Fields = Mapping[int, Sequence[int | bytes]]
"""What a message holds by field number: whole numbers, and the bytes of all else, in the order of the message."""


class NobodyThere(Exception):  # noqa: N818  no fault: the service runs only while something uses it
    """Nobody listens at the address."""


def call(address: str, method: str, message: bytes, seconds: float) -> bytes:
    """Return the message that a service answers with; not encrypted, so for this machine alone.

    Raises: NobodyThere: nobody listens. SourceError: it does not answer in time, or with an error of its own.
    """
    where, body = f"http://{address}/{method}", bytearray()
    headers = {"content-type": "application/grpc", "te": "trailers", "grpc-timeout": f"{max(int(seconds * 1000), 1)}m"}
    try:
        with (
            httpx2.HTTPTransport(http1=False, http2=True) as transport,
            httpx2.Client(transport=transport, timeout=seconds) as client,
            client.stream("POST", where, content=_HEADER.pack(0, len(message)) + message, headers=headers) as answer,
        ):
            status = answer.headers.get("grpc-status", _OK)
            if answer.status_code != httpx2.codes.OK or status != _OK:
                said = answer.headers.get("grpc-message", "") or f"HTTP {answer.status_code}, gRPC status {status}"
                raise SourceError(f"{where}: found {said}, expected an answer")
            for block in answer.iter_raw():
                body += block
                if len(body) > _LONGEST_ANSWER:
                    raise SourceError(f"{where}: found more than {_LONGEST_ANSWER} bytes, expected an answer")
    except httpx2.ConnectError as error:
        raise NobodyThere(f"{address}: {error}") from error
    except httpx2.HTTPError as error:
        raise SourceError(f"{where}: {error or type(error).__name__}") from error
    if len(body) < _HEADER.size or body[0] or len(body) != _HEADER.size + _HEADER.unpack_from(body)[1]:
        # An error that comes after the headers stands in a trailer, and no message before it.
        raise SourceError(f"{where}: found no whole message, expected an answer")
    return bytes(body[_HEADER.size :])


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
