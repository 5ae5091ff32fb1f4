"""How an operator describes accelerators that no collector of their own knows."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from collectors.node._device_settings import DeviceSettings
from collectors.node._limits import LIMITS
from ledger.explain import nearest

_ONE_GROUP: Final = 1


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Value(_Section):
    """Where one column is read, and how it becomes the column's unit."""

    read: Annotated[
        str, Field(min_length=1, description="File below the device's folder, * allowed; or a field of the command")
    ]
    factor: Annotated[float, Field(gt=0, description="What the number is multiplied with to be in the unit")] = 1.0
    pattern: Annotated[str, Field(description="Finds the number in the text: one group; empty for the first")] = ""
    combine: Annotated[
        Literal["sum", "mean", "max"], Field(description="What several files of one device are together")
    ] = "sum"

    @field_validator("pattern")
    @classmethod
    def _has_one_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"expected a regular expression ({error})") from None
        if pattern and groups != _ONE_GROUP:
            raise ValueError("expected one group, around the number")
        return pattern


class AcceleratorSource(_Section):
    """One kind of accelerator: folders of the kernel, or a program that prints a line for each."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="What it is called: gaudi, neuron")]
    model: Annotated[str, Field(description="Product name, for all of them")] = ""
    folders: Annotated[
        str, Field(description="Folders of devices below /sys, * allowed: class/accel/accel*/device")
    ] = ""
    command: Annotated[tuple[str, ...], Field(description="A program that prints comma-separated values")] = ()
    fields: Annotated[tuple[str, ...], Field(description="What the program's values are, in their order")] = ()
    skip_lines: Annotated[int, Field(ge=0, le=100, description="Lines before the first device")] = 0
    identity: Annotated[
        str, Field(description="File or field with the device's unique id; a folder's own name where there is none")
    ] = ""
    device_file: Annotated[
        str,
        Field(
            pattern=r"^(/dev/[^{}]*(\{index\}[^{}]*)?)?$",
            description="What a process opens to use it: /dev/neuron{index}; empty for unknown",
        ),
    ] = ""
    columns: Annotated[dict[str, Value], Field(min_length=1, description="What is read, by column of gpu_sample")]

    @field_validator("columns")
    @classmethod
    def _are_columns(cls, columns: dict[str, Value]) -> dict[str, Value]:
        for name in columns:
            if name not in LIMITS:
                close = nearest(name, list(LIMITS)) or f"expected one of {', '.join(LIMITS)}"
                raise ValueError(f"found {name}; {close}")
        return columns

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if bool(self.folders) == bool(self.command):
            raise ValueError(f"{self.name}: expected either folders or a command")
        reads = [value.read for value in self.columns.values()] + ([self.identity] if self.identity else [])
        if self.command:
            missing = [
                read for read in (*reads, "" if self.identity else "identity") if read and read not in self.fields
            ]
            if missing:
                raise ValueError(f"{self.name}: found {missing[0]}, expected one of fields: {', '.join(self.fields)}")
        elif any(path.startswith("/") or ".." in path.split("/") for path in (self.folders, *reads)):
            raise ValueError(f"{self.name}: expected paths below /sys, and below the device's folder")
        return self


class AcceleratorSettings(DeviceSettings):
    """The kinds of accelerators of this node, and what tells the job of a process besides its cgroup."""

    sources: Annotated[tuple[AcceleratorSource, ...], Field(description="One for each kind")] = ()
    answer_seconds: Annotated[float, Field(gt=0, le=60, description="A command that takes longer is ended")] = 4.0

    @field_validator("sources")
    @classmethod
    def _have_names_of_their_own(cls, sources: tuple[AcceleratorSource, ...]) -> tuple[AcceleratorSource, ...]:
        names = [source.name for source in sources]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"found {twice} twice, expected each name once")
        return sources
