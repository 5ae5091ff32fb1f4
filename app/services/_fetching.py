"""Fetching bills from a place where they are delivered again and again: what has changed there, each once."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import polars as pl

from app.context import Context
from app.services import _owned, _rejections
from app.services._bills import keep, receiving
from app.services._prices import prices
from collectors.billing._delivery import Delivery, Place
from collectors.billing._read import read_source
from collectors.billing._source import Source
from ledger.config import HINT, Settings
from ledger.errors import ClusterLedgerError, ConfigError, InputError, SourceError
from ledger.explain import nearest
from ledger.frames import to_frame
from ledger.money_sections import BillPlace
from ledger.tables import BillObject
from ledger.tables.partition import WHOLE

_OWNED: Final = "on_premises"


@dataclass(frozen=True)
class BillSource:
    """One section of `[bills]`: its name and what it says."""

    name: str
    place: BillPlace

    @property
    def every_seconds(self) -> float:
        """Return its pace."""
        return self.place.every_seconds


@dataclass(frozen=True)
class Fetched:
    """One delivery that had changed, and what came of it: imported, waiting or refused, said in one line."""

    delivery: str
    status: str
    rows: int = 0
    rejected: int = 0
    message: str = ""
    hint: str = ""
    rejections: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What one look into a place gave; `unchanged` counts the deliveries that were left where they are."""

    source: str
    fetched: list[Fetched] = field(default_factory=list)
    unchanged: int = 0
    remarks: list[str] = field(default_factory=list)
    error: ClusterLedgerError | None = None


def bill_sources(settings: Settings, names: tuple[str, ...] = ()) -> list[BillSource]:
    """Return the sections of these names; without names, all that are enabled.

    Raises: ConfigError: there is none of a name.
    """
    for name in names:
        if name not in settings.bills:
            known = sorted(settings.bills)
            expected = nearest(name, known) or f"expected {'one of ' + ', '.join(known) if known else 'a section'}"
            raise ConfigError(f"bills.{name}: found no such section; {expected}", hint=HINT)
    wanted = dict.fromkeys(names) or settings.bills
    found = [BillSource(name, settings.bills[name]) for name in wanted]
    return [each for each in found if names or each.place.enabled]


def fetch(context: Context, source: BillSource, *, everything: bool = False) -> Outcome:
    """Fetch the deliveries that have changed and import them; `everything` fetches also those that have not.

    A file that is refused is not fetched again until it changes. What was taken away from the place stays in the
    ledger. An error of the place is in the outcome: what came before it stays.
    """
    outcome = Outcome(source.name)
    with context.turn(f"bills {source.name}"):
        try:
            place = Place(source.place.url, source.place.options)
            for delivery in place.deliveries():
                if delivery.problem:
                    outcome.remarks.append(delivery.problem)
                elif everything or _has_changed(context, source.name, delivery):
                    outcome.fetched.append(_fetched(context, source, place, delivery))
                else:
                    outcome.unchanged += 1
        except ClusterLedgerError as error:
            outcome.error = error
    return outcome


def looked(context: Context) -> Iterator[tuple[str, Literal["ok", "failed"], str, str]]:
    """Yield for each section what lies in its place now: its name, ok or failed, what was found, and a hint."""
    for source in bill_sources(context.settings):
        try:
            there = Place(source.place.url, source.place.options).deliveries()
        except SourceError as error:
            yield source.name, "failed", error.message, error.hint
            continue
        changed = sum(_has_changed(context, source.name, each) for each in there if not each.problem)
        yield source.name, "ok", f"{source.place.url}: {len(there)} deliveries, {changed} not fetched yet", ""


def shown(outcome: Outcome) -> Iterator[dict[str, object]]:
    """Yield what a command tells: a row for each delivery that was fetched, or one for a place without any."""
    error = {"error": outcome.error.message, "hint": outcome.error.hint, "exit_code": 1} if outcome.error else {}
    about = {"source": outcome.source, "unchanged": outcome.unchanged, "remarks": outcome.remarks}
    for each in outcome.fetched:
        refused = {"error": each.message, "hint": each.hint, "exit_code": 2} if each.status != "imported" else {}
        numbers = {"delivery": each.delivery, "status": each.status, "rows": each.rows, "rejected": each.rejected}
        yield {**about, **numbers, "message": each.message, "rejections": each.rejections, **refused}
        about["remarks"] = []
    if error or not outcome.fetched:
        status = "failed" if error else "unchanged"
        yield {
            **about,
            "delivery": "",
            "status": status,
            "rows": 0,
            "rejected": 0,
            "message": "",
            "rejections": (),
            **error,
        }


def _known(context: Context, name: str, delivery: Delivery) -> pl.DataFrame:
    return context.store.read(BillObject, where={"bill_name": [name], "delivery": [delivery.name]})


def _has_changed(context: Context, name: str, delivery: Delivery) -> bool:
    """Tell whether a file of a delivery is new, another than it was, or gone."""
    known = _known(context, name, delivery).select("path", "etag", "size_bytes", "modified_at")
    return {(each.path, each.etag, each.size_bytes, each.modified_at) for each in delivery.all_files} != set(
        known.iter_rows()
    )


def _fetched(context: Context, source: BillSource, place: Place, delivery: Delivery) -> Fetched:
    """Import one delivery and remember its files as they were listed.

    Raises: SourceError: it cannot be fetched, or the hub stops; it is tried again.
    """
    if context.stop.is_set():
        raise SourceError(f"bills.{source.name}: found that the hub stops; the rest comes the next time")
    by_name = source.place.replaces == "same_name"
    name = f"{source.name}/{delivery.name}" if by_name else source.name
    with tempfile.TemporaryDirectory(prefix="clusterledger-bills-") as folder:
        found = place.source(delivery, name, Path(folder))
        with context.work:
            try:
                result = _imported(context, source, found, delivery.name)
            except InputError as error:
                result = Fetched(delivery.name, "refused", message=error.message, hint=error.hint)
            _remember(context, source.name, delivery, result)
            context.changed()
    return result


def _imported(context: Context, source: BillSource, found: Source, delivery: str) -> Fetched:
    """Read a delivery and keep it.

    Raises: InputError: nothing of it can be kept.
    """
    with receiving(context) as received:
        imported = read_source(
            found,
            format=source.place.format or None,
            defaults={**context.settings.money.bill_defaults, **source.place.defaults},
            imported_at=context.now(),
            sink=received,
            prices=prices(context),
        )
        outcome = keep(context, imported, accept=False, received=received)
    lines = _rejections.keep(context, map(_rejections.of_bill, imported.rejected), found.path).lines()
    if imported.format == _OWNED:
        _owned.charge(context)
    kind = f"{outcome.format} {outcome.version}".strip()
    if outcome.waiting:
        hint = "look at it with `clusterledger bills diff`, then accept it if it is right; the earlier bill counts"
        return Fetched(delivery, "waiting", outcome.rows, outcome.rejected, "; ".join(outcome.waiting), hint)
    if lines and not imported.row_count:
        return Fetched(delivery, "refused", 0, outcome.rejected, f"found no row that can be kept; {lines[0]}")
    said = "; refused: ".join([kind, *lines])
    return Fetched(delivery, "imported", outcome.rows, outcome.rejected, said, rejections=tuple(lines))


def _remember(context: Context, name: str, delivery: Delivery, result: Fetched) -> None:
    """Keep how the files of a delivery were when it was fetched."""
    now: datetime = context.now()
    rows = [
        {
            "bill_name": name,
            "path": each.path,
            "etag": each.etag,
            "size_bytes": each.size_bytes,
            "modified_at": each.modified_at,
            "delivery": delivery.name,
            "status": result.status,
            "message": result.message,
            "fetched_at": now,
        }
        for each in delivery.all_files
    ]
    fresh = to_frame(BillObject, rows)
    paths = fresh["path"].implode()
    is_old = (pl.col("bill_name") == name) & ((pl.col("delivery") == delivery.name) | pl.col("path").is_in(paths))
    others = context.store.read(BillObject).filter(~is_old)
    context.store.replace(BillObject, pl.concat([others, fresh]), partitions=[WHOLE])
