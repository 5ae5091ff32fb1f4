"""One unary call of gRPC: a POST over HTTP/2, which a client library makes that is loaded where a service is there.

gRPC's own library would take five times the memory, for one message.
Source: gRPC over HTTP2.
"""

import ssl
import struct
from pathlib import Path
from typing import Final

from ledger.errors import SourceError

_HEADER: Final = struct.Struct(">BI")
_LONGEST_ANSWER: Final = 16 << 20  # the kubelet's own limit; others say much less
_OK: Final = "0"


class NobodyThere(Exception):  # noqa: N818  no fault: a service may run only while something uses it
    """Nobody listens at the address."""


def call(address: str | Path, method: str, message: bytes, seconds: float) -> bytes:
    """Return the message that a service of this machine answers with, at a host and port or at a socket, in the clear.

    Raises: NobodyThere: nobody listens. SourceError: it does not answer in time, or with an error of its own.
    """
    import httpx2  # noqa: PLC0415  a tenth of the agent's memory, where no such service is

    host, uds = ("localhost", str(address)) if isinstance(address, Path) else (address, None)
    body = bytearray()
    # A context of its own spares the client from reading the authorities of the web.
    unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    headers = {"content-type": "application/grpc", "te": "trailers", "grpc-timeout": f"{max(int(seconds * 1000), 1)}m"}
    content = _HEADER.pack(0, len(message)) + message
    try:
        with (
            httpx2.HTTPTransport(uds=uds, http1=False, http2=True, verify=unused) as transport,
            httpx2.Client(transport=transport, timeout=seconds, trust_env=False) as client,
            client.stream("POST", f"http://{host}/{method}", content=content, headers=headers) as answer,
        ):
            status = answer.headers.get("grpc-status", _OK)
            if answer.status_code != httpx2.codes.OK or status != _OK:
                said = answer.headers.get("grpc-message", "") or f"HTTP {answer.status_code}, gRPC status {status}"
                raise SourceError(f"{address}: found {said}, expected an answer to {method}")
            for block in answer.iter_raw():
                body += block
                if len(body) > _LONGEST_ANSWER:
                    raise SourceError(f"{address}: found more than {_LONGEST_ANSWER} bytes, expected an answer")
    except httpx2.ConnectError as error:
        raise NobodyThere(f"{address}: {error}") from error
    except httpx2.HTTPError as error:
        found = str(error) or type(error).__name__
        raise SourceError(f"{address}: found {found}, expected an answer to {method}") from error
    if len(body) < _HEADER.size or body[0] or len(body) != _HEADER.size + _HEADER.unpack_from(body)[1]:
        # An error that comes after the headers stands in a trailer, and no message before it.
        raise SourceError(f"{address}: found no whole message, expected an answer to {method}")
    return bytes(body[_HEADER.size :])
