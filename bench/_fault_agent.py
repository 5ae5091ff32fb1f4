"""An agent as it is shipped, on a fake driver, that also tells on its output what it puts into its spool.

Each message is a length of four bytes and msgpack: `{number, tables}` before the rows are kept, `{number, is_kept}`
after it. A process that was killed in between leaves the first alone. Commands come on its input, one a line:
`clock SECONDS` sets how far its wall clock is off.
"""

import os
import sys
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Final

import msgspec

from collectors._round import Tables, utc_now
from collectors._spool import Spool
from collectors.agent import Agent
from collectors.fake_nvml import FakeNvml, Gpu, Phase, Process, Scenario
from collectors.wire import columns_of
from ledger.config import Settings
from ledger.errors import StoreError

_GPUS: Final = 2
# What else is written on the output, as logs are, goes where errors go.
_OUT: Final = os.dup(1)
os.dup2(2, 1)


def tell(message: Mapping[str, Any]) -> None:
    """Write one message as one, whatever the size."""
    body = msgspec.msgpack.encode(message)
    left = len(body).to_bytes(4, "big") + body
    while left:
        left = left[os.write(_OUT, left) :]


class ToldSpool(Spool):
    """A spool that tells what it is given, and whether it has it."""

    number = 0

    def append(self, tables: Tables) -> int:
        """Keep rows."""
        self.number += 1
        told = {name: columns_of(rows) for name, rows in tables.items()}
        tell({"number": self.number, "tables": told})
        try:
            gone = super().append(tables)
        except StoreError as error:
            tell({"number": self.number, "is_kept": False, "reason": error.message})
            raise
        tell({"number": self.number, "is_kept": True, "gone": gone})
        return gone


class Clock:
    """The wall clock, and how far it is off."""

    def __init__(self) -> None:
        self.off = timedelta(0)

    def now(self) -> datetime:
        """Return what this node takes for the time."""
        return utc_now() + self.off

    def obey(self) -> None:
        """Follow commands until the input ends."""
        for line in sys.stdin:
            command, _, value = line.partition(" ")
            if command == "clock":
                self.off = timedelta(seconds=float(value))


def settings(hub: str, node: str, token: str, spool: Path) -> Settings:
    """Return the configuration of an agent in a hurry."""
    return Settings.model_validate(
        {
            "agent": {
                "hub": hub,
                "cluster": "faults",
                "node": node,
                "token": token,
                "spool": spool,
                "ship_every_seconds": 0.2,
            },
            "collectors": {name: {"every_seconds": 1} for name in ("nvml", "host", "pressure")},
        }
    )


def main(hub: str, node: str, token: str, spool: str, *, once: bool) -> int:
    """Run until a signal asks to stop, or collect once and ship until the hub has everything."""
    import signal  # noqa: PLC0415  beside its one use

    clock, stop = Clock(), threading.Event()
    gpus = tuple(
        Gpu(f"GPU-{node}-{index}", phases=(Phase(kernel=0.5, processes=(Process(os.getpid()),)),))
        for index in range(_GPUS)
    )
    library = FakeNvml(Scenario(gpus=gpus), lambda: utc_now().timestamp() % 1e6)
    agent = Agent(settings(hub, node, token, Path(spool)), offers={"library": library}, now=clock.now)
    agent.spool.__class__ = ToldSpool
    if once:
        return 0 if agent.once() else 1

    def told(_: int, __: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, told)
    threading.Thread(target=clock.obey, daemon=True).start()
    agent.run(stop)
    agent.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5], once="--once" in sys.argv[5:]))
