"""What each node asked of network file systems in each hour, and how long that took."""

from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import to_seconds, total
from ledger.tables import GpfsSample, LustreOperationSample, NfsOperationSample, StorageHour
from queries.graph import Input, Span, rollup
from queries.rollups._file_systems import (
    GPFS_COUNTERS,
    LOOKBACK,
    LUSTRE_COUNTERS,
    MOUNT,
    NFS_COUNTERS,
    SAMPLED,
    gpfs,
    lustre,
    nfs,
)

_KEY: Final = ("hour_start", "cluster", "node", *MOUNT)

_KINDS: Final = ("read", "write", "metadata")
_COUNTS: Final = {"error_count": "errors", "retransmission_count": "again", "timeout_count": "timeouts"}


@rollup()
def storage_hour(
    exports: Annotated[
        dy.LazyFrame[NfsOperationSample],
        Input(
            before=LOOKBACK,
            columns=(*SAMPLED, "mount_point", "operation", "device", "mounted_seconds", *NFS_COUNTERS),
            apart=True,
        ),
    ],
    clients: Annotated[
        dy.LazyFrame[LustreOperationSample],
        Input(
            before=LOOKBACK,
            columns=(*SAMPLED, "component", "target", "instance", "operation", "counters_start", *LUSTRE_COUNTERS),
            where={"component": ("llite",)},
            apart=True,
        ),
    ],
    systems: Annotated[
        dy.LazyFrame[GpfsSample],
        Input(before=LOOKBACK, columns=(*SAMPLED, "file_system", "gpfs_cluster", *GPFS_COUNTERS), apart=True),
    ],
    span: Span,
) -> dy.LazyFrame[StorageHour]:
    """Sum the operations of the steps that end in the hour.

    A remount, a cleared counter, a reboot and a gap add nothing. Of an operation that happens for the first time the
    step before is not known. Lustre's bytes are those of its mounts: the targets behind them count them again.

    Nulls: what the file system does not count: times of GPFS, errors of Lustre, retransmissions but of NFS.
    """
    steps = pl.concat([nfs(exports), lustre(clients), gpfs(systems)]).filter(
        pl.col("sampled_at").is_between(span.start, span.end, closed="left")
    )
    hours = steps.with_columns(pl.col("sampled_at").dt.truncate("1h").alias("hour_start"))
    operations = hours.group_by(*_KEY, "kind", "operation").agg(
        *(total(name).alias(name) for name in ("count", "bytes", "seconds", "queue", *_COUNTS.values())),
        pl.col("elapsed_ms").sum(),
    )
    mounts = (
        operations.sort(*_KEY, "operation")
        .group_by(_KEY, maintain_order=True)
        .agg(
            *(_of(kind, "count").round(0).cast(pl.Int64).alias(f"{kind}_count") for kind in _KINDS),
            *(_of(kind, "seconds").alias(f"{kind}_operation_seconds") for kind in _KINDS),
            _of("read", "bytes").alias("read_bytes"),
            _of("write", "bytes").alias("written_bytes"),
            total("queue").alias("queue_seconds"),
            *(total(short).round(0).cast(pl.Int64).alias(name) for name, short in _COUNTS.items()),
            pl.col("operation")
            .sort_by("seconds", descending=True, nulls_last=True, maintain_order=True)
            .first()
            .alias("most"),
            pl.col("seconds").max().alias("longest"),
            # An operation that began later than the others was watched for less.
            to_seconds(pl.col("elapsed_ms").max()).alias("observed_seconds"),
        )
    )
    named = mounts.with_columns(pl.when(pl.col("longest") > 0).then("most").alias("longest_operation"))
    return StorageHour.cast(named.sort(_KEY).select(StorageHour.column_names()))


def _of(kind: str, column: str) -> pl.Expr:
    """Return a sum over the operations of one kind, null where none of them is measured."""
    return total(pl.when(pl.col("kind") == kind).then(column))
