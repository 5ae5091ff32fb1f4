"""Agents against a hub while processes are killed, the network is cut, disks fill and clocks jump.

What each agent puts into its spool it tells beforehand to this process, which writes its own account; at the end the
store must hold each row of it, once. `python -m bench.faults [KILLS] [SEED]` prints a table.
"""

import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from app.services.tokens import hashed
from bench._fault_account import Account, Found, compare
from bench._measure import Line, table
from bench._proxy import Proxy, Way
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import AgentToken

_HUB_SECONDS: Final = 180.0
_CUT_SECONDS: Final = 8.0
_FELT_SECONDS: Final = 8.0
"""So long a full disk, or another time, waits for a round that it meets: agents take one each second."""

_WAYS: Final[tuple[Way, ...]] = ("refused", "cut", "answer lost", "stalled")
_ENDLESS: Final = resource.RLIM_INFINITY


@dataclass
class Node:
    """One agent over all its lives."""

    name: str
    token: str
    spool: Path
    account: Account = field(default_factory=Account)
    process: subprocess.Popen[bytes] | None = None
    readers: list[threading.Thread] = field(default_factory=list)

    def start(self, port: int, *options: str) -> subprocess.Popen[bytes]:
        """Begin another life."""
        address = f"http://127.0.0.1:{port}"
        command = [
            sys.executable,
            "-m",
            "bench._fault_agent",
            address,
            self.name,
            self.token,
            str(self.spool),
            *options,
        ]
        with self.spool.with_suffix(".log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        reader = threading.Thread(target=self.account.read, args=(len(self.readers), process.stdout), daemon=True)
        reader.start()
        self.readers.append(reader)
        self.process = process
        return process

    def end(self, number: signal.Signals) -> None:
        """End this life."""
        if self.process is None:
            return
        self.process.send_signal(number)
        self.process.wait(timeout=_HUB_SECONDS)
        for stream in (self.process.stdin, self.process.stdout):
            self.readers[-1].join(timeout=_HUB_SECONDS)
            if stream is not None:
                stream.close()
        self.process = None

    def say(self, command: str) -> None:
        """Give the agent a command."""
        if self.process is not None and self.process.stdin is not None:
            try:
                self.process.stdin.write(f"{command}\n".encode())
                self.process.stdin.flush()
            except BrokenPipeError:
                return


@dataclass
class Hub:
    """A hub over all its lives, on one port."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the store's address."""
        return f"duckdb:{self.folder / 'ledger.duckdb'}"

    def start(self) -> None:
        """Begin another life; it answers a while later."""
        program = "from app.cli import main; main()"
        with (self.folder / "hub.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, "up", "--port", str(self.port), "--store", self.url],
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def wait(self) -> None:
        """Wait until it answers."""
        until = time.monotonic() + _HUB_SECONDS
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        ended = None if self.process is None else self.process.poll()
        log = (self.folder / "hub.log").read_text(encoding="utf-8", errors="replace")[-2000:]
        raise SystemExit(f"bench: the hub does not answer; it ended with {ended}:\n{log}")

    def end(self, number: signal.Signals) -> None:
        """End this life."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=_HUB_SECONDS)
            self.process = None


@dataclass
class Harm:
    """What may happen to a hub and its agents, and how often it did."""

    hub: Hub
    nodes: list[Node]
    proxy: Proxy
    chance: random.Random
    done: Counter[str] = field(default_factory=Counter)

    def kill_agent(self) -> None:
        """Kill an agent, and start it again."""
        node = self.chance.choice(self.nodes)
        node.end(signal.SIGKILL)
        node.start(self.proxy.port)
        self.done["agents killed"] += 1

    def kill_hub(self) -> None:
        """Kill the hub while it works, and start it again."""
        self.hub.wait()
        time.sleep(self.chance.uniform(0.2, 1.5))
        self.hub.end(signal.SIGKILL)
        self.done["hubs killed"] += 1
        self.hub.start()

    def cut(self) -> None:
        """Let the network do harm for a while; an agent that begins then has not learned to wait."""
        self.hub.wait()
        self.proxy.way = self.chance.choice(_WAYS)
        self.done[f"network: {self.proxy.way}"] += 1
        before, until = self.proxy.harmed, time.monotonic() + _CUT_SECONDS
        self.kill_agent()
        while self.proxy.harmed == before and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(self.chance.uniform(0.1, 1.0))
        self.proxy.way = "open"

    def fill_disk(self) -> None:
        """Let the disk of an agent or of the hub take nothing more for a while."""
        node = self.chance.choice(self.nodes)
        is_hub = self.chance.random() < 0.5  # noqa: PLR2004  one or the other
        if is_hub:
            # One that cannot write when it starts ends with a line that says so: that is no fault to live through.
            self.hub.wait()
        process = self.hub.process if is_hub else node.process
        files = [Path(self.hub.url.removeprefix("duckdb:"))] if is_hub else [node.spool]
        files = [path for each in files for path in (each, each.with_name(f"{each.name}-wal"))]
        if process is None:
            return
        room = max((path.stat().st_size for path in files if path.exists()), default=0) if not is_hub else 4096
        _limit(process.pid, room)
        self.done["disk full: hub" if is_hub else "disk full: agent"] += 1
        before, until = node.account.refused_count, time.monotonic() + _FELT_SECONDS
        time.sleep(self.chance.uniform(1.0, 3.0))
        while not is_hub and node.account.refused_count == before and time.monotonic() < until:
            time.sleep(0.05)
        _limit(process.pid, _ENDLESS)

    def jump(self) -> None:
        """Set an agent's clock back, or a little ahead."""
        node = self.chance.choice(self.nodes)
        node.say(f"clock {self.chance.uniform(-3600, 240):.3f}")
        self.done["clock jumps"] += 1
        # Nobody sees a jump of an agent that is killed before its next round.
        before, until = len(node.account.intended), time.monotonic() + _FELT_SECONDS
        while len(node.account.intended) < before + 2 and time.monotonic() < until:
            time.sleep(0.05)


def _limit(pid: int, most: int) -> None:
    """Limit how long the files of a process may become."""
    try:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, _ENDLESS))
    except ProcessLookupError:
        return


def _free_port(chance: random.Random) -> int:
    """Return a port below those that the kernel gives to connections: a killed hub comes back to its own."""
    while True:
        port = chance.randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextmanager
def estate(folder: Path, agents: int, seed: int) -> Iterator[Harm]:
    """Start a hub and agents, and end whatever of them is alive."""
    chance = random.Random(seed)
    hub = Hub(folder, _free_port(chance))
    nodes = [Node(f"n{index}", f"token-{index}", folder / f"n{index}.db") for index in range(agents)]
    now = datetime.now(UTC)
    rows = [
        {"token_sha256": hashed(each.token), "node": each.name, "cluster": "faults", "created_at": now}
        for each in nodes
    ]
    with Store.open(hub.url) as store:
        store.append(AgentToken, to_frame(AgentToken, rows), source="bench")
    proxy = Proxy(hub.port, chance)
    try:
        hub.start()
        for node in nodes:
            node.start(proxy.port)
        hub.wait()
        yield Harm(hub, nodes, proxy, chance)
    finally:
        for node in nodes:
            node.end(signal.SIGKILL)
        hub.end(signal.SIGKILL)
        proxy.close()


def run(folder: Path, *, kills: int, agents: int, seed: int) -> tuple[list[Found], Counter[str], int]:
    """Do harm, let the agents bring what they have, and compare; the number of refused rows comes last."""
    with estate(folder, agents, seed) as harm:
        for one in _plan(harm, kills):
            one()
            time.sleep(harm.chance.uniform(0.1, 1.0))
        harm.hub.wait()
        for node in harm.nodes:
            node.end(signal.SIGTERM)
            for _ in range(5):
                life = node.start(harm.proxy.port, "--once")
                is_done = life.wait(timeout=_HUB_SECONDS) == 0
                node.end(signal.SIGTERM)
                if is_done:
                    break
        harm.hub.end(signal.SIGTERM)
        harm.done["connections broken"] = harm.proxy.harmed
        harm.done["answers lost"] = harm.proxy.lost
        harm.done["rounds refused by a full disk"] = sum(each.account.refused_count for each in harm.nodes)
        harm.done["rounds before the last one's instant"] = sum(each.account.set_back_count for each in harm.nodes)
        with Store.open(harm.hub.url) as store:
            found = compare(store, [node.account for node in harm.nodes])
            refused = int(store.select("SELECT count(*) AS n FROM rejected_row").item())
    return found, harm.done, refused


def _plan(harm: Harm, kills: int) -> list[Callable[[], None]]:
    """Return what shall happen, in a random order; each cut kills an agent too."""
    hubs, cuts, others = max(1, kills // 5), max(1, kills // 6), max(1, kills // 8)
    plan = [harm.kill_hub] * hubs + [harm.cut] * cuts + [harm.kill_agent] * (kills - hubs - cuts)
    plan += [harm.fill_disk, harm.jump] * others
    harm.chance.shuffle(plan)
    return plan


def main(kills: int, seed: int) -> int:
    """Print what was done and what became of the rows; return 1 if a row was lost, doubled or made up."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="clusterledger-faults-") as folder:
        found, done, refused = run(Path(folder), kills=kills, agents=4, seed=seed)
    lines = [Line(what, f"{count}") for what, count in sorted(done.items())]
    for each in found:
        said = f"{each.told} told, {each.stored} stored, "
        said += f"{each.second} second of their instant, " if each.second else ""
        said += f"{each.missing} lost, {each.twice} twice, {each.invented} made up"
        lines.append(Line(each.table, said, "0 lost, 0 twice, 0 made up"))
    second = sum(each.second for each in found)
    lines.append(Line("rows refused, but for those", f"{refused - second}", "0"))
    lines.append(Line("duration", f"{time.perf_counter() - began:.0f} s"))
    print(table(lines))
    return int(refused > second or any(each.missing or each.twice or each.invented for each in found))


if __name__ == "__main__":
    numbers = [int(each) for each in sys.argv[1:]]
    sys.exit(main(*(numbers + [100, 1][len(numbers) :])))
