"""Boards that are cut: which slices there are from when to when, which part of a board each is, and what is left."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from collectors.cluster._kubernetes_devices import slice_share
from collectors.node._nvml_mig import Slice, fractions

Row = Mapping[str, Any]

REST: Final = "-rest"
"""Ends the name of what no slice takes of a board."""

_INSTANCE: Final = "-gi-"

_GIGABYTES: Final = re.compile(r"\b(\d+) ?GB\b")
"""The memory of the whole device, which no slice tells, where the name of the model has it."""

_MEBIBYTES: Final = 1024
_WHOLE: Final = Decimal(1)
_NOT_THE_RESTS: Final = ("mig_profile", "mig_index", "scheduler_index", "memory_total_bytes", "power_limit_watts")
_OWN: Final = frozenset({"exists_start", "exists_end", "gpu_fraction"})


@dataclass
class _Stay:
    """One device, whole or a slice, for as long as it is the same; `known` is its row in the ledger."""

    facts: dict[str, Any]
    start: datetime
    end: datetime | None
    known: Row | None = None

    @property
    def kind(self) -> tuple[str, str]:
        return self.facts["gpu_uuid"], self.facts.get("mig_profile") or ""

    @property
    def is_slice(self) -> bool:
        return bool(self.facts["parent_gpu_uuid"])

    def is_there(self, at: datetime) -> bool:
        return self.start <= at and (self.end is None or at < self.end)


def is_rest(row: Row) -> bool:
    """Tell whether a row is of what no slice takes of a board."""
    return bool(row["gpu_uuid"] == f"{row['parent_gpu_uuid']}{REST}")


def instance_name(board: str, instance: str) -> str:
    """Return the name of a slice of which only its board and the number of its GPU instance are known."""
    return f"{board}{_INSTANCE}{instance}"


def is_instance(name: str) -> bool:
    """Tell whether a slice is known by the number of its GPU instance alone."""
    return _INSTANCE in name


def share(profile: str, model: str | None) -> float | None:
    """Return which part of a board a slice of a profile is; None if the profile does not say it."""
    size = _GIGABYTES.search(model or "")
    return slice_share(profile, float(size[1]) * _MEBIBYTES if size else None)


def recut(told: Iterable[Row], before: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the rows of one board from what a source tells of a time and what is open in the ledger.

    What was keeps its rows: a device that is another part of its board from some instant on ends there and begins
    anew, and so does the rest of the board. Where a new device is seen, those that are not seen then have ended; where
    none is, they are only silent, and the rest is what it was. A row that starts where it ends says that its device
    was gone then.
    """
    devices = [row for row in told if not is_rest(row)]
    stays = _stays(devices, [row for row in before if not is_rest(row)])
    rest = next((row for row in before if is_rest(row)), None)
    changes = sorted({each for stay in stays for each in _changes(stay)})
    if rest is None and not changes:
        changes = sorted({row["exists_start"] for row in devices})[:1]
    parts = {at: _parts([stay for stay in stays if stay.is_there(at)]) for at in changes}
    found = [row for stay in stays for row in _rows(stay, {at: of.get(id(stay)) for at, (of, _) in parts.items()})]
    return found + _rests(stays, rest, {at: left for at, (_, left) in parts.items()})


def _changes(stay: _Stay) -> Iterable[datetime]:
    """Yield the instants at which others' parts of the board may change."""
    if stay.known is None:
        yield stay.start
    if stay.end is not None:
        yield stay.end


def _stays(told: Sequence[Row], before: Sequence[Row]) -> list[_Stay]:
    """Return the devices of a board: those of the ledger as they go on or end, and those that are new.

    All stays as it was until something new is seen: what is not seen at that instant has ended then.
    """
    known = {_kind(row): _Stay(_facts(row), row["exists_start"], None, row) for row in before}
    starts = {(row["gpu_uuid"], row["exists_start"]) for row in before}
    over = {row["gpu_uuid"]: row["exists_end"] for row in told if _is_end(row, starts)}
    seen = _joined([row for row in told if not _is_end(row, starts)])
    changed_at = min((stay.start for stay in seen if stay.kind not in known), default=None)
    going: dict[tuple[str, str], _Stay] = {}
    new: list[_Stay] = []
    for stay in seen:
        was = known.get(stay.kind)
        if was is None or (changed_at is not None and stay.start > changed_at):
            new.append(stay)
        elif changed_at is None or stay.end is None or stay.end > changed_at:
            going[stay.kind] = stay
        if was is not None:
            was.facts |= {name: value for name, value in stay.facts.items() if value is not None}
    for kind, was in known.items():
        if changed_at is not None:
            was.end = going[kind].end if kind in going else max(was.start, changed_at)
    for stay in (*known.values(), *new):
        gone = over.get(stay.kind[0])
        if gone is not None and (stay.end is None or gone < stay.end):
            stay.end = max(stay.start, gone)
    return sorted([*known.values(), *new], key=lambda stay: (stay.start, *stay.kind))


def _is_end(row: Row, starts: Collection[tuple[str, datetime]]) -> bool:
    """Tell whether a row only says when a device ended: where it began or, of one of the ledger, some time later."""
    start, end = row["exists_start"], row.get("exists_end")
    return end is not None and (start == end or (row["gpu_uuid"], start) in starts)


def _joined(told: Sequence[Row]) -> list[_Stay]:
    """Return what is told as stays: rows of one device that follow one another, whatever part it was, are one."""
    found: list[_Stay] = []
    last: dict[tuple[str, str], _Stay] = {}
    for row in sorted(told, key=lambda row: row["exists_start"]):
        before = last.get(_kind(row))
        if before is not None and before.end == row["exists_start"]:
            before.end = row["exists_end"]
            continue
        last[_kind(row)] = _Stay(_facts(row), row["exists_start"], row.get("exists_end"))
        found.append(last[_kind(row)])
    return found


def _kind(row: Row) -> tuple[str, str]:
    return row["gpu_uuid"], row.get("mig_profile") or ""


def _facts(row: Row) -> dict[str, Any]:
    """Return what a row says besides when; `_share` is what its device takes of the board if nothing else is there."""
    facts = {name: value for name, value in row.items() if name not in _OWN}
    told = share(row.get("mig_profile") or "", row.get("gpu_model"))
    return {**facts, "_share": float(row["gpu_fraction"]) if told is None else told}


def _parts(there: Sequence[_Stay]) -> tuple[dict[int, Decimal], Decimal]:
    """Return by stay which part of the board each device is, and what is left of it."""
    cut = [stay for stay in there if stay.is_slice]
    if not cut:
        return {id(stay): _WHOLE for stay in there}, Decimal(0)
    cut.sort(key=lambda stay: stay.kind)
    parts = [Slice(stay.kind[0], None, 0, stay.kind[1], None, stay.facts["_share"], 0.0) for stay in cut]
    shares, rest = fractions(parts)
    return {id(stay): part for stay, part in zip(cut, shares, strict=True)}, rest


def _rows(stay: _Stay, parts: Mapping[datetime, Decimal | None]) -> list[dict[str, Any]]:
    """Return the rows of one stay: as many as it was different parts of its board."""
    first = [] if stay.known is None else [(stay.start, Decimal(stay.known["gpu_fraction"]))]
    later = [(at, part) for at, part in parts.items() if part is not None and stay.is_there(at)]
    facts = {name: value for name, value in stay.facts.items() if name != "_share"}
    return _in_turn(facts, [*first, *later], stay.end, stay.known)


def _rests(stays: Sequence[_Stay], rest: Row | None, parts: Mapping[datetime, Decimal]) -> list[dict[str, Any]]:
    """Return the rows of what no slice takes of a board: as many as it was different parts of it."""
    slices = [stay for stay in stays if stay.is_slice]
    if not slices:
        return []
    first = slices[0].facts
    board = first["parent_gpu_uuid"]
    facts = {name: value for name, value in first.items() if name not in (*_NOT_THE_RESTS, "_share")}
    facts |= {"gpu_uuid": f"{board}{REST}"}
    known = [] if rest is None else [(rest["exists_start"], Decimal(rest["gpu_fraction"]))]
    if rest is not None:
        facts |= {name: value for name, value in rest.items() if name not in _OWN and value is not None}
    since = known[0][0] if known else None
    before = [(at, part) for at, part in parts.items() if since is not None and at < since]
    after = [(at, part) for at, part in parts.items() if since is None or at >= since]
    return [*_in_turn(facts, before, since), *_in_turn(facts, [*known, *after], None, rest)]


def _in_turn(
    facts: Mapping[str, Any],
    parts: Sequence[tuple[datetime, Decimal]],
    end: datetime | None,
    known: Row | None = None,
) -> list[dict[str, Any]]:
    """Return a row for each part that something was in turn; of nothing, none.

    A row of the ledger that is none of these any more ends where it began.
    """
    last_told = list(dict(parts).items())
    steps = [each for index, each in enumerate(last_told) if index == 0 or each[1] != last_told[index - 1][1]]
    found = []
    for index, (at, part) in enumerate(steps):
        until = steps[index + 1][0] if index + 1 < len(steps) else end
        if part and at != until:
            found.append({**facts, "exists_start": at, "exists_end": until, "gpu_fraction": part})
    if known is not None and all(row["exists_start"] != known["exists_start"] for row in found):
        found.append({**known, "exists_end": known["exists_start"]})
    return found
