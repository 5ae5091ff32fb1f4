"""Batches of whatever values: each is kept or refused in words, and none breaks the hub."""

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import zstandard
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.api.ingest import WRITABLE
from app.context import Context
from app.hub import routes
from app.services import named
from ledger.tables import TABLES

SHIPPED = 1_763_640_000_000
VALUES: tuple[Any, ...] = (
    None, True, 0, 1, -1, 2**63 - 1, -(2**63), 2**64 - 1, 10**15, 1.5, -1e308, 1e308, 9e18, "", "x", "n1", "1e400",
    "NaN", "inf", "\x00", "é" * 300, "2026-11-20T00:00:00Z", "12345678901234567890.123456789", SHIPPED,
    253_402_300_799_999, 253_402_300_800_000, -62_135_596_800_001,
)  # fmt: skip


def batches(seed: int, count: int) -> Iterator[tuple[int, dict[str, dict[str, list[Any]]]]]:
    chance = random.Random(seed)  # noqa: S311  seeded, not secret
    for number in range(count):
        tables = {}
        for name in chance.sample(sorted(WRITABLE), 2):
            height = chance.randint(0, 4)
            columns = [each for each in TABLES[name].schema.columns() if chance.random() < 0.8]
            values = {column: [chance.choice(VALUES) for _ in range(height)] for column in columns}
            values |= {column: [SHIPPED + row for row in range(height)] for column in columns if column == "sampled_at"}
            tables[name] = values | {"node": ["n1"] * height, "cluster": ["default"] * height}
        yield number, tables


@pytest.mark.parametrize("seed", range(3))
def test_no_value_breaks_the_hub(empty_context: Context, seed: int) -> None:
    tokens = named("tokens")
    (made,) = tokens.run(empty_context, tokens.asked({"action": "create", "node": "n1"}))  # type: ignore[misc]
    client = TestClient(Starlette(routes=list(routes(empty_context, "key"))))
    found = set()
    for number, tables in batches(seed, 60):
        batch = {"v": 1, "batch_id": f"b{number}", "node": "n1", "boot_id": "b", "tables": tables}
        answer = client.post(
            "/api/v1/ingest",
            content=zstandard.compress(msgspec.msgpack.encode(batch)),
            headers={"Authorization": f"Bearer {made['token']}"},
        )
        assert answer.status_code in {200, 422}, (answer.text, tables)
        found.add(answer.status_code)
        if answer.status_code == 200:
            told = answer.json()["tables"]
            assert {name: sum(each.values()) for name, each in told.items()} == {
                name: len(columns["node"]) for name, columns in tables.items()
            }, "every row is stored, known or rejected"
    assert 200 in found
