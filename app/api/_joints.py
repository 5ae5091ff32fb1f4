"""The rows of several batches by table."""

from collections.abc import Sequence

from collectors.wire import Batch
from ledger.plain import height_of, joined
from ledger.store import Joint
from ledger.tables import TABLES


def joints_of(batches: Sequence[Batch]) -> tuple[list[Joint], set[int]]:
    """Return the rows of all batches by table, or which batches have values that only the door can read."""
    joints, odd = [], set[int]()
    for name in dict.fromkeys(name for batch in batches for name in batch.tables):
        schema = TABLES[name].schema
        places = [place for place, batch in enumerate(batches) if name in batch.tables]
        parts = [batches[place].tables[name] for place in places]
        frame, strange = joined(schema, parts)
        odd |= {places[index] for index in strange}
        joints.append(Joint(schema, frame, list(zip(places, map(height_of, parts), strict=True))))
    return joints, odd
