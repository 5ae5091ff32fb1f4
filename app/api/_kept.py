"""Batches on their way into the store: as one where that changes no value, each by itself where it might."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from starlette.responses import Response

from app.api._answers import refusal
from app.api._clock import AHEAD, Counts, timely
from app.api._joints import joints_of
from app.api._reader import Read
from app.api._tally import Acknowledged
from app.context import Context
from collectors.wire import Batch
from ledger.errors import ContractError, StoreError
from ledger.frames import to_frame
from ledger.plain import height_of
from ledger.store import Joint, Sender, Written
from ledger.tables import TABLES

_SICK: Final = 3
"""After as many failures in a row it is the store that fails, not the batches."""


def kept(context: Context, batches: Sequence[Batch]) -> list[Response]:
    """Return the answer to each batch, after the commit."""
    joints, odd = joints_of(batches)
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
    senders = [Sender(batch.batch_id, batch.node, f"agent {batch.node}", cluster=batch.cluster) for batch in batches]
    back = context.went_back()
    in_time, untimely = timely(joints, senders, context.now())
    if untimely and back > AHEAD:
        # It is not the nodes that are ahead: their rows wait until the hub's clock is set.
        raise StoreError(
            f"hub: its clock went back by {back}, expected it to go on; nothing was kept",
            hint="set the hub's clock; agents keep their rows meanwhile",
        )
    outcomes = context.store.append_group(senders, in_time)
    return _answers(context, [(batch.batch_id, batch.tables) for batch in batches], outcomes, untimely)


def kept_as_read(context: Context, read: Read, left_out: Collection[int]) -> dict[int, Response]:
    """Return the answers to batches that were read beside, by their place; none where the store does not take them."""
    told, parts = read.ready(left_out)
    if not told:
        return {}
    senders = [Sender(each.batch_id, each.node, f"agent {each.node}", cluster=each.cluster) for each in told.values()]
    try:
        outcomes = context.store.append_ready(senders, parts)
    except (ContractError, StoreError):
        # They are read once more, and each is told what is wrong.
        return {}
    answers = _answers(context, [(each.batch_id, each.heights) for each in told.values()], outcomes, {})
    return dict(zip(told, answers, strict=True))


def _answers(
    context: Context,
    batches: Sequence[tuple[str, Mapping[str, object]]],
    outcomes: Sequence[Mapping[str, Written] | None],
    untimely: Counts,
) -> list[Response]:
    """Return what each batch, of an id and with tables, is told."""
    context.grown({name for written in outcomes for name in written or ()})
    answers: list[Response] = []
    for place, ((batch_id, tables), written) in enumerate(zip(batches, outcomes, strict=True)):
        told = {
            name: {
                "rows": each.rows,
                "duplicates": each.duplicates,
                "rejected": each.rejected + untimely.get((place, name), 0),
            }
            for name, each in (written or {}).items()
            if name in tables
        }
        answers.append(Acknowledged("known" if written is None else "kept", batch_id, told))
    return answers
