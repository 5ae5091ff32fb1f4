"""How a node stands with its hub, in small files beside the spool: `clusterledger check` reads them."""

import fcntl
import json
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from collectors._spool import Sealed
from collectors.wire import Value
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
    entry: dict[str, Any] = {
        "refused_at": now.isoformat(),
        "batch_id": batch.batch_id,
        "status": status,
        "reason": reason,
        "row_count": rows,
        "tables": batch.tables,
    }
    with _alone(spool):
        if path.exists() and path.stat().st_size > _PUT_ASIDE_BYTES:
            path.replace(path.with_suffix(".old"))
        # What people run is nobody else's.
        with os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600), "ab") as file:
            size = os.fstat(file.fileno()).st_size
            # A full disk, or a node that lost power, has cut the line before.
            is_cut = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
            file.write(b"\n" * is_cut + json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    return rows


class PutAside(msgspec.Struct):
    """One batch that the hub refused for good, without its rows."""

    refused_at: str
    status: int
    reason: str
    row_count: int = 0
    batch_id: str = ""


class WithRows(PutAside):
    """One batch that the hub refused for good, as it was sent."""

    tables: dict[str, list[dict[str, Value]]] = {}

    @property
    def batch(self) -> Sealed:
        """Return it under the id that it has."""
        return Sealed(self.batch_id, {name: [*rows] for name, rows in self.tables.items()})


Kind = TypeVar("Kind", bound=PutAside)


def all_put_aside(spool: Path) -> list[PutAside]:
    """Return the batches that the hub has refused for good and that are still kept, oldest first.

    Raises: OSError: the file may not be read.
    """
    return list(_every(spool, PutAside))


def put_aside_with_rows(spool: Path) -> Iterator[WithRows]:
    """Yield the same with their rows, each batch once.

    Raises: OSError: the file may not be read.
    """
    seen = set()
    for each in _every(spool, WithRows):
        if each.batch_id and each.batch_id not in seen:
            seen.add(each.batch_id)
            yield each


def forget_put_aside(spool: Path, batch_ids: Collection[str]) -> None:
    """Drop batches that the hub has taken after all; what the agent adds meanwhile stays.

    Raises: OSError: a file cannot be written; it is as it was.
    """
    if not batch_ids:
        return
    with _alone(spool):
        for path in _files(spool):
            _drop(path, batch_ids)


def _drop(path: Path, batch_ids: Collection[str]) -> None:
    draft = path.with_suffix(f"{path.suffix}.new")
    with path.open("rb") as lines, draft.open("wb") as kept:
        before = os.fstat(lines.fileno())
        os.fchmod(kept.fileno(), before.st_mode & 0o777)
        _give(kept.fileno(), before)
        kept.writelines(
            line for line in lines if (one := _read(line, PutAside)) is None or one.batch_id not in batch_ids
        )
        kept.flush()
        os.fsync(kept.fileno())
        is_empty = kept.tell() == 0
    draft.replace(path)
    if is_empty:
        path.unlink()


@contextmanager
def _alone(spool: Path) -> Iterator[None]:
    """Keep others from the files of refused batches: an agent that runs adds to them while they are sent again."""
    lock = os.open(spool.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        path = put_aside_file(spool)
        _give(lock, (path if path.exists() else path.parent).stat())
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _give(descriptor: int, like: os.stat_result) -> None:
    """Let a file that root has made be the agent's user's, as what stands beside it."""
    if os.geteuid() == 0:
        os.fchown(descriptor, like.st_uid, like.st_gid)


def _files(spool: Path) -> list[Path]:
    """Return the files of refused batches that are there, oldest first."""
    path = put_aside_file(spool)
    return [each for each in (path.with_suffix(".old"), path) if each.exists()]


def _every(spool: Path, kind: type[Kind]) -> Iterator[Kind]:
    for path in _files(spool):
        with path.open("rb") as lines:
            yield from (one for line in lines if (one := _read(line, kind)) is not None)


def _read(line: bytes, kind: type[Kind]) -> Kind | None:
    try:
        return msgspec.json.decode(line, type=kind)
    except msgspec.DecodeError:
        # A line that was cut.
        return None
