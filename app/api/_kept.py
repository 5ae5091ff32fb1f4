"""Batches on their way into the store: as one where that changes no value, each by itself where it might."""

from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from app.api._answers import answer, refusal
from app.api._clock import AHEAD, timely
from app.context import Context
from collectors.wire import Batch
from ledger.errors import ContractError, StoreError
from ledger.frames import to_frame
from ledger.plain import height_of, joined
from ledger.store import Joint, Sender
from ledger.tables import TABLES

_SICK: Final = 3
"""After as many failures in a row it is the store that fails, not the batches."""


def kept(context: Context, batches: Sequence[Batch]) -> list[Response]:
    """Return the answer to each batch, after the commit."""
    joints, odd = _joints(batches)
    if odd:
        plain = [place for place in range(len(batches)) if place not in odd]
        answers = dict(zip(plain, kept(context, [batches[place] for place in plain]), strict=True)) if plain else {}
        alone = sorted(odd)
        answers |= dict(zip(alone, _apart(context, [batches[place] for place in alone]), strict=True))
        return [answers[place] for place in range(len(batches))]
    try:
        return _committed(context, batches, joints)
    except (ContractError, StoreError):
        return _apart(context, batches)


def _joints(batches: Sequence[Batch]) -> tuple[list[Joint], set[int]]:
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


def _apart(context: Context, batches: Sequence[Batch]) -> list[Response]:
    """Return the answers to batches that are stored one by one."""
    answers: list[Response] = []
    failures = 0
    for batch in batches:
        if failures >= _SICK:
            answers.append(answers[-1])
            continue
        try:
            joints = [
                Joint(schema, to_frame(schema, columns), [(0, height_of(columns))])
                for schema, columns in ((TABLES[name].schema, columns) for name, columns in batch.tables.items())
            ]
            answers += _committed(context, [batch], joints)
            failures = 0
        except ContractError as error:
            answers.append(refusal(422, error.message, hint=error.hint))
        except StoreError as error:
            # The rows are good: the agent keeps them and tries again.
            answers.append(refusal(503, error.message, hint=error.hint, exit_code=1))
            failures += 1
    return answers


def _committed(context: Context, batches: Sequence[Batch], joints: Sequence[Joint]) -> list[Response]:
    senders = [Sender(batch.batch_id, batch.node, f"agent {batch.node}") for batch in batches]
    back = context.went_back()
    in_time, untimely = timely(joints, senders, context.now())
    if untimely and back > AHEAD:
        # It is not the nodes that are ahead: their rows wait until the hub's clock is set.
        raise StoreError(
            f"hub: its clock went back by {back}, expected it to go on; nothing was kept",
            hint="set the hub's clock; agents keep their rows meanwhile",
        )
    outcomes = context.store.append_group(senders, in_time)
    context.grown({name for written in outcomes for name in written or ()})
    answers = []
    for place, (batch, written) in enumerate(zip(batches, outcomes, strict=True)):
        told = {
            name: {
                "rows": each.rows,
                "duplicates": each.duplicates,
                "rejected": each.rejected + untimely.get((place, name), 0),
            }
            for name, each in (written or {}).items()
            if name in batch.tables
        }
        status = "known" if written is None else "kept"
        answers.append(answer({"status": status, "batch_id": batch.batch_id, "tables": told}))
    return answers
