"""How a node stands with its hub, in small files beside the spool: `clusterledger check` reads them."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from collectors._spool import Sealed
from ledger.log import log

_PUT_ASIDE_BYTES: Final = 64 * 1024**2


@dataclass(frozen=True)
class Standing:
    """Whether the hub takes what this node sends; if not, since when, what it says, and what to do about it."""

    status: str = "taken"
    since: str = ""
    http_status: int = 0
    reason: str = ""
    advice: str = ""


def standing_file(spool: Path) -> Path:
    """Return the file that says how the node of a spool stands."""
    return spool.with_suffix(".state.json")


def put_aside_file(spool: Path) -> Path:
    """Return the file of batches that the hub has refused for good; one older file is kept beside it."""
    return spool.with_suffix(".refused.jsonl")


def standing(spool: Path) -> Standing | None:
    """Return how the node of a spool stood last; None where no file says it."""
    try:
        return msgspec.json.decode(standing_file(spool).read_bytes(), type=Standing)
    except (OSError, msgspec.DecodeError):
        return None


class Noted:
    """The standing as it was told last: it is logged and written when it changes, not with each try."""

    def __init__(self, spool: Path, now: Callable[[], datetime]) -> None:
        self._spool = spool
        self._now = now
        self._last = standing(spool) or Standing()
        self._is_told = False

    def taken(self) -> None:
        """Note that the hub took a batch."""
        if self._last.status != "taken":
            log.info("hub takes batches again", was=self._last.reason)
            self._write(Standing(since=self._now().isoformat()))

    def waits(self, reason: str) -> None:
        """Note that the hub is away, or does not take a batch now: rows wait until it does."""
        is_same = self._last.status == "waiting"
        if not (is_same and self._last.reason == reason):
            since = self._last.since if is_same else self._now().isoformat()
            self._write(Standing("waiting", since, reason=reason))

    def refused(self, http_status: int, reason: str, advice: str) -> None:
        """Note that the hub refuses whatever this node sends."""
        is_same = (self._last.status, self._last.http_status, self._last.reason) == ("refused", http_status, reason)
        if is_same and self._is_told:
            return
        log.error("hub refuses this node; its rows wait in the spool", status=http_status, error=reason, advice=advice)
        self._is_told = True
        since = self._last.since if is_same else self._now().isoformat()
        self._write(Standing("refused", since, http_status, reason, advice))

    def _write(self, new: Standing) -> None:
        self._last = new
        path = standing_file(self._spool)
        beside = path.with_suffix(".new")
        try:
            beside.write_text(json.dumps(asdict(new), indent=1), encoding="utf-8")
            beside.replace(path)
        except OSError as error:
            log.warning("standing was not written", path=str(path), error=str(error))


def put_aside(spool: Path, batch: Sealed, status: int, reason: str, now: datetime) -> int:
    """Append a batch that can never be taken to the file of such, with the reason; return how many rows it has.

    Raises: OSError: it could not be written, so the batch must not be forgotten.
    """
    rows = sum(len(each) for each in batch.tables.values())
    log.error("hub refused a batch", batch_id=batch.batch_id, status=status, error=reason, row_count=rows)
    path = put_aside_file(spool)
    if path.exists() and path.stat().st_size > _PUT_ASIDE_BYTES:
        path.replace(path.with_suffix(".old"))
    entry: dict[str, Any] = {
        "refused_at": now.isoformat(),
        "batch_id": batch.batch_id,
        "status": status,
        "reason": reason,
        "row_count": rows,
        "tables": batch.tables,
    }
    # What people run is nobody else's.
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
    return rows


class PutAside(msgspec.Struct):
    """One batch that the hub refused for good, without its rows."""

    refused_at: str
    status: int
    reason: str
    row_count: int = 0


def all_put_aside(spool: Path) -> list[PutAside]:
    """Return the batches that the hub has refused for good and that are still kept, oldest first.

    Raises: OSError: the file may not be read.
    """
    path = put_aside_file(spool)
    found = []
    for each in (path.with_suffix(".old"), path):
        if each.exists():
            with each.open("rb") as lines:
                found += [one for one in map(_read, lines) if one is not None]
    return found


def _read(line: bytes) -> PutAside | None:
    try:
        return msgspec.json.decode(line, type=PutAside)
    except msgspec.DecodeError:
        # The last line of a node that lost power.
        return None
