"""One read-only SELECT over the whole ledger."""

from typing import Annotated

from pydantic import Field

from app.context import Context
from app.services._service import Params, Progress, service

MOST_ROWS = 10_000


class Query(Params):
    """A question in SQL."""

    query: Annotated[str, Field(min_length=1, max_length=100_000, description="One SELECT statement")]


@service()
def sql(context: Context, params: Query, progress: Progress) -> dict[str, object]:
    """Return the columns and rows of one SELECT, at most 10,000 rows.

    It sees all teams' rows: the API asks for an admin's token.
    """
    del progress
    frame = context.store.people_sql(params.query, limit=MOST_ROWS)
    return {"columns": frame.columns, "rows": frame.rows()}
