"""The store's file: held by one, older or newer, copied, killed, full."""

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from ledger import migrations
from ledger._opening import opened
from ledger.errors import ConfigError, StoreError
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import ExchangeRate, GpuSample, NetworkHour

AT = datetime(2026, 11, 20, 5, tzinfo=UTC)

VERSION = migrations.version_of(migrations.steps())


def samples(count: int, node: str = "n") -> pl.DataFrame:
    rows = [
        {"sampled_at": AT + timedelta(seconds=index), "cluster": "c", "node": node, "gpu_uuid": "g", "status": "ok"}
        for index in range(count)
    ]
    return to_frame(GpuSample, rows)


def url_of(path: Path) -> str:
    return f"duckdb:{path}"


def change(path: Path, *statements: str) -> None:
    """Change a closed store behind its back."""
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)


def run_python(code: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=os.environ | environment
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.duckdb"


def test_what_is_stored_is_there_when_it_is_opened_again(path: Path) -> None:
    with Store.open(url_of(path)) as store:
        store.append(GpuSample, samples(3), source="t")
    with Store.open(url_of(path)) as store:
        assert store.read(GpuSample).height == 3
        assert store.versions("gpu_sample")["2026-11-20T05"].version_count == 1


OPEN_TWICE = """
import sys
from ledger.store import Store
for _ in range(2):
    with Store.open(sys.argv[1]) as store:
        store.people_sql("SELECT 1")
print("pandas" in sys.modules)
"""


def test_a_store_is_opened_without_pandas(path: Path) -> None:
    """DuckDB imports it at the first parameter of a query, and takes as long for it as a short command for the rest."""
    answer = run_python(OPEN_TWICE, url_of(path))
    assert answer.stdout == "False\n", answer.stderr


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    for name in ("main.duckdb", "my store.v2.db", 'quo"te.duckdb', "select"):
        with Store.open(url_of(tmp_path / name)) as store:
            store.append(GpuSample, samples(1), source="t")
            assert store.people_sql("SELECT count(*) AS n FROM gpu_sample")["n"].to_list() == [1]


@pytest.mark.parametrize("url", ["ledger.duckdb", "postgres:x", "duckdb:", ""])
def test_an_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="expected duckdb:PATH"):
        Store.open(url)


OPEN = """
import sys
from ledger.errors import StoreError
from ledger.store import Store
try:
    Store.open(sys.argv[1])
except StoreError as error:
    print(error)
"""


def test_another_process_is_refused_with_a_clear_line(path: Path) -> None:
    with Store.open(url_of(path)):
        answer = run_python(OPEN, url_of(path))
    assert f"store {url_of(path)}: held by process {os.getpid()}, expected to be free" in answer.stdout
    assert "hint: wait until it ends, or end it" in answer.stdout


def test_two_stores_of_one_process_share_the_file(path: Path) -> None:
    rate = to_frame(NetworkHour, [network_hour(index) for index in range(20)])
    with Store.open(url_of(path)) as one, Store.open(url_of(path)) as other, ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            list(pool.map(lambda store: store.replace(NetworkHour, rate, partitions=["2026-11-20T05"]), (one, other)))
            assert one.read(NetworkHour).height == other.read(NetworkHour).height == 20
        list(pool.map(lambda store: store.append(GpuSample, samples(50), source="t"), (one, other)))
        assert one.read(GpuSample).height == 50


def network_hour(index: int, value: float = 1.0) -> dict[str, Any]:
    return {
        "hour_start": AT, "cluster": "c", "node": f"n{index}", "device": "d", "port": "1", "transmit_bytes": value,
        "reset_count": 0, "observed_seconds": 3600,
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"hello" * 2_000, b"", b"\x00" * 8_192])
def test_a_file_that_is_no_store_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError, match="expected a clusterledger store"):
        Store.open(url_of(path))
    assert path.read_bytes() == content


def test_a_damaged_store_is_refused(path: Path) -> None:
    with Store.open(url_of(path)) as store:
        store.append(GpuSample, samples(100), source="t")
    whole = path.read_bytes()
    path.write_bytes(whole[:4_096] + b"\xff" * (len(whole) - 4_096))
    with pytest.raises(StoreError, match=f"store {url_of(path)}: "):
        Store.open(url_of(path))


def test_a_database_of_somebody_else_is_refused(path: Path) -> None:
    change(path, "CREATE TABLE theirs (a INTEGER)")
    with pytest.raises(StoreError, match="found a database with other tables"):
        Store.open(url_of(path))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="found no folder"):
        Store.open(url_of(tmp_path / "nowhere" / "x.duckdb"))


# Older and newer stores


def test_a_newer_store_is_refused(path: Path) -> None:
    Store.open(url_of(path)).close()
    change(path, "UPDATE meta SET schema_version = 99")
    with pytest.raises(StoreError, match=f"found schema version 99, expected at most {VERSION}") as caught:
        Store.open(url_of(path))
    assert caught.value.hint


def test_a_column_and_a_table_that_are_new_are_added_after_a_copy(path: Path) -> None:
    with Store.open(url_of(path)) as store:
        store.append(GpuSample, samples(2), source="t")
    change(path, "ALTER TABLE gpu_sample DROP COLUMN power_watts", "DROP TABLE network_hour")
    with Store.open(url_of(path)) as store:
        assert store.read(GpuSample)["power_watts"].to_list() == [None, None]
        assert store.read(NetworkHour).height == 0
        more = samples(1, "other").with_columns(power_watts=pl.lit(300.0))
        assert store.append(GpuSample, more, source="t").rows == 1
    copy = path.with_name(f"{path.name}.v{VERSION}.bak")
    with duckdb.connect(str(copy), read_only=True) as connection:
        columns = {row[0] for row in connection.execute("DESCRIBE gpu_sample").fetchall()}
    assert "power_watts" not in columns
    with Store.open(url_of(path)) as store:
        assert store.read(GpuSample).height == 3


def test_steps_run_in_order_once_and_all_or_nothing(path: Path) -> None:
    with Store.open(url_of(path)) as store:
        store.append(GpuSample, samples(2), source="t")

    def third(cursor: duckdb.DuckDBPyConnection, prefix: str) -> None:
        cursor.execute(f"UPDATE {prefix}gpu_sample SET boot_id = 'third'")

    def fourth(cursor: duckdb.DuckDBPyConnection, prefix: str) -> None:
        cursor.execute(f"UPDATE {prefix}gpu_sample SET boot_id = boot_id || ', fourth'")

    def broken(cursor: duckdb.DuckDBPyConnection, prefix: str) -> None:
        cursor.execute(f"DELETE FROM {prefix}gpu_sample")
        cursor.execute(f"SELECT * FROM {prefix}nowhere")

    def never(cursor: duckdb.DuckDBPyConnection, prefix: str) -> None:
        cursor.execute(f"DELETE FROM {prefix}gpu_sample")

    now, one, two = VERSION, VERSION + 1, VERSION + 2
    with pytest.raises(StoreError, match="nowhere"):
        opened(url_of(path), available={now: never, one: third, two: broken})
    opened(url_of(path), available={now: never, two: fourth, one: third})[0].close()
    assert path.with_name(f"{path.name}.v{VERSION}.bak").exists()
    connection, prefix = opened(url_of(path), available={now: never, one: third, two: fourth})
    rows = connection.execute(f"SELECT boot_id FROM {prefix}gpu_sample").fetchall()
    version = connection.execute(f"SELECT schema_version FROM {prefix}meta").fetchall()
    connection.close()
    assert (rows, version) == ([("third, fourth",)] * 2, [(two,)])


def test_a_column_of_another_type_is_refused(path: Path) -> None:
    Store.open(url_of(path)).close()
    change(path, "ALTER TABLE exchange_rate ALTER unit_price TYPE DOUBLE")
    with pytest.raises(StoreError, match=r"exchange_rate.unit_price: found DOUBLE, expected DECIMAL\(38,18\)"):
        Store.open(url_of(path))


# Copies


def test_a_backup_of_a_store_at_work_is_whole_and_opens(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.duckdb"
    with Store.open(url_of(path)) as store, ThreadPoolExecutor(1) as elsewhere:
        store.append(GpuSample, samples(500), source="t")
        adding = elsewhere.submit(
            lambda: [store.append(GpuSample, samples(50, f"n{step}"), source="t").rows for step in range(10)]
        )
        store.backup(copy)
        assert sum(adding.result(60)) == 500
        live = store.read(GpuSample)
    with Store.open(url_of(copy)) as store:
        kept = store.read(GpuSample)
        assert store.versions("gpu_sample")["2026-11-20T05"].row_count == kept.height
    assert kept.height >= 500
    assert (kept.height - 500) % 50 == 0
    assert kept.join(live, on=kept.columns, how="anti", nulls_equal=True).is_empty()
    assert not list(tmp_path.glob("*.partial*"))


def test_a_backup_never_overwrites(path: Path, tmp_path: Path) -> None:
    with Store.open(url_of(path)) as store:
        for taken in (path, tmp_path / "taken"):
            taken.touch()
            with pytest.raises(StoreError, match="found a file there, expected a new path"):
                store.backup(taken)
        with pytest.raises(StoreError, match="found no folder"):
            store.backup(tmp_path / "nowhere" / "x")
        assert store.append(GpuSample, samples(1), source="t").rows == 1


def test_a_backup_comes_back_into_a_new_an_old_and_a_running_store(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.duckdb"
    with Store.open(url_of(path)) as store:
        store.append(GpuSample, samples(3), source="t")
        store.append(ExchangeRate, rates("1.000000000000000001"), source="t")
        store.backup(copy)
        store.append(GpuSample, samples(4, "later"), source="t")
        store.load(copy)
        assert store.read(GpuSample).height == 3
        assert store.append(GpuSample, samples(1, "after"), source="t").rows == 1
    Store.restore(url_of(path), copy)
    Store.restore(url_of(tmp_path / "new.duckdb"), copy)
    for each in (path, tmp_path / "new.duckdb"):
        with Store.open(url_of(each)) as store:
            assert store.read(GpuSample).height == 3
            assert [str(value) for value in store.read(ExchangeRate)["unit_price"]] == ["1.000000000000000001"]


def test_an_older_backup_comes_back_and_stays_as_it_is(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "older.duckdb"
    with Store.open(url_of(copy)) as store:
        store.append(GpuSample, samples(3), source="t")
    change(copy, "ALTER TABLE gpu_sample DROP COLUMN power_watts", "DROP TABLE network_hour")
    copy.chmod(0o444)
    before = copy.read_bytes()
    with Store.open(url_of(path)) as store:
        store.load(copy)
        assert store.read(GpuSample)["power_watts"].to_list() == [None] * 3
    assert copy.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["ledger.duckdb", "older.duckdb"]


def test_a_newer_backup_is_refused(path: Path, tmp_path: Path) -> None:
    Store.open(url_of(tmp_path / "newer")).close()
    change(tmp_path / "newer", "UPDATE meta SET schema_version = 99")
    with Store.open(url_of(path)) as store, pytest.raises(StoreError, match="found schema version 99"):
        store.load(tmp_path / "newer")


def rates(price: str) -> pl.DataFrame:
    row = {"rate_date": AT.date(), "from_currency": "EUR", "to_currency": "USD", "unit_price": price}
    return to_frame(ExchangeRate, [row])


def test_what_is_no_backup_changes_nothing(path: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no backup" * 1_000)
    with Store.open(url_of(path)) as store:
        store.append(GpuSample, samples(2), source="t")
        with pytest.raises(StoreError, match="expected a clusterledger store"):
            store.load(tmp_path / "text")
        with pytest.raises(StoreError, match="found no file, expected a backup"):
            store.load(tmp_path / "nowhere")
        assert store.read(GpuSample).height == 2


# Accidents

WRITE_FOREVER = """
import sys
from datetime import UTC, datetime
import polars as pl
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import NetworkHour
store = Store.open(sys.argv[1])
at = datetime(2026, 11, 20, 5, tzinfo=UTC)
round = 0
while True:
    round += 1
    for hour in range(5):
        rows = [
            {"hour_start": at.replace(hour=hour), "cluster": "c", "node": f"n{i}", "device": "d", "port": "1",
             "transmit_bytes": float(round), "reset_count": 0, "observed_seconds": 3600}
            for i in range(200)
        ]
        store.replace(NetworkHour, to_frame(NetworkHour, rows), partitions=[f"2026-11-20T{hour:02}"])
        print(round, hour, flush=True)
"""


@pytest.mark.slow
def test_a_killed_writer_leaves_every_partition_whole(path: Path) -> None:
    command = [sys.executable, "-c", WRITE_FOREVER, url_of(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(12):
            said = process.stdout.readline()
        time.sleep(0.013)
        process.send_signal(signal.SIGKILL)
        said = [said, *process.stdout.readlines()][-1]
    last_round, last_hour = map(int, said.split())
    with Store.open(url_of(path)) as store:
        rows = store.read(NetworkHour)
        versions = store.versions("network_hour")
    by_hour = rows.group_by("hour_start").agg(
        pl.len(), pl.col("transmit_bytes").min().alias("low"), pl.col("transmit_bytes").max().alias("high")
    )
    assert set(by_hour["len"]) == {200}
    assert by_hour["low"].equals(by_hour["high"])
    kept = {at.hour: round_ for at, round_ in by_hour.select("hour_start", "low").iter_rows()}
    assert kept[last_hour] >= last_round  # what was said to be done is there
    assert {key: row.version_count for key, row in versions.items()} == {
        f"2026-11-20T{hour:02}": int(round_) for hour, round_ in kept.items()
    }


FILL_DISK = """
import resource, signal, sys
import polars as pl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from ledger.errors import StoreError
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import GpuSample
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
at = datetime(2026, 11, 20, 5, tzinfo=UTC)
def samples(step, count):
    rows = [
        {"sampled_at": at + timedelta(seconds=i), "cluster": "c", "node": f"n{step}-{i}", "gpu_uuid": f"g{i * 7919}",
         "status": "ok", "power_watts": (i * 31 % 1999) / 7}
        for i in range(count)
    ]
    return to_frame(GpuSample, rows)
store = Store.open(sys.argv[1])
kept = store.append(GpuSample, samples(0, 100), source="t").rows
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, hard))
for step in range(1, 30):
    try:
        kept += store.append(GpuSample, samples(step, 3_000), source="t").rows
    except StoreError as error:
        print("refused", str(error).replace(chr(10), " "))
        break
print("kept", kept, "read", store.read(GpuSample).height)
try:
    store.backup(Path(sys.argv[2]))
except StoreError as error:
    held = error
    print("refused", str(error).replace(chr(10), " "))
assert store._access.renew()
print("kept", kept, "read", store.read(GpuSample).height)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
kept += store.append(GpuSample, samples(99, 10), source="t").rows
print("kept", kept, "read", store.read(GpuSample).height)
store.close()
with Store.open(sys.argv[1]) as store:
    print("kept", kept, "read", store.read(GpuSample).height)
"""


@pytest.mark.slow
def test_a_full_disk_refuses_the_write_and_keeps_the_rest(path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    answer = run_python(FILL_DISK, url_of(path), str(path) + ".copy")
    assert answer.returncode == 0, answer.stderr
    refused, kept_before, not_copied, *states = answer.stdout.splitlines()
    states.append(kept_before)
    assert refused.startswith(f"refused store {url_of(path)}: found no space to write to")
    assert not_copied.startswith(f"refused store backup {path}.copy: found no space to write to")
    assert "hint: free space on the disk" in refused
    for state in states:
        _, kept, _, read = state.split()
        assert kept == read
    assert len(states) == 4


ELSEWHERE = """
import sys, time
from datetime import UTC, date, datetime
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import CoverageDay, GpuSample
time.tzset()
assert time.tzname[0] == "EST", time.tzname
at = datetime(2026, 3, 8, 4, 30, tzinfo=UTC)
with Store.open(sys.argv[1], now=lambda: at) as store:
    row = {"cluster": "c", "node": "n", "gpu_uuid": "g", "status": "ok"}
    store.append(GpuSample, to_frame(GpuSample, [row | {"sampled_at": at}]), source="t")
    frame = store.read(GpuSample, (at, at.replace(minute=31)))
    assert frame["sampled_at"].to_list() == [at] and frame.schema["sampled_at"].time_zone == "UTC"
    assert list(store.versions("gpu_sample")) == ["2026-03-08T04"]
    assert store.versions("gpu_sample")["2026-03-08T04"].changed_at == at
    day = {"day": date(2026, 3, 8), "cluster": "c", "node": "n", "gpu_existed_seconds": 0, "gpu_observed_seconds": 0,
           "gpu_held_known_seconds": 0, "coverage_ratio": 0.0, "allocation_coverage_ratio": 0.0}
    store.replace(CoverageDay, to_frame(CoverageDay, [day]), partitions=["2026-03-08"])
    assert store.read(CoverageDay, (at.replace(hour=0, minute=0), at))["day"].to_list() == [date(2026, 3, 8)]
    shown = store.people_sql("SELECT CAST(sampled_at AS VARCHAR), CAST(sampled_at AS DATE) FROM gpu_sample")
    assert shown.rows() == [("2026-03-08 04:30:00+00", date(2026, 3, 8))], shown
    assert store.select("SELECT count(*) AS n FROM gpu_sample WHERE sampled_at = $at", at=at)["n"].to_list() == [1]
    assert store.expire(GpuSample, at) == 0
print("same")
"""


def test_the_zone_of_the_machine_changes_nothing(path: Path) -> None:
    answer = run_python(ELSEWHERE, url_of(path), TZ="America/New_York")
    assert answer.stdout == "same\n", answer.stderr
