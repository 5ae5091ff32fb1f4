"""What agents say that they put into their spools, and what became of it in the store."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import IO, Any

import msgspec
import polars as pl

from ledger._door import judged, second_rows
from ledger.frames import to_frame
from ledger.plain import joined
from ledger.store import Store
from ledger.tables import TABLES, RejectedRow

Tables = dict[str, dict[str, list[Any]]]


@dataclass
class Account:
    """What one agent says that it put into its spool: by life and number, the rows, and whether they were kept."""

    intended: dict[tuple[int, int], Tables] = field(default_factory=dict)
    outcome: dict[tuple[int, int], bool] = field(default_factory=dict)

    @property
    def refused_count(self) -> int:
        """Return how many rounds the spool did not keep, as it does on a full disk."""
        return sum(not is_kept for is_kept in list(self.outcome.values()))

    @property
    def set_back_count(self) -> int:
        """Return how many rounds of a life were measured before the round that came before them."""
        rounds = [(key[0], at) for key, each in sorted(self.intended.items()) for at in _instants(each)]
        return sum(life == same and after < before for (life, before), (same, after) in pairwise(rounds))

    def read(self, life: int, output: IO[bytes]) -> None:
        """Write down what one process tells, until it ends."""
        while len(head := output.read(4)) == 4:  # noqa: PLR2004  the length
            body = output.read(int.from_bytes(head, "big"))
            try:
                told = msgspec.msgpack.decode(body)
            except msgspec.DecodeError:
                return
            key = (life, told["number"])
            if "tables" in told:
                self.intended[key] = told["tables"]
            else:
                self.outcome[key] = told["is_kept"]


def _instants(tables: Tables) -> list[Any]:
    """Return the instants of a node's own samples."""
    return tables.get("host_sample", {}).get("sampled_at", [])


@dataclass(frozen=True)
class Found:
    """How the rows of one table fared: told by the agents, and stored.

    `second` were measured at an instant that the node's clock had shown before it was set back: the first row of an
    instant stays, and others are kept among the refused.
    """

    table: str
    told: int
    stored: int
    second: int
    missing: int
    twice: int
    invented: int


def _frame(name: str, parts: list[Tables]) -> pl.DataFrame:
    """Return distinct rows as their table would hold them."""
    schema = TABLES[name].schema
    columns = [each[name] for each in parts if name in each]
    frame, odd = joined(schema, columns)
    if odd:
        frame = pl.concat([to_frame(schema, each) for each in columns], how="diagonal_relaxed")
    return judged(TABLES[name], frame).fitted.unique(maintain_order=True)


def compare(store: Store, accounts: list[Account]) -> list[Found]:
    """Return what became of the agents' rows, by table.

    What an agent began to keep when it was killed may be stored or not; everything else must be, once.
    """
    kept, maybe = [], []
    for account in accounts:
        for key, tables in account.intended.items():
            outcome = account.outcome.get(key)
            if outcome is None:
                maybe.append(tables)
            elif outcome:
                kept.append(tables)
    names = sorted({name for each in kept for name in each})
    return [_compared(store, name, kept, maybe) for name in names]


def _compared(store: Store, name: str, kept: list[Tables], maybe: list[Tables]) -> Found:
    told = _frame(name, kept)
    possible = [told] + ([_frame(name, maybe)] if any(name in each for each in maybe) else [])
    stored = store.read(TABLES[name].schema)
    key = list(TABLES[name].key)
    # Of what exists the newest row stays: only that it is there can be told.
    on = key if TABLES[name].group == "inventory" else told.columns
    absent = told.unique(on).join(stored, on=on, how="anti", nulls_equal=True)
    refused = store.read(RejectedRow, where={"table_name": [name]}).select("reason").unique()
    second = second_rows(TABLES[name], absent).join(refused, on="reason", how="semi").height
    return Found(
        table=name,
        told=told.select(on).unique().height,
        stored=stored.height,
        second=second,
        missing=absent.height - second,
        twice=stored.height - stored.select(key).unique().height,
        invented=stored.join(pl.concat(possible), on=on, how="anti", nulls_equal=True).height,
    )
