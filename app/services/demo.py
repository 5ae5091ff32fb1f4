"""A simulated cluster with its bills, through the same doors as a real one."""

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import dataframely as dy
import polars as pl
from pydantic import Field

from app.context import Context
from app.services import _demo_feed
from app.services._service import Params, Progress, service
from app.services.ingest import Files, ingest
from app.services.rollup import compute
from collectors import simulate
from ledger.errors import InputError
from ledger.tables import GpuSample, declared
from ledger.tables.partition import Timed, after, floor, partition_key
from queries._settings import check

RAW_DAYS: Final = 2
"""Days of raw samples, as if the retention were that short: before them only what was computed is left."""

_GRACE: Final = timedelta(minutes=10)
"""A stray process is judged by no more than these minutes before an hour."""

_AT_ONCE: Final = 2
"""Chunks that are written while the next one is simulated."""

_Chunk = tuple[type[dy.Schema], pl.DataFrame]

# DuckDB writes whole row groups at once and anything smaller twice: through its log, then into the table.
_ROWS_AT_ONCE: Final = 500_000

# Where the time goes, so that the bar moves evenly.
_SEALED, _SAMPLES, _BILLS, _ROLLUPS = 0.1, 0.4, 0.6, 0.65

_PROOFS: Final = ("node", "gpu_sample", "focus_charge", "job", "gpu_hour")


class Demo(Params):
    """How large the simulated estate is."""

    gpus: Annotated[int, Field(ge=8, le=100_000, description="GPUs")] = 96
    days: Annotated[int, Field(ge=1, le=366, description="Days, up to now")] = 30
    seed: Annotated[int, Field(ge=0, description="Seed: the same one gives the same cluster")] = 1
    only_if_empty: Annotated[bool, Field(description="Leave a store alone that holds something")] = False


@service()
def demo(context: Context, params: Demo, progress: Progress) -> dict[str, object]:
    """Fill an empty store and return what was written.

    Older days are written as what retention leaves of them, sealed; the last two have their raw samples.
    """
    if not is_empty(context):
        if params.only_if_empty:
            return {"rows": 0}
        raise InputError(
            f"{context.settings.store.url}: found data, expected an empty store",
            hint="choose another with --store duckdb:demo.duckdb",
        )
    # Known only where the rollups begin, after everything was written.
    check(context.settings)
    with context.work:
        cluster = simulate.plan(params.gpus, params.days, params.seed, context.now())
        start, end = (datetime.fromtimestamp(each, tz=UTC) for each in (cluster.start, cluster.end))
        raw = max(floor(end, "day") - timedelta(days=RAW_DAYS - 1), start)
        rows = sum(_append(context, chunk) for chunk in simulate.holdings(cluster))
        progress("simulating older days", _SEALED)
        rows += _sealed(context, simulate.sealed(cluster, (start, raw)))
        rows += _before(context, cluster, raw)
        rows += _samples(context, cluster, (raw, end + _demo_feed.INSTANT), progress)
        progress("importing bills", _BILLS)
        charges = _bills(context, cluster)

        def rolled(phrase: str, share: float) -> None:
            progress(f"computing {phrase}", _ROLLUPS + (1 - _ROLLUPS) * share)

        ran = compute(context, rolled)
        made = _demo_feed.Demo(params.gpus, params.days, params.seed, end.isoformat(), end.isoformat())
        _demo_feed.remember(context, made, simulate.truth(cluster))
    context.changed()
    return {"rows": rows, "charges": charges, "rollup_rows": sum(each.rows for each in ran), "gpus": params.gpus}


def is_empty(context: Context) -> bool:
    """Tell whether nothing was collected or imported yet."""
    return not any(context.store.versions(name) for name in _PROOFS)


def _append(context: Context, chunk: _Chunk) -> int:
    schema, frame = chunk
    return context.store.append(schema, frame, source="demo").rows


def _written(write: Callable[[Context, _Chunk], int], context: Context, chunks: Iterable[_Chunk]) -> Iterator[int]:
    """Write chunks while the next ones are simulated, and yield their rows in order."""
    waiting: deque[Future[int]] = deque()
    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="demo") as pool:
        for chunk in chunks:
            waiting.append(pool.submit(write, context, chunk))
            if len(waiting) > _AT_ONCE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _before(context: Context, cluster: simulate.Cluster, raw: datetime) -> int:
    """Append the devices' last samples of the sealed days: how old a stray process is does not begin anew."""
    chunks = simulate.samples(cluster, (raw - _GRACE, raw))
    return sum(_append(context, (schema, frame)) for schema, frame in chunks if schema is GpuSample)


def _samples(context: Context, cluster: simulate.Cluster, window: tuple[datetime, datetime], progress: Progress) -> int:
    """Append raw samples as they come; an agent's rows take the same way."""
    length = (window[1] - window[0]).total_seconds()

    def told() -> Iterator[_Chunk]:
        for schema, frame in simulate.samples(cluster, window):
            newest = frame["sampled_at"].max() if "sampled_at" in frame.columns else None
            if isinstance(newest, datetime):
                done = (newest - window[0]).total_seconds() / length
                progress("simulating samples", _SAMPLES + (_BILLS - _SAMPLES) * min(done, 1.0))
            yield schema, frame

    return sum(_written(_append, context, told()))


def _sealed(context: Context, chunks: Iterator[_Chunk]) -> int:
    """Write what retention leaves of older days, and close it for good."""
    return sum(_written(_write_sealed, context, _gathered(chunks)))


def _gathered(chunks: Iterator[_Chunk]) -> Iterator[_Chunk]:
    """Put chunks of a table together until they are worth a commit."""
    held: dict[type[dy.Schema], list[pl.DataFrame]] = {}
    for schema, frame in chunks:
        waiting = held.setdefault(schema, [])
        waiting.append(frame)
        if sum(each.height for each in waiting) >= _ROWS_AT_ONCE:
            yield schema, pl.concat(held.pop(schema))
    yield from ((schema, pl.concat(frames)) for schema, frames in held.items())


def _write_sealed(context: Context, chunk: _Chunk) -> int:
    schema, frame = chunk
    keys = _keys(schema, frame)
    context.store.replace(schema, frame, partitions=keys)
    context.store.seal(declared(schema).name, keys)
    return frame.height


def _keys(schema: type[dy.Schema], frame: pl.DataFrame) -> Sequence[str]:
    """Return the keys of a frame's partitions, and of those between its first and its last."""
    partition = declared(schema).partition
    if not isinstance(partition, Timed):
        raise InputError(f"{declared(schema).name}: found no partitions in time, expected some")
    edges = frame[partition.column].cast(pl.Datetime("us"), strict=True).dt.replace_time_zone("UTC")
    first, last = edges.min(), edges.max()
    if not (isinstance(first, datetime) and isinstance(last, datetime)):
        return []
    keys = []
    at = floor(first, partition.every)
    while at <= last:
        keys.append(partition_key(at, partition.every))
        at = after(at, partition.every)
    return keys


def _bills(context: Context, cluster: simulate.Cluster) -> int:
    """Write the bills that such an estate gets into a folder, and import them as a person would."""
    with tempfile.TemporaryDirectory(prefix="clusterledger-demo-") as folder:
        paths = simulate.bills(cluster, Path(folder))
        names = tuple(f"demo/{each.name}" for each in paths)
        found = ingest.run(context, Files(paths=tuple(map(str, paths)), names=names))
    files = found["files"] if isinstance(found, dict) else []
    for each in files:
        if "error" in each:
            raise InputError(each["error"], hint=each["hint"])
    return sum(int(each["rows"]) for each in files)
