"""Putting a copy of the store in its place."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from app.context import Context
from app.services._service import Params, Progress, service


class Source(Params):
    """Where the copy is."""

    path: Annotated[Path, Field(description="File that `backup` wrote")]


@service(reads=("path",))
def restore(context: Context, params: Source, progress: Progress) -> dict[str, object]:
    """Replace the store by a copy of it, also while a hub works on it; a file that is no copy is refused."""
    del progress
    context.restore(params.path)
    return {"path": str(params.path), "store": context.settings.store.url}
