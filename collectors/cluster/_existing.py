"""Since when something exists: a source sees it from some instant on, and the ledger may have known it before."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import polars as pl

from collectors.cluster._cuts import Row, is_instance, is_rest, recut

_PLACE: Final = ["cluster", "node"]
_DEVICE: Final = [*_PLACE, "gpu_uuid"]
_BOARD: Final = "_board"

Stretch = tuple[datetime, datetime]


def begun(told: pl.DataFrame, before: pl.DataFrame, subject: list[str]) -> pl.DataFrame:
    """Return inventory rows that go on where the ledger has an open row of the same subject.

    Such a row keeps its start, and what is not told now keeps its value. What is told of a time before an open row
    ends where that begins. A row that starts where it ends says only that its subject is gone: it ends an open row.
    """
    others = [name for name in told.columns if name not in {*subject, "exists_start", "exists_end"}]
    known = before.sort("exists_start").unique(subject, keep="last", maintain_order=True)
    both = told.join(known, on=subject, how="left", suffix="_before", maintain_order="left")
    start, end, earlier = pl.col("exists_start"), pl.col("exists_end"), pl.col("exists_start_before")
    goes_on = (earlier <= start).fill_null(value=False)
    is_end = start.eq_missing(end)
    return (
        both.filter(~is_end | goes_on)
        .with_columns(
            pl.when(goes_on).then(earlier).otherwise(start).alias("exists_start"),
            pl.when(earlier > start).then(pl.coalesce(end, earlier)).otherwise(end).alias("exists_end"),
            *(
                pl.when(is_end)
                .then(f"{name}_before")
                .when(goes_on)
                .then(pl.coalesce(name, f"{name}_before"))
                .otherwise(name)
                .alias(name)
                for name in others
            ),
        )
        .select(told.columns)
    )


@dataclasses.dataclass(frozen=True)
class Told:
    """Of which time a source tells: up to when, and up to when the ledger knew it before and after the last piece.

    `known_at` is None before its first answer. `joins_at` is where the piece before this one ended, if it was one of
    a time that the ledger knew already.
    """

    reached_at: datetime
    known_at: datetime | None = None
    joins_at: datetime | None = None


def devices(told: pl.DataFrame, known: pl.DataFrame, when: Told) -> pl.DataFrame:
    """Return the rows of devices that a source tells of, as the ledger keeps them; `known` are all that it has.

    Of a time that was known already, the ledger's word stays: only what it knows nothing of is added. From then on
    what is open goes on, ends where another took its place, and begins anew where it is another part of its board.
    """
    if when.known_at is None:
        # Others may have told of the same boards.
        is_known = _on_boards(told, known, "semi")
        again = dataclasses.replace(when, known_at=when.reached_at)
        return pl.concat([_onward(_on_boards(told, known, "anti"), known.clear()), devices(is_known, known, again)])
    horizon = pl.lit(min(when.known_at, when.reached_at), dtype=told.schema["exists_start"])
    is_end = pl.col("exists_start").eq_missing(pl.col("exists_end"))
    opened = known.filter(pl.col("exists_end").is_null()).select(*_DEVICE, "exists_start")
    closed = told.filter(pl.col("exists_end").is_not_null()).join(opened, on=[*_DEVICE, "exists_start"], how="semi")
    told = told.join(closed, on=[*_DEVICE, "exists_start"], how="anti")
    past = told.filter(~is_end & (pl.col("exists_start") < horizon)).with_columns(
        pl.min_horizontal(pl.coalesce("exists_end", horizon), horizon).alias("exists_end")
    )
    added = _added(past, known, when.joins_at)
    if when.reached_at < when.known_at:
        return added
    lasts = pl.col("exists_end").is_null() | (pl.col("exists_end") > horizon)
    onward = told.filter(is_end | lasts).with_columns(
        pl.when(is_end).then("exists_start").otherwise(pl.max_horizontal("exists_start", horizon)).alias("exists_start")
    )
    return pl.concat([added, _onward(pl.concat([closed, onward]), known)])


def _on_boards(told: pl.DataFrame, known: pl.DataFrame, how: Literal["semi", "anti"]) -> pl.DataFrame:
    """Return what is told of boards of which the ledger knows something, or of the others."""
    boards = known.select(*_PLACE, _board().alias(_BOARD)).unique()
    return told.with_columns(_board().alias(_BOARD)).join(boards, on=[*_PLACE, _BOARD], how=how).drop(_BOARD)


def _onward(told: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Return what is told of a time that was not known: boards that are or were cut as a whole, others one by one."""
    before = known.filter(pl.col("exists_end").is_null()).with_columns(_board().alias(_BOARD))
    is_end = pl.col("exists_start").eq_missing(pl.col("exists_end"))
    # Who only says that a device is gone does not say which board's it was.
    seen = pl.concat([each.select(*_DEVICE, _board().alias("_of")) for each in (told.filter(~is_end), before)])
    told = told.join(seen.unique(_DEVICE), on=_DEVICE, how="left", maintain_order="left")
    told = told.with_columns(pl.when(is_end).then(pl.coalesce("_of", _board())).otherwise(_board()).alias(_BOARD))
    told = told.drop("_of")
    cut = pl.concat([each.filter(pl.col("parent_gpu_uuid") != "").select(*_PLACE, _BOARD) for each in (told, before)])
    boards = [*_PLACE, _BOARD]
    plain = begun(_ended(told.join(cut, on=boards, how="anti").drop(_BOARD)), before.drop(_BOARD), _DEVICE)
    of_boards = told.join(cut, on=boards, how="semi")
    if of_boards.is_empty():
        return plain
    opened = _by(before.join(of_boards, on=boards, how="semi"), boards)
    rows = (
        row
        for board, each in _by(of_boards, boards).items()
        if not _is_agents(each, opened.get(board, ()))
        for row in recut(each, opened.get(board, ()))
    )
    return pl.concat([plain, pl.DataFrame(list(rows), schema=plain.schema)])


def _ended(told: pl.DataFrame) -> pl.DataFrame:
    """Return rows with an end where the same source says that their device was gone later."""
    is_end = pl.col("exists_start").eq_missing(pl.col("exists_end"))
    rows = told.filter(~is_end)
    gone = told.filter(is_end)
    ends = gone.group_by(_DEVICE).agg(pl.col("exists_end").max().alias("_gone"))
    is_later = pl.col("exists_end").is_null() & (pl.col("_gone") >= pl.col("exists_start"))
    ended = rows.join(ends, on=_DEVICE, how="left", maintain_order="left").with_columns(
        pl.when(is_later).then("_gone").otherwise("exists_end").alias("exists_end")
    )
    return pl.concat([ended.drop("_gone"), gone.join(rows, on=_DEVICE, how="anti")])


def _is_agents(told: Sequence[Row], before: Sequence[Row]) -> bool:
    """Tell whether a board is cut by the word of its node's agent, which knows slices by names of their own."""
    names = {row["gpu_uuid"] for row in before if row["parent_gpu_uuid"] and not is_rest(row)}
    own = {name for name in names if is_instance(name)}
    return bool(names - own) and not names & {row["gpu_uuid"] for row in told}


def _board() -> pl.Expr:
    return pl.when(pl.col("parent_gpu_uuid") == "").then("gpu_uuid").otherwise("parent_gpu_uuid")


def _by(frame: pl.DataFrame, names: Sequence[str]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Return rows by the values of some columns, without the board's."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in frame.iter_rows(named=True):
        key = tuple(row[name] for name in names)
        row.pop(_BOARD, None)
        found.setdefault(key, []).append(row)
    return found


def _added(past: pl.DataFrame, known: pl.DataFrame, joins_at: datetime | None) -> pl.DataFrame:
    """Return what is told of times of which the ledger knows nothing of a board, neither whole nor cut."""
    if past.is_empty():
        return past
    boards = [*_PLACE, _BOARD]
    past, known = (each.with_columns(_board().alias(_BOARD)) for each in (past, known))
    there = _by(known, boards)
    found = []
    for board, rows in _by(past, boards).items():
        ended = [row for row in there.get(board, ()) if joins_at is not None and row["exists_end"] == joins_at]
        first = min(row["exists_start"] for row in rows)
        for row in rows:
            goes_on = (each for each in ended if row["exists_start"] == first and _is_as(each, row))
            same = next(goes_on, None)
            stretches = _unknown(row, there.get(board, ()), same)
            found += [{**row, "exists_start": start, "exists_end": end} for start, end in stretches]
    return pl.DataFrame(found, schema=past.drop(_BOARD).schema)


def _unknown(row: Row, there: Iterable[Row], same: Row | None) -> Iterator[Stretch]:
    """Yield the stretches of a row in which nothing of its board is known; it may go on with one that just ended."""
    at, end = row["exists_start"], row["exists_end"]
    begun = at
    if same is not None:
        begun, at = same["exists_start"], same["exists_end"]
    for each in sorted((each for each in there if each is not same), key=lambda each: each["exists_start"]):
        until = min(end, each["exists_start"])
        if at < until:
            yield begun, until
        if each["exists_end"] is None:
            return
        if each["exists_end"] > at:
            at = begun = each["exists_end"]
    if at < end:
        yield begun, end


def _is_as(one: Row, other: Row) -> bool:
    names = ("gpu_uuid", "mig_profile", "gpu_fraction")
    return all(one[name] == other[name] for name in names)
