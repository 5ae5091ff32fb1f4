"""Computing what is due."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field

from app.context import Context
from app.services._matching import match
from app.services._pods import hold
from app.services._service import Params, Progress, service
from app.services._simulated import fitted
from ledger.tables import TABLES
from queries._settings import check
from queries.executor import Ran, run_due
from queries.graph import load


class Wanted(Params):
    """Which partitions are wanted."""

    since: Annotated[AwareDatetime | None, Field(description="Only partitions that end after this instant")] = None
    until: Annotated[AwareDatetime | None, Field(description="Only partitions that start before this instant")] = None
    everything: Annotated[bool, Field(description="Also those that are not due")] = False


@service()
def rollup(context: Context, params: Wanted, progress: Progress) -> list[dict[str, object]]:
    """Compute what is due and return what each rollup did."""
    ran = compute(context, progress, since=params.since, until=params.until, everything=params.everything)
    return [
        {
            "rollup": each.rollup,
            "partitions": each.partitions,
            "rows": each.rows,
            "seconds": round(each.seconds, 3),
            "skipped_sealed": list(each.skipped_sealed),
        }
        for each in ran
    ]


def compute(
    context: Context,
    progress: Progress,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    everything: bool = False,
) -> Sequence[Ran]:
    """Run what is due, one run at a time, and tell cached reads which tables have changed."""
    names = [each.name for each in load()]

    def told(name: str, done: int, due: int) -> None:
        progress(name, (names.index(name) + done / max(due, 1)) / len(names))

    check(context.settings)
    with context.work:
        match(context)
        hold(context)
        ran = run_due(
            context.store,
            fitted(context),
            since=since,
            until=until,
            everything=everything,
            progress=told,
            stop=context.is_over,
            aside=context.aside,
        )
    # A rule writes the table of findings under a name of its own.
    context.changed({each.rollup if each.rollup in TABLES else "finding" for each in ran if each.partitions})
    return ran
