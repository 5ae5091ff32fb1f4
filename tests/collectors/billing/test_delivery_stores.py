"""Places in Google Cloud Storage and Azure Blob Storage: what their listings tell, and what is fetched."""

import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from pydantic import SecretStr

from collectors.billing._delivery import Place
from collectors.billing._read import read_source
from ledger.tables import FocusCharge
from tests.collectors.billing.bills import text

CONTENT = text([{}, {"ResourceId": "i-2"}]).encode()
OBJECTS = {
    "focus/2026-01/part-1.csv": CONTENT,
    "focus/loose.csv": CONTENT,
    "focus/notes.md": b"no bill",
}


def _google(prefix: str) -> str:
    listed = "".join(
        f"<Contents><Key>{name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f'<ETag>"e-{len(content)}"</ETag><Size>{len(content)}</Size></Contents>'
        for name, content in sorted(OBJECTS.items())
        if name.startswith(prefix)
    )
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>"


def _azure(prefix: str) -> str:
    listed = "".join(
        f"<Blob><Name>{name}</Name><Properties><Last-Modified>{formatdate(0, usegmt=True)}</Last-Modified>"
        f"<Etag>e-{len(content)}</Etag><Content-Length>{len(content)}</Content-Length>"
        "<Content-Type>text/csv</Content-Type></Properties></Blob>"
        for name, content in sorted(OBJECTS.items())
        if name.startswith(prefix)
    )
    return f'<EnumerationResults ContainerName="bills"><Blobs>{listed}</Blobs><NextMarker /></EnumerationResults>'


class Handler(BaseHTTPRequestHandler):
    """Answers a listing in the words of the one who asks, and gives objects."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        address = urlsplit(self.path)
        asked = parse_qs(address.query)
        prefix = asked.get("prefix", [""])[0]
        key = unquote(address.path).partition("bills/")[2]
        if "comp" in asked:
            body = _azure(prefix).encode()
        elif "list-type" in asked:
            body = _google(prefix).encode()
        else:
            body = OBJECTS[key]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", formatdate(0, usegmt=True))
        self.send_header("ETag", f'"e-{len(body)}"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    """Serve the objects on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_a_prefix_is_listed_and_its_deliveries_fetched(scheme: str, address: str, tmp_path: Path) -> None:
    given = {
        "gs": {"base_url": address, "skip_signature": "true"},
        "az": {"account_name": "me", "account_key": "a2V5", "endpoint": f"{address}/me"},
    }[scheme]
    place = Place(f"{scheme}://bills/focus", {name: SecretStr(value) for name, value in given.items()})
    found = {each.name: each for each in place.deliveries()}
    assert list(found) == ["2026-01", "loose.csv"]
    (part,) = found["2026-01"].files
    assert (part.path, part.size_bytes) == ("2026-01/part-1.csv", len(CONTENT))
    assert part.etag.strip('"') == f"e-{len(CONTENT)}"
    source = place.source(found["2026-01"], "cloud/2026-01", tmp_path)
    assert source.files[0].label == f"{scheme}://bills/focus/2026-01/part-1.csv"
    assert read_source(source).tables[FocusCharge].height == 2
