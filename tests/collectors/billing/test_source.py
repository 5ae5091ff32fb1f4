"""A bill in an object store is the same bill."""

import json
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from collectors.billing._read import read_bill
from ledger import money
from ledger.errors import InputError
from ledger.tables import FocusCharge
from tests.collectors.billing.bills import bill, text

BUCKET = "/bills/"


def _handler(objects: dict[str, bytes]) -> type[BaseHTTPRequestHandler]:
    """Return what speaks as much S3 as a reader asks for: HEAD and GET of an object, and a listing."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            address = urlsplit(self.path)
            key = unquote(address.path).removeprefix(BUCKET).removeprefix("/bills")
            if key:
                status, body = (
                    (200, objects[key]) if key in objects else (404, b"<Error><Code>NoSuchKey</Code></Error>")
                )
            else:
                prefix = parse_qs(address.query).get("prefix", [""])[0]
                listed = "".join(
                    f"<Contents><Key>{name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                    f"<ETag>e</ETag><Size>{len(content)}</Size></Contents>"
                    for name, content in sorted(objects.items())
                    if name.startswith(prefix)
                )
                status, body = (
                    200,
                    f"<ListBucketResult><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>".encode(),
                )
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Last-Modified", formatdate(0, usegmt=True))
            self.send_header("ETag", "e")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_GET = do_HEAD = _answer  # noqa: N815  the names that http.server looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    return Handler


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """Serve a bucket and let the environment point to it, as an operator would."""
    held: dict[str, bytes] = {}
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(held)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        monkeypatch.setenv("AWS_REGION", "here")
        yield held
        server.shutdown()
        thread.join()


def test_a_prefix_an_object_and_a_manifest_of_a_bucket(objects: dict[str, bytes]) -> None:
    objects["exports/2026-01/part 1.csv"] = text([{"BilledCost": "7"}]).encode()
    objects["exports/2026-01/part 2.csv"] = text([{"BilledCost": "8"}]).encode()
    objects["exports/2026-01/run/manifest.json"] = json.dumps({"dataFiles": ["s3://bills/x/part 3.csv"]}).encode()
    objects["exports/2026-01/run/part 3.csv"] = text([{"BilledCost": "9"}]).encode()
    whole = read_bill("s3://bills/exports/2026-01/")
    assert money.total(whole.tables[FocusCharge]["BilledCost"]) == 24
    assert whole.source_name == "s3://bills/exports/2026-01"
    assert money.total(read_bill("s3://bills").tables[FocusCharge]["BilledCost"]) == 24
    one = read_bill("s3://bills/exports/2026-01/part 2.csv")
    assert money.total(one.tables[FocusCharge]["BilledCost"]) == 8
    assert one.source_name == "part 2.csv"
    listed = read_bill("s3://bills/exports/2026-01/run/manifest.json")
    assert money.total(listed.tables[FocusCharge]["BilledCost"]) == 9
    assert listed.source_name == "s3://bills/exports/2026-01/run"


def test_what_is_not_in_the_bucket_is_said(objects: dict[str, bytes]) -> None:
    objects["a.txt"] = b"x"
    with pytest.raises(InputError, match=r"^s3://bills/exports/b\.csv: found nothing there"):
        read_bill("s3://bills/exports/b.csv")
    with pytest.raises(InputError, match=r"Unable to recognise URL"):
        read_bill("ftp://somewhere/else")


def test_a_hidden_file_is_no_part_of_a_delivery(tmp_path: Path) -> None:
    bill(tmp_path / "run/a.csv", {})
    bill(tmp_path / "run/.a.csv", {}, {})
    bill(tmp_path / "run/_partial/_b.csv", {}, {})
    assert read_bill(tmp_path / "run").tables[FocusCharge].height == 1
