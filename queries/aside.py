"""Large calls of rollups in a process of their own, behind everybody else.

What computes millions of rows holds this process's interpreter and the threads of Polars, and who waits for an
answer of a hub waits for both. Rows go over as files of Arrow; what is to be done, over the process's own pipes.
"""

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from ledger import memory
from ledger.beside import ENDED, Beside
from ledger.log import log
from queries._apart import computed
from queries.graph import Rollup, load

_LEAST_ROWS: Final = 100_000
"""What takes less than handing it over would."""

_NICE: Final = 19
_RESULT: Final = "result"


class _Asked(NamedTuple):
    """A call: which rollup, where its rows lie, and its other arguments."""

    rollup: str
    folder: str
    inputs: tuple[str, ...]
    others: Mapping[str, object]


class Aside:
    """One process for large calls; it begins with the first of them and ends with this one."""

    def __init__(self, least_rows: int = _LEAST_ROWS) -> None:
        self._least_rows = least_rows
        self._process = Beside(compute, nice=_NICE)

    @property
    def pid(self) -> int | None:
        """Return the process's id; None where none runs."""
        return self._process.pid

    def takes(self, inputs: Mapping[str, pl.DataFrame]) -> bool:
        """Tell whether a call is large enough."""
        return sum(frame.height for frame in inputs.values()) >= self._least_rows and not self._process.is_closed

    def compute(
        self, rollup: str, inputs: dict[str, pl.DataFrame], others: Mapping[str, object]
    ) -> pl.DataFrame | None:
        """Return what a rollup of this project makes of its inputs; None where that process has ended over it.

        The inputs are taken out of the mapping as they are handed over: this process does not hold them meanwhile.
        """
        names = tuple(inputs)
        try:
            with tempfile.TemporaryDirectory(prefix="clusterledger-") as folder:
                for name in names:
                    inputs.pop(name).write_ipc(Path(folder, name), compat_level=pl.CompatLevel.newest())
                memory.release()
                self._process.call(_Asked(rollup, folder, names, others))
                return pl.read_ipc(Path(folder, _RESULT))
        except (*ENDED, pl.exceptions.PolarsError) as error:
            log.warning("a rollup is not computed aside", rollup=rollup, message=str(error) or "its process ended")
            return None

    def close(self) -> None:
        """End the process, after the call that it works on."""
        self._process.close()


@cache
def _rollups() -> Mapping[str, Rollup]:
    return {each.name: each for each in load()}


def compute(asked: _Asked) -> str:
    """Compute a call into its folder, and give back what it took."""
    inputs = {name: pl.read_ipc(Path(asked.folder, name)) for name in asked.inputs}
    frame = computed(_rollups()[asked.rollup], inputs, asked.others)
    frame.write_ipc(Path(asked.folder, _RESULT), compat_level=pl.CompatLevel.newest())
    del inputs, frame
    memory.release()
    return asked.rollup
