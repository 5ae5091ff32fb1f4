"""Raw SQL of people: one SELECT, and nothing else."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from ledger.errors import InputError
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import GpuSample

AT = datetime(2026, 11, 20, 5, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"duckdb:{tmp_path}/ledger.duckdb") as store:
        rows = [
            {"sampled_at": AT, "cluster": "c", "node": "n", "gpu_uuid": f"g{index}", "status": "ok", "process_count": 1}
            for index in range(3)
        ]
        store.append(GpuSample, to_frame(GpuSample, rows), source="t")
        yield store


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT gpu_uuid FROM gpu_sample ORDER BY gpu_uuid",
        "select gpu_uuid from main.gpu_sample order by 1 ; -- all of them",
        "WITH them AS (SELECT * FROM gpu_sample) SELECT gpu_uuid FROM them ORDER BY gpu_uuid",
        "FROM gpu_sample SELECT gpu_uuid ORDER BY gpu_uuid",
    ],
)
def test_a_select_answers(store: Store, sql: str) -> None:
    assert store.people_sql(sql)["gpu_uuid"].to_list() == ["g0", "g1", "g2"]


def test_sums_are_plain_whole_numbers_and_instants_are_utc(store: Store) -> None:
    frame = store.people_sql("SELECT sum(process_count) AS n, min(sampled_at) AS since FROM gpu_sample")
    assert frame.rows() == [(3, AT)]
    assert frame.schema == {"n": pl.Int64(), "since": pl.Datetime("us", "UTC")}


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("DELETE FROM gpu_sample", "found DELETE, expected one SELECT"),
        ("INSERT INTO fence VALUES (1)", "found INSERT"),
        ("WITH x AS (SELECT 1) DELETE FROM gpu_sample", "found DELETE"),
        ("UPDATE fence SET turn_count = 0", "found UPDATE"),
        ("DROP TABLE gpu_sample", "found DROP"),
        ("CREATE TABLE x (a INTEGER)", "found CREATE"),
        ("ATTACH 'x.duckdb'", "found ATTACH"),
        ("COPY gpu_sample TO 'x.csv'", "found COPY"),
        ("EXPORT DATABASE 'x'", "found"),
        ("INSTALL httpfs", "found LOAD"),
        ("SET threads = 1", "found"),
        ("PRAGMA database_list; DELETE FROM fence", "found 2 statements"),
        ("CALL pragma_version()", "found"),
        ("PRAGMA version", "found PRAGMA, expected one SELECT"),
        ("/* a */ -- b\n pragma version", "found PRAGMA"),
        ("SELECT 1 AS a, 2 AS a", "more than once"),
        ("CHECKPOINT", "found"),
        ("COMMIT", "found TRANSACTION"),
        ("EXPLAIN ANALYZE DELETE FROM fence", "found EXPLAIN"),
        ("SELECT 1; SELECT 2", "found 2 statements, expected one SELECT"),
        ("", "found 0 statements"),
        ("-- nothing", "found 0 statements"),
        ("SELEC 1", "syntax error"),
        ("SELECT colour FROM gpu_sample", "colour"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT * FROM read_text('/etc/passwd')", "disabled by configuration"),
        ("SELECT * FROM '/etc/passwd'", "does not exist"),
        ("SELECT * FROM read_csv('https://example.org/x.csv')", ""),
        ("SELECT * FROM glob('/etc/*')", "disabled by configuration"),
        ("SELECT * FROM store", "store"),
        ("SELECT 1 / (SELECT 1 WHERE false) + CAST('x' AS INTEGER)", "Could not convert"),
    ],
)
def test_anything_else_is_refused_in_one_line(store: Store, sql: str, found: str) -> None:
    with pytest.raises(InputError) as caught:
        store.people_sql(sql)
    assert caught.value.message.startswith("sql: ")
    assert found in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert store.read(GpuSample).height == 3


def test_intervals_are_text(store: Store) -> None:
    found = store.people_sql(
        "SELECT INTERVAL '2 days 3 hours' AS a, INTERVAL '1 month 0.5 seconds' AS b, CAST(NULL AS INTERVAL) AS c"
    )
    assert found.rows() == [("2 days, 3:00:00", "1 month, 0:00:00.500000", None)]


def test_a_misspelt_name_gets_the_one_that_was_meant(store: Store) -> None:
    with pytest.raises(InputError) as caught:
        store.people_sql("SELECT * FROM gpu_sampel")
    assert "gpu_sample" in caught.value.hint


def test_a_variable_of_the_process_is_no_table(store: Store) -> None:
    secret = pl.DataFrame({"a": [1]})
    assert secret.height == 1
    with pytest.raises(InputError, match="secret"):
        store.people_sql("SELECT * FROM secret")


def test_too_many_rows_are_refused_without_reading_them_all(store: Store) -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match="found more than 10000 rows, expected at most 10000"):
        store.people_sql("SELECT * FROM range(100000000000)")
    assert time.monotonic() - began < 20
    assert store.people_sql("SELECT * FROM range(10000)").height == 10_000
    with pytest.raises(InputError, match="more than 2 rows"):
        store.people_sql("SELECT * FROM gpu_sample", limit=2)


def test_a_long_query_is_stopped(store: Store) -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match=r"found no answer in 0\.2 seconds"):
        store.people_sql("SELECT count(*) FROM range(1000000000000) WHERE range % 7 = 1", timeout_seconds=0.2)
    assert time.monotonic() - began < 20
    assert store.people_sql("SELECT 1 AS one")["one"].to_list() == [1]
