"""What of a batch may be taken where the whole is not: its tables, its halves, its rows under the node's own name."""

from http import HTTPStatus

from collectors._round import Tables
from collectors._spool import Sealed
from collectors._stamp import Identity
from ledger.registry import Row


def is_own(row: Row, identity: Identity) -> bool:
    """Tell whether a row stands under the node's present name."""
    return row.get("node", identity.node) == identity.node and row.get("cluster", identity.cluster) == identity.cluster


def apart(batch: Sealed, status: int, identity: Identity) -> list[Sealed]:
    """Return the parts of a refused batch that may be taken each by itself; none where it cannot be parted further.

    One table that a hub does not know, one that is too large, or a row at which it stumbles, must not take the others
    with it. The id of a part follows from the whole's.
    """
    is_halved = status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    parts: dict[str, Tables] = {}
    if status == HTTPStatus.FORBIDDEN:
        for name, rows in batch.tables.items():
            for row in rows:
                part = parts.setdefault("own" if is_own(row, identity) else "other", {})
                part.setdefault(name, []).append(row)
    elif is_halved or status == HTTPStatus.UNPROCESSABLE_ENTITY:
        parts = {name: {name: rows} for name, rows in batch.tables.items()}
        if len(parts) == 1 and is_halved:
            ((name, rows),) = batch.tables.items()
            half = len(rows) // 2
            parts = {"0": {name: rows[:half]}, "1": {name: rows[half:]}} if half else {}
    if len(parts) < 2:  # noqa: PLR2004  one part is the whole
        return []
    return [Sealed(f"{batch.batch_id}.{name}", tables) for name, tables in parts.items()]
