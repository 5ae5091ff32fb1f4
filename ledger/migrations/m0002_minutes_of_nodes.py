"""A minute's states are those of `gpu_state_interval`, and its node's evidence is kept once per node."""

from typing import Final

import duckdb

_KEPT: Final = {
    "kernel_active_ratio": "DOUBLE",
    "graphics_active_ratio": "DOUBLE",
    "sm_active_ratio": "DOUBLE",
    "sm_occupancy_ratio": "DOUBLE",
    "tensor_active_ratio": "DOUBLE",
    "dram_active_ratio": "DOUBLE",
    "memory_used_bytes": "DOUBLE",
    "power_watts": "DOUBLE",
    "energy_joules": "DOUBLE",
    "minute_start": "TIMESTAMP WITH TIME ZONE NOT NULL",
    "cluster": "VARCHAR NOT NULL",
    "node": "VARCHAR NOT NULL",
    "gpu_uuid": "VARCHAR NOT NULL",
    "observed_seconds": "DECIMAL(18,3) NOT NULL",
    "power_limit_watts": "DOUBLE",
    "power_capped_seconds": "DECIMAL(18,3)",
    "sm_clock_ratio": "DOUBLE",
    "pcie_bytes_per_second": "DOUBLE",
    "nvlink_bytes_per_second": "DOUBLE",
}

_OF_NODE: Final = {
    "node_cpu_active_ratio": "DOUBLE",
    "node_cpu_iowait_ratio": "DOUBLE",
    "node_cpu_pressure_ratio": "DOUBLE",
    "node_io_pressure_ratio": "DOUBLE",
    "node_memory_pressure_ratio": "DOUBLE",
    "node_network_active_ratio": "DOUBLE",
    "node_network_wait_count": "BIGINT",
}


def migrate(cursor: duckdb.DuckDBPyConnection, prefix: str) -> None:
    """Give each node's evidence its own table, and leave in `gpu_minute` what the device did while it was observed."""
    key = "minute_start, cluster, node"
    evidence = ", ".join(_OF_NODE)
    cursor.execute(
        f"CREATE TABLE {prefix}node_minute (minute_start TIMESTAMP WITH TIME ZONE NOT NULL, cluster VARCHAR NOT NULL, "
        f"node VARCHAR NOT NULL, {', '.join(f'{name} {kind}' for name, kind in _OF_NODE.items())})"
    )
    # Each device of a node has the same evidence beside its minute.
    cursor.execute(
        f"INSERT INTO {prefix}node_minute SELECT {key}, {', '.join(f'max({name})' for name in _OF_NODE)} "
        f"FROM {prefix}gpu_minute WHERE coalesce({evidence}) IS NOT NULL GROUP BY {key} ORDER BY cluster, node, 1"
    )
    names = ", ".join(_KEPT)
    cursor.execute(
        f"CREATE TABLE {prefix}gpu_minute_kept ({', '.join(f'{name} {kind}' for name, kind in _KEPT.items())})"
    )
    cursor.execute(
        f"INSERT INTO {prefix}gpu_minute_kept SELECT {names} FROM {prefix}gpu_minute WHERE observed_seconds > 0"
    )
    cursor.execute(f"DROP TABLE {prefix}gpu_minute")
    cursor.execute(f"ALTER TABLE {prefix}gpu_minute_kept RENAME TO gpu_minute")
    cursor.execute(
        f"INSERT INTO {prefix}partition_state SELECT * REPLACE ('node_minute' AS table_name, NULL AS row_count) "
        f"FROM {prefix}partition_state WHERE table_name = 'gpu_minute'"
    )
    for name in ("gpu_minute", "node_minute"):
        _count(cursor, prefix, name)


def _count(cursor: duckdb.DuckDBPyConnection, prefix: str, name: str) -> None:
    """Note how many rows are left in each hour."""
    cursor.execute(f"UPDATE {prefix}partition_state SET row_count = 0 WHERE table_name = '{name}'")
    cursor.execute(
        f"UPDATE {prefix}partition_state AS s SET row_count = i.row_count FROM (SELECT "
        "strftime(date_trunc('hour', minute_start), '%Y-%m-%dT%H') AS partition_key, count(*) AS row_count "
        f"FROM {prefix}{name} GROUP BY date_trunc('hour', minute_start)) AS i "
        f"WHERE s.table_name = '{name}' AND s.partition_key = i.partition_key"
    )
