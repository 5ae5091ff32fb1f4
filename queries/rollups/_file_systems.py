"""What each network file system did between two rounds, by operation: NFS, Lustre and GPFS in one shape."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import polars as pl

from queries.counters import delta_name, deltas

LOOKBACK: Final = timedelta(minutes=15)
"""How far back the sample before the first of an hour may lie: three steps of a slow collector."""

SAMPLED: Final = ("sampled_at", "cluster", "node", "boot_id", "step_seconds")

MOUNT: Final = ("filesystem_type", "file_system", "mount_point")

NFS_COUNTERS: Final = {
    "operation_count_total": "count",
    "sent_bytes_total": "sent",
    "received_bytes_total": "received",
    "execute_seconds_total": "seconds",
    "queue_seconds_total": "queue",
    "error_count_total": "errors",
    "retransmission_count_total": "again",
    "timeout_count_total": "timeouts",
}
LUSTRE_COUNTERS: Final = {
    "operation_count_total": "count",
    "bytes_total": "bytes",
    "operation_seconds_total": "seconds",
}
GPFS_COUNTERS: Final = {
    "read_bytes_total": "read_bytes",
    "written_bytes_total": "write_bytes",
    "read_count_total": "read",
    "write_count_total": "write",
    "open_count_total": "open",
    "close_count_total": "close",
    "directory_read_count_total": "directory read",
    "inode_update_count_total": "inode update",
}

STEP: Final = {
    **dict.fromkeys((*MOUNT, "kind", "operation"), pl.String()),
    **dict.fromkeys(("count", "bytes", "seconds", "queue", "errors", "again", "timeouts"), pl.Float64()),
    "elapsed_ms": pl.Int64(),
}
"""What a step of one operation tells besides its node and time; null is not measured."""

# What the client does by itself: it asks no server.
_LOCAL: Final = ("ioctl", "mmap", "page_fault", "page_mkwrite", "seek", "inode_permission")


def nfs(samples: pl.LazyFrame) -> pl.LazyFrame:
    """Return the steps of NFS operations; the time since the mount tells that one was mounted anew."""
    rows = _grown(
        samples, ("mount_point", "operation"), NFS_COUNTERS, pl.col("mounted_seconds") >= _before("mounted_seconds")
    )
    is_read, is_write = pl.col("operation") == "READ", pl.col("operation") == "WRITE"
    return _shaped(
        rows.with_columns(
            pl.lit("nfs").alias("filesystem_type"),
            pl.col("device").fill_null("").alias("file_system"),
            pl.when(is_read)
            .then(pl.lit("read"))
            .when(is_write)
            .then(pl.lit("write"))
            .otherwise(pl.lit("metadata"))
            .alias("kind"),
            pl.when(is_read).then("received").when(is_write).then("sent").alias("bytes"),
        )
    )


def lustre(samples: pl.LazyFrame) -> pl.LazyFrame:
    """Return the steps of operations of Lustre's mounts; what passes the targets behind them is the same again.

    Bytes and times stand in lines of their own: both count requests, and those with bytes are the older ones.
    """
    mounts = samples.filter((pl.col("component") == "llite") & ~pl.col("operation").is_in(list(_LOCAL)))
    same = pl.col("counters_start").eq_missing(_before("counters_start"))
    rows = _grown(mounts, ("target", "instance", "operation"), LUSTRE_COUNTERS, same)
    word = pl.col("operation").str.strip_suffix("_bytes")
    is_data, is_timed = word.is_in(["read", "write"]), pl.col("operation").is_in(["read", "write"])
    return _shaped(
        rows.with_columns(
            pl.lit("lustre").alias("filesystem_type"),
            pl.col("target").alias("file_system"),
            pl.lit("").alias("mount_point"),
            pl.when(is_data).then(word).otherwise(pl.lit("metadata")).alias("kind"),
            # Both lines of a read count it: what is timed gives its time alone.
            pl.when(~is_timed).then("count").alias("count"),
        )
    )


def gpfs(samples: pl.LazyFrame) -> pl.LazyFrame:
    """Return the steps of GPFS, which counts calls and bytes and times nothing."""
    rows = _grown(samples, ("file_system", "gpfs_cluster"), GPFS_COUNTERS, pl.lit(value=True))
    parts = []
    for name in GPFS_COUNTERS.values():
        if name.endswith("_bytes"):
            continue
        kind = name if name in {"read", "write"} else "metadata"
        moved = pl.col(f"{name}_bytes") if kind == name else pl.lit(None, pl.Float64)
        parts.append(
            rows.with_columns(
                pl.lit("gpfs").alias("filesystem_type"),
                pl.lit("").alias("mount_point"),
                pl.lit(kind).alias("kind"),
                pl.lit(name).alias("operation"),
                pl.col(name).alias("count"),
                moved.alias("bytes"),
            )
        )
    return pl.concat([_shaped(each) for each in parts])


def _before(column: str) -> pl.Expr:
    return pl.col(column).shift(1)


def _grown(samples: pl.LazyFrame, by: tuple[str, ...], counters: Mapping[str, str], is_same: pl.Expr) -> pl.LazyFrame:
    """Return what counters grew by in steps that are no gaps, under short names; nothing of what began anew."""
    grown = deltas(samples, list(counters), by=("cluster", "node", *by))
    is_step = (pl.col("elapsed_ms") <= LOOKBACK // timedelta(milliseconds=1)) & ~pl.col("is_gap").fill_null(value=True)
    # Rows lie in order of device and time here: the row before is the sample before.
    return (
        grown.with_columns(is_same.fill_null(value=True).alias("is_same"))
        .filter(is_step)
        .with_columns(pl.when("is_same").then(delta_name(name)).alias(short) for name, short in counters.items())
    )


def _shaped(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return rows with the columns of a step; what a file system does not tell is null."""
    there = rows.collect_schema().names()
    return rows.select(
        "sampled_at",
        "cluster",
        "node",
        *((pl.col(name) if name in there else pl.lit(None)).cast(kind).alias(name) for name, kind in STEP.items()),
    )
