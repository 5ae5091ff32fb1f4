"""One round of the collectors on this node."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from app.context import Context
from app.services._service import Params, Progress, service
from collectors.agent import run_collectors


class Wanted(Params):
    """Which collectors, and where the machine's files lie."""

    only: Annotated[tuple[str, ...], Field(description="Names of collectors; empty for all that are enabled")] = ()
    procfs: Annotated[Path | None, Field(description="Root of procfs; else below agent.root")] = None
    sysfs: Annotated[Path | None, Field(description="Root of sysfs; else below agent.root")] = None


@service(local=True)
def collect(context: Context, params: Wanted, progress: Progress) -> dict[str, object]:
    """Run collectors once and return their rows by table, and how each fared."""
    del progress
    found = run_collectors(params.only or None, procfs=params.procfs, sysfs=params.sysfs, settings=context.settings)
    return found.document()
