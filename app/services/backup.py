"""A copy of the whole store."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from app.context import Context
from app.services._service import Params, Progress, service


class Target(Params):
    """Where the copy goes."""

    path: Annotated[Path, Field(description="File to write")]


@service(writes="path")
def backup(context: Context, params: Target, progress: Progress) -> dict[str, object]:
    """Write a copy of the store, also while a hub works on it, and return its size."""
    del progress
    context.store.backup(params.path)
    size = params.path.stat().st_size
    return {"path": str(params.path), "bytes": size}
