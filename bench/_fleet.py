"""Many simulated agents in one process: batches are written once and patched, so that sending them costs little.

Each agent is a node with eight GPUs and sends what the real agent of this project collects from the files of such a
node (`bench._tree`), each collector's rows at that collector's own pace. It sends at its own instant of every step; a
batch that is not acknowledged is sent again under its id.
"""

import asyncio
import dataclasses
import hashlib
import json
import math
import random
import re
import resource
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import zstandard

from bench import _tree
from bench._measure import Answered, minutes, p99
from collectors._round import RUN_TABLE
from collectors.agent import run_collectors
from collectors.fake_nvml import FakeNvml, Gpu, Phase, Process, Scenario
from collectors.wire import Batch, columns_of
from ledger.config import Settings

STEP_SECONDS: Final = 10
RAMP_SECONDS: Final = 60
"""In so long all agents begin, one after the other; what is sustained is counted from then on."""

CLUSTER: Final = "bench"
STEPS: Final = 6
"""Of a minute: in the first of them comes what is collected once a minute."""

FIRST: Final = "first"

_NODE: Final = "n00000"
_BATCH_ID: Final = "0" * 32
_BOOT_ID: Final = "5f0c8a52-8f0e-4a2b-9b55-0c5f6d3b9a10"
_INSTANT: Final = 1_763_640_000_000
_AT: Final = datetime.fromtimestamp(_INSTANT / 1000, UTC)
_VARIANTS: Final = 24

# Health of devices is read once a minute, and rounds of collectors that went alike are told together.
_SLOW: Final = frozenset({"gpu_health_sample", RUN_TABLE})
_ONCE: Final = frozenset({"gpu", "node", "gpu_event", "node_event"})
_HOLDERS_SECONDS: Final = 30.0
_ATTEMPTS: Final = 8
_PAUSE_SECONDS: Final = 1.0

Tables = dict[str, list[dict[str, Any]]]


def token_of(node: str) -> str:
    """Return a node's token; the bench knows them all."""
    return hashlib.sha256(f"bench {node}".encode()).hexdigest()


def node_of(index: int) -> str:
    """Return a node's name; all are of one length."""
    return f"n{index + 1:05d}"


def kind_of(index: int, count: int) -> str:
    """Return which batch an agent's next one is, after so many: agents are at different steps of their minutes."""
    return FIRST if count == 0 else str((count + index) % STEPS)


def rows_of_a_round() -> Tables:
    """Return what the real agent collects on a node with eight GPUs, as if each collector went in this round."""
    gpus = tuple(
        Gpu(f"GPU-{_NODE}-{index}", phases=(Phase(kernel=0.9, processes=(Process(pid),)),))
        for index, pid in enumerate(_tree.PIDS)
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        _tree.write(root)
        settings = Settings.model_validate(
            {
                "agent": {"cluster": CLUSTER, "node": _NODE, "root": str(root)},
                "collectors": _tree.sections(root),
            }
        )
        found = run_collectors(settings=settings, offers={"library": FakeNvml(Scenario(gpus=gpus), time.monotonic)})
    tables = {name: [_with_its_own_job(row) for row in rows] for name, rows in found.tables.items()}
    return {**tables, "gpu_holder_sample": [_holder(row) for row in tables["gpu_process_sample"]]}


def _with_its_own_job(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose job is of this node alone: the files of all nodes name the same ones."""
    jobs = {name: f"{_NODE}-{row[name]}" for name in ("job_id", "process_job_ids") if row.get(name)}
    return {**row, **jobs}


def _holder(process: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the kubelet would say of the device of a process: no kubelet is asked here."""
    same = ("cluster", "node", "boot_id", "sampled_at", "gpu_uuid", "job_id")
    return {
        **{name: process[name] for name in same},
        "step_seconds": _HOLDERS_SECONDS,
        "container": "main",
        "namespace": "research",
        "pod_name": process["job_id"],
        "resource": "nvidia.com/gpu",
        "replica_count": None,
        "attribution_source": "pod_resources",
        "attribution_confidence_ratio": 0.95,
    }


def _is_due(table: str, row: Mapping[str, Any], step: int) -> bool:
    """Tell whether a row comes in a step of the minute: a collector of 15 seconds goes in four of six."""
    if table in _ONCE:
        return False
    if table in _SLOW:
        return step == 0
    pace = float(row["step_seconds"])
    return math.ceil(step * STEP_SECONDS / pace) * pace < (step + 1) * STEP_SECONDS


def _varied(value: object, name: str, chance: random.Random) -> object:
    """Return a value as another node or instant would have it, in its column's range; what began before stays."""
    if isinstance(value, datetime):
        return min(_AT, value)
    if isinstance(value, float) and name.endswith("_ratio"):
        return round(chance.random(), 4)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and name.endswith("_total"):
        return value + chance.randrange(10_000)
    return value


@dataclass(frozen=True)
class Templates:
    """Encoded batches with places for node, id and instant, and the rows of each table in them, by `kind_of`.

    The first batch of an agent tells of one round of each collector, the first of a minute of the rounds of that one.
    """

    bodies: dict[str, list[bytes]]
    rows: dict[str, dict[str, int]]

    def body(self, kind: str, node: str, batch_id: str, at_milliseconds: int, variant: int) -> bytes:
        """Return one batch, as it is posted."""
        chosen = self.bodies[kind]
        text = chosen[variant % len(chosen)]
        text = text.replace(_NODE.encode(), node.encode()).replace(_BATCH_ID.encode(), batch_id.encode())
        text = text.replace(_packed(_INSTANT), _packed(at_milliseconds))
        return zstandard.ZstdCompressor(level=1).compress(text)

    def rows_a_minute(self) -> int:
        """Return how many rows an agent sends in a minute."""
        return sum(count for step in range(STEPS) for count in self.rows[str(step)].values())


def _packed(instant: int) -> bytes:
    return b"\xcf" + instant.to_bytes(8, "big")


def templates(seed: int) -> Templates:
    """Return the batches that all agents share."""
    chance = random.Random(seed)
    tables = rows_of_a_round()
    of_a_minute = {**tables, RUN_TABLE: [_of_a_minute(row) for row in tables[RUN_TABLE]]}
    given = {FIRST: tables}
    for step in range(STEPS):
        due = {name: [row for row in rows if _is_due(name, row, step)] for name, rows in of_a_minute.items()}
        given[str(step)] = {name: rows for name, rows in due.items() if rows}
    return Templates(
        {kind: [_encoded(each, chance) for _ in range(_VARIANTS)] for kind, each in given.items()},
        {kind: {name: len(rows) for name, rows in each.items()} for kind, each in given.items()},
    )


def _of_a_minute(row: dict[str, Any]) -> dict[str, Any]:
    """Return a collector's round as the agent tells those of a minute, which went alike."""
    rounds = max(1, round(STEP_SECONDS * STEPS / row["step_seconds"]))
    sums = {name: row[name] * rounds for name in ("row_count", "duration_seconds", "round_count")}
    return {**row, **sums}


def _encoded(tables: Tables, chance: random.Random) -> bytes:
    varied = {
        name: columns_of({column: _varied(value, column, chance) for column, value in row.items()} for row in rows)
        for name, rows in tables.items()
    }
    return msgspec.msgpack.encode(Batch(1, _BATCH_ID, _NODE, _BOOT_ID, varied))


@dataclass
class Fleet:
    """Agents against one hub: what they sent, what was acknowledged, and how long that took."""

    host: str
    port: int
    templates: Templates
    begin: float
    end: float
    answered: list[Answered] = field(default_factory=list)
    answered_before: list[Answered] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    given_up: int = 0
    connections: dict[str, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=dict)

    async def agent(self, index: int, delay: float) -> None:
        """Send one batch a step until the end."""
        node, count = node_of(index), 0
        due = time.perf_counter() + delay
        while due < self.end:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self.late.append(time.perf_counter() - due)
            kind = kind_of(index, count)
            batch_id = uuid.uuid4().hex
            body = self.templates.body(kind, node, batch_id, round(time.time() * 1000), index + count)
            await self._deliver(node, kind, body)
            count += 1
            due += STEP_SECONDS

    async def _deliver(self, node: str, kind: str, body: bytes) -> None:
        began = time.perf_counter()
        for _ in range(_ATTEMPTS):
            status, said = await self._post(node, body)
            if status == "200":
                answered = self.answered if began >= self.begin else self.answered_before
                answered.append((time.time(), time.perf_counter() - began))
                for name, count in self.templates.rows[kind].items():
                    self.sent[name] = self.sent.get(name, 0) + count
                return
            reason = f"{status} {said[:200]}"
            self.refused[reason] = self.refused.get(reason, 0) + 1
            await asyncio.sleep(_PAUSE_SECONDS)
        self.given_up += 1

    async def _post(self, node: str, body: bytes) -> tuple[str, str]:
        """Return the status and the answer's text; each agent keeps its connection, until the hub ends it."""
        head = (
            f"POST /api/v1/ingest HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"Authorization: Bearer {token_of(node)}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        open_one = self.connections.pop(node, None)
        try:
            if open_one is None or open_one[0].at_eof():
                open_one = await asyncio.open_connection(self.host, self.port)
        except OSError as error:
            return "no connection", type(error).__name__
        reader, writer = open_one
        try:
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(re.findall(rb"(?i)\ncontent-length: *(\d+)", answer)[0])
            text = await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError) as error:
            writer.close()
            return "no answer", type(error).__name__
        self.connections[node] = open_one
        return answer.split()[1].decode(), text.decode()


async def run(host: str, port: int, agents: int, seconds: float) -> dict[str, Any]:
    """Return what came of so many seconds of all agents, and of the time before in which they began."""
    begin = time.perf_counter() + RAMP_SECONDS
    fleet = Fleet(host, port, templates(1), begin, begin + seconds)
    pauses = (index * RAMP_SECONDS / agents for index in range(agents))
    await asyncio.gather(*(fleet.agent(index, pause) for index, pause in enumerate(pauses)))
    taken, before = ([seconds for _, seconds in each] for each in (fleet.answered, fleet.answered_before))
    return {
        "batches": len(taken),
        "p50_seconds": statistics.median(taken),
        "p99_seconds": p99(taken),
        "max_seconds": max(taken),
        "ramp_p99_seconds": p99(before),
        "minutes": [dataclasses.asdict(each) for each in minutes(fleet.answered)],
        "generator_late_seconds": p99(fleet.late),
        "generator_cpu_seconds": time.process_time(),
        "sent": fleet.sent,
        "refused": fleet.refused,
        "given_up": fleet.given_up,
    }


if __name__ == "__main__":
    where, at_port, count, duration = sys.argv[1:5]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(json.dumps(asyncio.run(run(where, int(at_port), int(count), float(duration)))))
