"""Whatever comes in at the ingest address: refused in words, or kept whole; the hub and its neighbours go on."""

import asyncio
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

import httpx2
import msgspec
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware

from app.api.ingest import WRITABLE
from app.context import Context
from app.guard import Guard
from app.hub import routes
from app.services import named
from ledger.tables import TABLES
from tests.demo import DEMO_NOW

AT = int(DEMO_NOW.timestamp()) * 1000
REFUSED = {400, 403, 413, 422, 426}


def batch(number: int, rows: int = 3) -> dict[str, Any]:
    """Return a good batch; its rows carry its number as their boot."""
    place = {"cluster": ["default"] * rows, "node": ["n1"] * rows, "boot_id": [f"b{number}"] * rows}
    sample = {
        **place,
        "sampled_at": [AT - 1000 * (number * 10 + row) for row in range(rows)],
        "step_seconds": [10.0] * rows,
    }
    gpu = {**sample, "gpu_uuid": ["g"] * rows, "parent_gpu_uuid": [""] * rows, "status": ["ok"] * rows}
    tables = {
        "host_sample": {**sample, "load_average_count": [1.5] * rows},
        "gpu_sample": {**gpu, "power_watts": [70.0] * rows},
    }
    return {"v": 1, "batch_id": f"b{number}", "node": "n1", "boot_id": f"b{number}", "tables": tables}


def body(content: object) -> bytes:
    return zstandard.compress(msgspec.msgpack.encode(content))


@dataclass
class Door:
    """The hub's API without a socket: several calls at once, as one event loop has them."""

    context: Context
    token: str
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def post(self, *bodies: bytes, **headers: str) -> list[httpx2.Response]:
        guard = Middleware(Guard, names=["127.0.0.1"])
        app = Starlette(routes=list(routes(self.context, "key")), middleware=[guard])

        async def all_at_once() -> list[httpx2.Response]:
            way = httpx2.ASGITransport(app, raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=way, base_url="http://127.0.0.1") as client:
                sent = {"Authorization": f"Bearer {self.token}", **headers}
                calls = (client.post("/api/v1/ingest", content=each, headers=sent) for each in bodies)
                return list(await asyncio.gather(*calls))

        # A browser of another test may have left a loop in this thread.
        with ThreadPoolExecutor(max_workers=1) as aside:
            return aside.submit(asyncio.run, all_at_once()).result()

    def stored(self, number: int) -> dict[str, int]:
        """Return how many rows of a batch each table has."""
        found = {}
        for name in ("host_sample", "gpu_sample"):
            query = f"SELECT count(*) AS n FROM {name} WHERE boot_id = $boot"
            found[name] = int(self.context.store.select(query, boot=f"b{number}").item())
        return found

    def check(self, *strange: bytes) -> list[httpx2.Response]:
        """Post strange bodies among good ones: no error of the program, and the good ones are kept whole."""
        good = [next(self.numbers), next(self.numbers)]
        bodies = [body(batch(good[0])), *strange, body(batch(good[1]))]
        answers = self.post(*bodies)
        for number, answer in zip(good, (answers[0], answers[-1]), strict=True):
            assert answer.status_code == 200, answer.text
            assert self.stored(number) == {"host_sample": 3, "gpu_sample": 3}
        for answer in answers[1:-1]:
            assert answer.status_code in {200, *REFUSED}, answer.text
            assert answer.status_code == 200 or answer.json()["error"], answer.text
        return answers[1:-1]


@pytest.fixture
def door(empty_context: Context) -> Door:
    tokens = named("tokens")
    made: Any = tokens.run(empty_context, tokens.asked({"action": "create", "node": "n1"}))
    return Door(empty_context, made[0]["token"])


fuzzed = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

edits = st.lists(
    st.tuples(
        st.sampled_from(["set", "drop", "insert", "repeat", "end"]), st.integers(0, 2**16), st.binary(max_size=9)
    ),
    min_size=1,
    max_size=6,
)


def edited(content: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    """Return bytes after some accidents."""
    for kind, where, new in changes:
        at = where % (len(content) or 1)
        content = {
            "set": content[:at] + new + content[at + len(new) :],
            "drop": content[:at] + content[at + len(new) :],
            "insert": content[:at] + new + content[at:],
            "repeat": content[:at] + content[at : at + 64] * 3 + content[at:],
            "end": content[:at],
        }[kind]
    return content


@fuzzed
@given(changes=edits, is_packed=st.booleans())
def test_bytes_that_were_harmed_on_the_way(door: Door, changes: list[tuple[str, int, bytes]], is_packed: bool) -> None:
    """What is kept of it is kept whole: both tables or none."""
    number = next(door.numbers)
    plain = msgspec.msgpack.encode(batch(number))
    harmed = edited(zstandard.compress(plain), changes) if is_packed else zstandard.compress(edited(plain, changes))
    (answer,) = door.check(harmed)
    if answer.status_code != 200:
        assert door.stored(number) == {"host_sample": 0, "gpu_sample": 0}


odd = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=12),
        st.binary(max_size=12), st.just("x" * 300), st.datetimes(),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)  # fmt: skip
places = st.one_of(
    st.tuples(st.sampled_from(["v", "batch_id", "node", "boot_id", "tables", "later"])),
    st.tuples(st.just("tables"), st.sampled_from(["host_sample", "gpu_sample", "nonsense", "batch", ""])),
    st.tuples(
        st.just("tables"),
        st.sampled_from(["host_sample", "gpu_sample"]),
        st.sampled_from(["sampled_at", "node", "step_seconds", "power_watts", "later", ""]),
    ),
    st.tuples(
        st.just("tables"),
        st.just("host_sample"),
        st.sampled_from(["cluster", "node", "boot_id", "sampled_at", "step_seconds", "load_average_count"]),
        st.integers(0, 2),
    ),
)


@fuzzed
@given(changes=st.lists(st.tuples(places, odd), min_size=1, max_size=3))
def test_values_that_no_agent_sends(door: Door, changes: list[tuple[tuple[str | int, ...], object]]) -> None:
    number = next(door.numbers)
    content: Any = batch(number)
    for place, value in changes:
        way, last = place[:-1], place[-1]
        inner: Any = content
        for step in way:
            inner = inner[step] if isinstance(inner, dict) and step in inner else inner if step == "" else {}
            if not isinstance(inner, (dict, list)):
                inner = {}
        if isinstance(inner, dict) or (isinstance(last, int) and last < len(inner)):
            cast("dict[Any, Any]", inner)[last] = value
    (answer,) = door.check(body(content))
    stored = door.stored(number)
    if answer.status_code != 200:
        assert stored == {"host_sample": 0, "gpu_sample": 0}
        return
    for name, told in answer.json()["tables"].items():
        height = len(next(iter(content["tables"][name].values()), []))
        assert told["rows"] + told["duplicates"] + told["rejected"] == height


# One value each for every column of every table a node writes, in a batch beside good ones of the same table.
@pytest.mark.parametrize("value", [True, 2**64 - 1, -(2**63), 1e308, "\x00", "1e400", "é" * 999, "2026-11-20"])
def test_one_value_in_every_column(door: Door, value: object) -> None:
    tables = {}
    for name in sorted(WRITABLE):
        own = {"node": ["n1"], "cluster": ["default"]}
        tables[name] = {column: [value] for column in TABLES[name].schema.columns()} | own
    content = {"v": 1, "batch_id": f"every {value!r}"[:100], "node": "n1", "boot_id": "b", "tables": tables}
    (answer,) = door.check(body(content))
    assert answer.status_code in {200, 422}


def bomb(size: int) -> bytes:
    """Return a small body that unfolds to many zeros."""
    packer = zstandard.ZstdCompressor().compressobj()
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(size >> 20)) + packer.flush()


def raw(text: bytes) -> bytes:
    return zstandard.compress(text)


DEEP = 200_000
GIGABYTE = bomb(1 << 30)
BOMBS: dict[str, bytes] = {
    "a gigabyte of zeros": GIGABYTE,
    "a gigabyte in many frames": bomb(1 << 20) * 1024,
    "zeros in zeros": zstandard.compress(GIGABYTE),
    "many frames": zstandard.compress(b"\xc0") * 10_000,
    "a window of two gigabytes": b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00",
    "a frame that claims 2**62 bytes": b"\x28\xb5\x2f\xfd\xe0" + (2**62).to_bytes(8, "little") + b"\x01\x00\x00",
    "lists in lists": raw(b"\x91" * DEEP),
    "maps in maps": raw(b"\x81\xa1x" * DEEP),
    "lists in a column": raw(b"\x85\xa1v\x01\xa6tables\x81\xabhost_sample\x81\xa1a" + b"\x91" * DEEP),
    "lists in a field that is passed over": raw(b"\x81\xa5later" + b"\x91" * DEEP),
    "a list that claims 2**32 values": raw(b"\x85\xa1v\x01\xa6tables\x81\xabhost_sample\x81\xa1a\xdd\xff\xff\xff\xff"),
    "a map that claims 2**32 values": raw(b"\x85\xa1v\x01\xa6tables\xdf\xff\xff\xff\xff"),
    "a text that claims 2**32 bytes": raw(b"\x85\xa1v\x01\xa4node\xdb\xff\xff\xff\xff"),
    "an extension": raw(b"\x85\xa1v\x01\xa4node\xc7\x08\x7f" + b"x" * 8),
    "an instant out of range": raw(b"\x85\xa1v\x01\xa4node\xc7\x0c\xff" + b"\xff" * 12),
    "no utf-8": raw(b"\x85\xa1v\x01\xa4node\xa2\xff\xfe"),
    "a key that is no utf-8": raw(b"\x81\xa2\xff\xfe\x01"),
    "a key that is a list": raw(b"\x81\x91\x01\x01"),
    "keys twice": raw(b"\x82\xa1v\x01\xa1v\x02"),
    "a version beyond all": raw(b"\x81\xa1v\xcf" + b"\xff" * 8),
    "a version that is text": raw(b"\x81\xa1v\xa1x"),
    "json": b'{"v": 1}',
    "gzip": b"\x1f\x8b\x08\x00" + bytes(20),
    "nothing": b"",
    "an empty frame": raw(b""),
    "a broken magic": b"\x28\xb5\x2f\xfe",
    "two batches in one": zstandard.compress(msgspec.msgpack.encode(batch(1)) * 2),
    "two frames": body(batch(1)) + body(batch(2)),
    "a million columns": body({**batch(1), "tables": {"host_sample": {f"c{each}": [] for each in range(100_000)}}}),
    "many tables": body({**batch(1), "tables": {f"t{each}": {"a": [1]} for each in range(1000)}}),
    "300,000 rows": body({**batch(1), "tables": {"host_sample": {"node": ["n1"] * 300_000}}}),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(door: Door, name: str) -> None:
    (answer,) = door.check(BOMBS[name])
    assert answer.status_code in REFUSED
    assert len(answer.text) < 10_000


def test_a_newer_version_is_told_apart_from_what_is_broken(door: Door) -> None:
    """An agent puts a broken batch aside; what a newer one sends waits until the hub is updated."""
    for newer in (batch(1) | {"v": 2}, {"v": 3, "rows": [1]}, {"v": 2**40}):
        (answer,) = door.check(body(newer))
        assert answer.status_code == 426
        assert "update the older" in answer.json()["hint"]


def test_a_body_that_says_another_length_or_no_token(door: Door) -> None:
    assert door.post(b"x" * 100, **{"Content-Length": str(10**12)})[0].status_code == 413
    assert door.post(b"x" * 100, **{"Content-Length": "-1"})[0].status_code in REFUSED
    assert door.post(b"x" * 100, **{"Content-Length": "no"})[0].status_code in REFUSED
    assert door.post(b"x", Authorization="Bearer " + "x" * 5000)[0].status_code == 401
    assert door.post(b"x" * (door.context.settings.hub.ingest_max_bytes + 1))[0].status_code == 413
    assert len(door.check(b"")) == 1
