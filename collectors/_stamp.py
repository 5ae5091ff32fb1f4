"""What every row of a node carries besides its values: cluster, node, boot, instant and pace."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, Protocol

from collectors._instants import Instants, whole_milliseconds
from collectors._round import RUN_TABLE, Result, Run, Tables
from collectors._runs import Runs
from collectors.node._files import text
from collectors.wire import plain
from ledger.registry import Row

# Rows with instants of their own; all others are samples.
_EVENTS: Final = frozenset({"gpu_event", "node_event"})
_INVENTORY: Final = {"gpu": "gpu_uuid", "node": "node"}

_INSTANTS: Final = ("exists_start", "exists_end")

# Measured once, when nothing ran; a later start of the agent must not move the past.
_KEPT: Final = ("memory_baseline_bytes", "idle_power_watts")


class Memory(Protocol):
    """What outlives the agent's process: texts by key."""

    def recall(self, key: str) -> str | None:
        """Return a text, or None."""

    def remember(self, key: str, value: str | None) -> None:
        """Keep a text; None forgets it."""

    def recollect(self, prefix: str) -> list[str]:
        """Return the texts whose keys begin so."""


class Forgetful:
    """A memory that ends with the process."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def recall(self, key: str) -> str | None:
        """Return a text, or None."""
        return self._texts.get(key)

    def remember(self, key: str, value: str | None) -> None:
        """Keep a text; None forgets it."""
        if value is None:
            self._texts.pop(key, None)
        else:
            self._texts[key] = value

    def recollect(self, prefix: str) -> list[str]:
        """Return the texts whose keys begin so."""
        return [value for key, value in self._texts.items() if key.startswith(prefix)]


@dataclass(frozen=True)
class Identity:
    """Which node this is, since its last boot."""

    cluster: str
    node: str
    boot_id: str


def boot_id(procfs: Path) -> str:
    """Return the kernel's id of this boot; '' where it has none."""
    return text(procfs / "sys/kernel/random/boot_id") or ""


def stamped(
    results: Iterable[Result],
    identity: Identity,
    memory: Memory,
    instants: Instants | None = None,
    runs: Runs | None = None,
) -> Tables:
    """Return the rows of a round by table, complete; each collector's run is a row as well.

    Rows that are sent need `instants`; without them an instant is what the clock shows. With `runs`, rounds that go
    alike are a row together.
    """
    tables: Tables = {}
    for result in results:
        started_at = result.started_at
        instant = instants.of(result.run.collector, started_at) if instants else whole_milliseconds(started_at)
        sample = {
            "cluster": identity.cluster,
            "node": identity.node,
            "boot_id": identity.boot_id,
            "sampled_at": instant,
            "step_seconds": result.step_seconds,
        }
        place = {"cluster": identity.cluster, "node": identity.node}
        for table, row in result.rows:
            if table in _INVENTORY:
                tables.setdefault(table, []).extend(_before(table, {**place, **row}, memory))
                complete: Row = existing(table, {**place, **row}, memory)
            elif table in _EVENTS:
                complete = {**place, **row}
            else:
                complete = {**sample, **row}
            tables.setdefault(table, []).append(complete)
        row = sample | _outcome(result.run)
        told = runs.add(row) if runs else [row]
        if told:
            tables.setdefault(RUN_TABLE, []).extend(told)
    if "gpu" in tables:
        tables["gpu"] += _superseded(tables["gpu"], identity, memory)
    return tables


def _outcome(run: Run) -> dict[str, object]:
    """Return how one round went, as its row tells."""
    return {
        "collector": run.collector,
        "is_ok": run.ok,
        "row_count": run.rows,
        "duration_seconds": run.duration_seconds,
        "error": run.error,
        "round_count": 1,
        "longest_round_seconds": run.duration_seconds,
    }


def _superseded(here: Iterable[Row], identity: Identity, memory: Memory) -> list[Row]:
    """Return what ended while nobody looked: a device that is cut now, a slice that is not there any more."""
    whole = {row["gpu_uuid"] for row in here if not row["parent_gpu_uuid"]}
    cut = {row["parent_gpu_uuid"] for row in here if row["parent_gpu_uuid"]}
    present = {row["gpu_uuid"] for row in here}
    ended = []
    for remembered in memory.recollect(f"gpu {identity.cluster} {identity.node} "):
        before = json.loads(remembered)
        parent = before["parent_gpu_uuid"]
        is_over = before["gpu_uuid"] in cut or parent in cut or parent in whole
        if before["gpu_uuid"] not in present and is_over:
            closed = {**before, "exists_end": max(_instant(row["exists_start"]) for row in here)}
            ended.append(existing("gpu", closed, memory))
    return ended


def _before(table: str, row: Row, memory: Memory) -> list[Row]:
    """Return what ends where a slice, or the rest, goes on as another part of its device: its past stays as it was."""
    before = json.loads(memory.recall(_key(table, row)) or "{}")
    was, is_now = before.get("gpu_fraction"), row.get("gpu_fraction")
    start = _instant(row["exists_start"])
    if was is None or is_now is None or Decimal(str(was)) == Decimal(str(is_now)) or row.get("exists_end") is not None:
        return []
    closed = existing(table, {**before, "exists_end": start}, memory)
    return [closed] if _instant(closed["exists_start"]) < start else []


def _key(table: str, row: Row) -> str:
    """Return under which name an inventory row is remembered."""
    return f"{table} {row['cluster']} {row['node']} {row[_INVENTORY[table]]}"


def existing(table: str, row: Row, memory: Memory) -> Row:
    """Return an inventory row with the instant at which its subject first appeared.

    What is not known now and was known before keeps its value; a subject that went is forgotten.
    """
    key = _key(table, row)
    before = json.loads(memory.recall(key) or "{}")
    start = _instant(before["exists_start"] if "exists_start" in before else row["exists_start"])
    known = {name: value for name, value in row.items() if value is not None and name not in _INSTANTS}
    facts = {name: before[name] for name in _KEPT if name in before}
    remembered = {name: value for name, value in before.items() if name not in _INSTANTS}
    complete = {**row, **remembered, **known, **facts}
    if row.get("exists_end") is not None:
        memory.remember(key, None)
    else:
        kept = {name: plain(value) for name, value in complete.items() if value is not None}
        text_now = json.dumps({**kept, "exists_start": start.isoformat()}, sort_keys=True)
        if text_now != memory.recall(key):
            memory.remember(key, text_now)
    return {**complete, "exists_start": start}


def _instant(value: object) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
