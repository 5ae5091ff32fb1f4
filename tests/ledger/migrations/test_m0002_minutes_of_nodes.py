"""A store of version 1 with minutes of devices: opened, its evidence of nodes is apart and nothing else is lost."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ledger.errors import SealedError
from ledger.frames import to_frame
from ledger.names import STATES
from ledger.store import Store
from ledger.tables import GpuMinute, NodeMinute, declared

OLD = f"""
CREATE TABLE gpu_minute (
    {", ".join(f"{state}_seconds DECIMAL(18,3) NOT NULL" for state in STATES)},
    kernel_active_ratio DOUBLE, graphics_active_ratio DOUBLE, sm_active_ratio DOUBLE, sm_occupancy_ratio DOUBLE,
    tensor_active_ratio DOUBLE, dram_active_ratio DOUBLE, memory_used_bytes DOUBLE, power_watts DOUBLE,
    energy_joules DOUBLE, minute_start TIMESTAMP WITH TIME ZONE NOT NULL, cluster VARCHAR NOT NULL,
    node VARCHAR NOT NULL, gpu_uuid VARCHAR NOT NULL, existed_seconds DECIMAL(18,3) NOT NULL,
    observed_seconds DECIMAL(18,3) NOT NULL, job_id VARCHAR NOT NULL, restart_count BIGINT NOT NULL,
    submitted_at TIMESTAMP WITH TIME ZONE, holder_count BIGINT, evidence_quality VARCHAR, power_limit_watts DOUBLE,
    power_capped_seconds DECIMAL(18,3), sm_clock_ratio DOUBLE, pcie_bytes_per_second DOUBLE,
    nvlink_bytes_per_second DOUBLE, node_cpu_active_ratio DOUBLE, node_cpu_iowait_ratio DOUBLE,
    node_cpu_pressure_ratio DOUBLE, node_io_pressure_ratio DOUBLE, node_memory_pressure_ratio DOUBLE,
    node_network_active_ratio DOUBLE, node_network_wait_count BIGINT, node_job_count BIGINT
)
"""

STARVED = {
    "node_cpu_active_ratio": 0.25, "node_cpu_iowait_ratio": 0.5, "node_io_pressure_ratio": 0.75,
    "node_network_wait_count": 14, "node_job_count": 2,
}  # fmt: skip
BUSY = {
    "graphics_active_ratio": 0.875, "power_watts": 512.5, "energy_joules": 30_750.0, "power_limit_watts": 700.0,
    "power_capped_seconds": "1.001", "memory_used_bytes": 2.0**33, "sm_clock_ratio": 0.5,
    "pcie_bytes_per_second": 5e9, "nvlink_bytes_per_second": 1e11,
}  # fmt: skip


def at(hour: int, minute: int) -> datetime:
    return datetime(2026, 11, 20, hour, minute, tzinfo=UTC)


def row(
    hour: int, minute: int, gpu: str, observed: str = "60.000", cluster: str = "c", **values: Any
) -> dict[str, Any]:
    """Return a row as version 1 wrote it: a device without a holder that idles."""
    fixed = {"existed_seconds": "60", "job_id": "", "restart_count": 0, "observed_seconds": observed}
    states = {f"{state}_seconds": "60" if state == "unallocated" else "0" for state in STATES}
    key = {"minute_start": at(hour, minute), "cluster": cluster, "node": "n", "gpu_uuid": gpu}
    return {**states, **fixed, **key, **values}


ROWS = [
    row(5, 0, "g1", **BUSY, **STARVED),
    row(5, 0, "g2", **STARVED),
    row(5, 0, "g1", cluster="d", **{**STARVED, "node_cpu_active_ratio": 0.125}),
    row(5, 1, "g1", observed="59.999", node_network_wait_count=0),
    # Its devices said nothing, and its agent did.
    row(5, 2, "g1", observed="0", **STARVED),
    # Jobs on a node are counted from holdings: no evidence.
    row(5, 3, "g1", observed="0", node_job_count=1),
    row(6, 30, "g1", **BUSY),
    row(7, 0, "g1", observed="0"),
]

PARTITIONS = {"2026-11-20T05": (3, True, 6), "2026-11-20T06": (2, False, 1), "2026-11-20T07": (1, True, 1)}
"""By key: version, whether it is sealed, and how many rows it has."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a store as version 1 left it."""
    found = tmp_path / "ledger.duckdb"
    Store.open(f"duckdb:{found}").close()
    with duckdb.connect(str(found)) as connection:
        connection.execute("SET TimeZone = 'America/New_York'")
        for statement in ("DROP TABLE gpu_minute", "DROP TABLE node_minute", OLD):
            connection.execute(statement)
        for each in ROWS:
            marks = ", ".join("?" for _ in each)
            connection.execute(f"INSERT INTO gpu_minute ({', '.join(each)}) VALUES ({marks})", list(each.values()))
        for key, (version, is_sealed, count) in PARTITIONS.items():
            connection.execute(
                "INSERT INTO partition_state (table_name, partition_key, version_count, content_fingerprint, "
                "input_version, code_version, settings_fingerprint, is_sealed, row_count, changed_at) "
                "VALUES ('gpu_minute', ?, ?, 'f', 'i', 'c', 's', ?, ?, ?)",
                [key, version, is_sealed, count, at(12, 0)],
            )
        connection.execute("UPDATE meta SET schema_version = 1")
    return found


def test_a_device_keeps_its_observed_minutes_and_a_node_has_its_evidence_once(path: Path) -> None:
    with Store.open(f"duckdb:{path}") as store:
        minutes, nodes = store.read(GpuMinute), store.read(NodeMinute)
    GpuMinute.validate(minutes, cast=False)
    NodeMinute.validate(nodes, cast=False)
    keys = minutes.select("cluster", "gpu_uuid", "minute_start", "observed_seconds").rows()
    assert keys == [
        ("c", "g1", at(5, 0), Decimal(60)), ("c", "g1", at(5, 1), Decimal("59.999")),
        ("c", "g1", at(6, 30), Decimal(60)), ("c", "g2", at(5, 0), Decimal(60)), ("d", "g1", at(5, 0), Decimal(60)),
    ]  # fmt: skip
    first = minutes.row(0, named=True)
    assert {name: first[name] for name in BUSY} == {**BUSY, "power_capped_seconds": Decimal("1.001")}
    assert first["kernel_active_ratio"] is None
    assert nodes.select("cluster", "node", "minute_start").rows() == [
        ("c", "n", at(5, 0)), ("c", "n", at(5, 1)), ("c", "n", at(5, 2)), ("d", "n", at(5, 0)),
    ]  # fmt: skip
    evidence = {name: value for name, value in STARVED.items() if name != "node_job_count"}
    for place in (0, 2):
        told = nodes.row(place, named=True)
        assert {name: told[name] for name in evidence} == evidence
        assert told["node_cpu_pressure_ratio"] is None, "null is not zero"
    assert nodes["node_cpu_active_ratio"].to_list() == [0.25, None, 0.25, 0.125]
    assert nodes["node_network_wait_count"].to_list() == [14, 0, 14, 14]


def test_partitions_stay_sealed_and_count_their_rows(path: Path) -> None:
    with Store.open(f"duckdb:{path}") as store:
        for name, counts in (("gpu_minute", [4, 1, 0]), ("node_minute", [4, 0, 0])):
            states = store.versions(name)
            assert {key: (each.version_count, each.is_sealed) for key, each in states.items()} == {
                key: each[:2] for key, each in PARTITIONS.items()
            }
            assert [states[key].row_count for key in PARTITIONS] == counts
            assert {each.changed_at for each in states.values()} == {at(12, 0)}


def test_what_is_open_can_be_written_and_what_is_sealed_cannot(path: Path) -> None:
    def minute(hour: int) -> dict[str, Any]:
        return {"minute_start": at(hour, 9), "cluster": "c", "node": "n", "gpu_uuid": "g9", "observed_seconds": "60"}

    with Store.open(f"duckdb:{path}") as store:
        for schema in (GpuMinute, NodeMinute):
            names = schema.column_names()

            def rows(hour: int, names: list[str] = names, schema: Any = schema) -> Any:
                return to_frame(schema, [{name: value for name, value in minute(hour).items() if name in names}])

            for sealed in (5, 7):
                with pytest.raises(SealedError, match=f"2026-11-20T0{sealed}"):
                    store.replace(schema, rows(sealed), partitions=[f"2026-11-20T0{sealed}"])
            for hour in (6, 8):
                store.replace(schema, rows(hour), partitions=[f"2026-11-20T0{hour}"])
            kept = store.read(schema, (at(6, 0), at(9, 0)))
            assert kept["minute_start"].to_list() == [at(6, 9), at(8, 9)]
            assert store.versions(declared(schema).name)["2026-11-20T06"].row_count == 1


def test_a_copy_of_the_old_store_is_kept_and_it_is_changed_once(path: Path) -> None:
    before = path.read_bytes()
    copy = path.with_name(f"{path.name}.v1.bak")
    with Store.open(f"duckdb:{path}") as store:
        migrated = store.read(GpuMinute), store.read(NodeMinute)
    assert copy.read_bytes() == before
    with duckdb.connect(str(copy), read_only=True) as connection:
        assert connection.execute("SELECT count(*), count(node_job_count) FROM gpu_minute").fetchall() == [
            (len(ROWS), 5)
        ]
        assert connection.execute("SELECT schema_version FROM meta").fetchall() == [(1,)]
    copy.unlink()
    with Store.open(f"duckdb:{path}") as store:
        assert store.read(GpuMinute).equals(migrated[0])
        assert store.read(NodeMinute).equals(migrated[1])
    assert not copy.exists()


def test_a_backup_of_version_1_comes_back_into_a_store_of_this_version(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    with Store.open(f"duckdb:{tmp_path / 'other.duckdb'}") as store:
        store.load(path)
        assert store.read(GpuMinute).height == 5
        assert store.read(NodeMinute).height == 4
        assert store.versions("node_minute")["2026-11-20T05"].is_sealed
    assert path.read_bytes() == before
