"""A demo that stays alive: its agents go on sending while the hub runs, and its true answers lie beside the store."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final

from app.context import Context
from app.services._hub_file import hub_file
from app.services._plain import dumps
from collectors import simulate
from ledger.tables import Gpu, Job, JobGpu, Node, declared

# What one turn catches up: more would keep rollups and pages waiting.
_MOST_AT_ONCE: Final = timedelta(hours=6)

INSTANT: Final = timedelta(seconds=1)
"""A window is half-open, and the sample at its end says that the last step was seen."""

# What changes while nothing new is submitted: jobs end.
_OPEN: Final = frozenset({Job, JobGpu, Node, Gpu})


@dataclass(frozen=True)
class Demo:
    """From what a demo was made; `fed_until` is the last simulated instant."""

    gpus: int
    days: int
    seed: int
    end: str
    fed_until: str


def remember(context: Context, demo: Demo, truth: simulate.Truth | None = None) -> None:
    """Write what the demo was made from beside the store, and its true answers when they are given."""
    path = _path(context)
    if path is None:
        return
    path.write_text(json.dumps(asdict(demo), indent=1), encoding="utf-8")
    if truth is not None:
        path.with_name(path.name.replace(".demo.json", ".truth.json")).write_text(
            dumps(asdict(truth)), encoding="utf-8"
        )


def remembered(context: Context) -> Demo | None:
    """Return what the store's demo was made from; None where it holds no demo, or nothing says from what."""
    path = _path(context)
    if path is None or not path.is_file():
        return None
    try:
        return Demo(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return None


def feed(context: Context) -> int:
    """Append what the simulated agents have sampled since the last time, and return how many rows these are.

    Running jobs go on or end as planned and nothing new is submitted: a demo is for a look, not for a year.
    """
    demo = remembered(context)
    if demo is None:
        return 0
    last, now = datetime.fromisoformat(demo.fed_until), context.now()
    until = min(now, last + _MOST_AT_ONCE).replace(microsecond=0)
    if until <= last:
        return 0
    planned = _planned(demo.gpus, demo.days, demo.seed, demo.end)
    cluster = replace(planned, end=int(until.timestamp()))
    rows = 0
    changed = {"rejected_row"}
    with context.work:
        for schema, frame in simulate.holdings(cluster):
            if schema in _OPEN:
                rows += context.store.append(schema, frame, source="demo").rows
                changed.add(declared(schema).name)
        # What was sampled at the last instant itself is there already.
        for schema, frame in simulate.samples(cluster, (last + INSTANT, until + INSTANT)):
            rows += context.store.append(schema, frame, source="demo").rows
            changed.add(declared(schema).name)
        remember(context, replace(demo, fed_until=until.isoformat()))
    context.changed(changed)
    return rows


@lru_cache(maxsize=1)
def _planned(gpus: int, days: int, seed: int, end: str) -> simulate.Cluster:
    return simulate.plan(gpus, days, seed, datetime.fromisoformat(end).astimezone(UTC))


def _path(context: Context) -> Path | None:
    beside = hub_file(context.settings.store.url)
    return None if beside is None else beside.with_name(beside.name.replace(".hub.json", ".demo.json"))
