"""Text that few values repeat, read as codes: half of what samples take to read is the names of their devices.

The database hashes each stored value once and not for each row; what a hash stands for is asked apart.
"""

from collections.abc import Callable, Sequence
from typing import Final

import polars as pl

from ledger._ddl import quoted

_CODE: Final = "code"
_COUNT: Final = "count"
_HASH: Final = "hash({})"

_FEW: Final = 10_000
"""Room for the names of devices."""

_MOST_ROOM: Final = 4_000_000
"""Rows that are fetched as one piece at most: pieces are copied into one, which takes as much memory again."""

Fetch = Callable[[str, int], pl.DataFrame]
"""Runs a query whose parameters are known, with room for some rows in a piece."""


def read_coded(fetch: Fetch, rows: str, order: str, columns: Sequence[str], coded: Sequence[str]) -> pl.DataFrame:
    """Return columns of the rows that ` FROM ... WHERE ...` names, those in `coded` as `pl.Enum`, the others first.

    Should two different texts have one hash, they are read as text.
    """
    others = ", ".join(quoted(name) for name in columns if name not in coded)
    names = ", ".join(map(quoted, coded))
    code = f"{_HASH.format(names)} AS {_CODE}"
    known = fetch(f"SELECT {names}, {code}, count(*) AS {_COUNT}{rows} GROUP BY ALL", _FEW)
    room = max(1, min(int(known.get_column(_COUNT).sum()), _MOST_ROOM))
    if known.get_column(_CODE).is_duplicated().any():
        texts = fetch(f"SELECT {', '.join(filter(None, (others, names)))}{rows}{order}", room)
        return texts.with_columns(pl.col(name).cast(_values(texts.get_column(name))) for name in coded)
    known = known.with_columns(pl.col(name).cast(_values(known.get_column(name))) for name in coded)
    known = known.drop(_COUNT)
    frame = fetch(f"SELECT {', '.join(filter(None, (others, code)))}{rows}{order}", room)
    codes = frame.get_column(_CODE)
    begins = codes.ne_missing(codes.shift(1))
    # Rows of one device lie together in most cases: a hash is looked up once for each run.
    heads = codes.filter(begins).to_frame().join(known, on=_CODE, how="left", maintain_order="left")
    run = begins.cum_sum() - 1
    return frame.drop(_CODE).with_columns(heads.get_column(name).gather(run) for name in coded)


def _values(texts: pl.Series) -> pl.Enum:
    """Return the type of a column's values, in their order."""
    return pl.Enum(texts.unique().drop_nulls().sort())
