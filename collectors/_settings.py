"""What an operator may decide about any collector."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class CollectorSettings(BaseModel):
    """One `[collectors.NAME]` section; a collector with decisions of its own extends it in its file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: Annotated[bool, Field(description="Whether it runs on this node")] = True
    every_seconds: Annotated[float | None, Field(ge=1, le=3600, description="Its pace; empty for its own")] = None
    deadline_seconds: Annotated[float | None, Field(gt=0, le=600, description="After this a round has failed")] = None
