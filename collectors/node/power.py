"""Power, energy, temperatures and fans of a node, outside its GPUs."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from collectors.node._cray import cray
from collectors.node._hwmon import hwmon
from collectors.node._rapl import Rapl
from ledger.errors import SourceMissing
from ledger.registry import Row, collector


@collector(emits=("power_sample",), every_seconds=30)
def power(
    sysfs: Path = Path("/sys"), clock: Callable[[], float] = time.monotonic
) -> Callable[[], Iterable[tuple[str, Row]]]:
    """Open a round that yields one row per meter: RAPL, the drivers' sensors, a Cray's board.

    Meters overlap: a core lies in its package, a platform around it, a node around all. Rows that are not overlapping
    may be summed; the rest never. RAPL's counters wrap within minutes or hours: while the agent runs, wraps are added
    up; where more than one may have passed unseen, the energy is null.

    Raises: SourceMissing: the node has no meter. Nulls: what a meter does not measure; a value that is for root alone
    (`is_readable` is false then), faulty, or of a sensor that is wired to nothing.
    Source: Documentation/power/powercap, Documentation/hwmon/sysfs-interface.
    """
    domains = Rapl(sysfs, clock)

    def one_round() -> Iterator[tuple[str, Row]]:
        of_rapl = list(domains.rows())
        is_alone = not any(row["is_readable"] for row in of_rapl)
        found = [*of_rapl, *hwmon(sysfs), *cray(sysfs, is_alone=is_alone)]
        if not found:
            raise SourceMissing(
                f"{sysfs / 'class/powercap'} and {sysfs / 'class/hwmon'} have no meter",
                hint="set collectors.power.enabled = false on this node",
            )
        yield from (("power_sample", row) for row in found)

    return one_round
