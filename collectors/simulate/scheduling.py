"""Who runs where and when: first come, first served, on whole devices, with faults that send jobs back."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from collectors.simulate import traces
from collectors.simulate.shapes import STEP, Cluster, Fault, Job, Orphan, Trouble, on_grid

_NEVER: Final = 2**60
_WIDTH: Final = 8
_LEAST_RUN: Final = 60
_MARGIN: Final = 1_200
_NOTICE: Final = 7_200
"""Seconds that a job may run into a pause."""

_NAMED_SHARE: Final = 0.3

# Hours after which a person takes a waiting job back.
_PATIENCE_HOURS: Final = (4.0, 30.0)

Seconds = npt.NDArray[np.int64]


@dataclass
class Board:
    """The devices of one cluster and when each is free again."""

    plan: Cluster
    cluster: str
    rng: np.random.Generator
    troubles: list[tuple[int, Trouble]]
    nodes: list[int] = field(init=False)
    free: Seconds = field(init=False)
    device: Seconds = field(init=False)
    gaps: list[tuple[int, int, tuple[int, int]]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.nodes = [node.index for node in self.plan.nodes if node.provider.cluster == self.cluster]
        self.free = np.full((len(self.nodes), _WIDTH), _NEVER, dtype=np.int64)
        self.device = np.full((len(self.nodes), _WIDTH), -1, dtype=np.int64)
        place = {node: row for row, node in enumerate(self.nodes)}
        for device in self.plan.devices:
            if device.is_placeable and device.node in place:
                row = place[device.node]
                self.free[row, device.gpu_index] = self.plan.nodes[device.node].start
                self.device[row, device.gpu_index] = device.index

    def ready(self, job: Job, width: int, earliest: int) -> Seconds:
        """Return for each node when it could give `width` devices to a job, or never."""
        at = np.maximum(np.partition(self.free, width - 1, axis=1)[:, width - 1], earliest)
        for pause in self.plan.pauses:
            if pause.node in self.nodes:
                row = self.nodes.index(pause.node)
                # Nothing long is started shortly before: the pause was announced.
                stays = at[row] < pause.start < at[row] + job.duration - _NOTICE
                if stays or pause.start <= at[row] < pause.end:
                    at[row] = pause.end
        for row, node in enumerate(self.nodes):
            known = self.plan.nodes[node]
            wrong = job.gpu_model and job.gpu_model not in known.hardware.gpu_model
            if wrong or at[row] > self.plan.node_end(node) - _MARGIN:
                at[row] = _NEVER
        return at

    def place(self, job: Job) -> tuple[int, list[tuple[int, int]]]:
        """Return when a job can start and the places (row, slot) it gets."""
        width = min(int(job.gpus), _WIDTH)
        rows = max(1, int(job.gpus) // _WIDTH)
        if rows > len(self.nodes):
            return _NEVER, []
        start, earliest = -1, job.eligible
        # Nodes that are ready early may be paused by the time the last one is: ask again until all agree.
        while start != earliest:
            earliest = max(start, earliest)
            at = self.ready(job, width, earliest)
            # The emptiest of equals is taken: that spreads small jobs, and fragments the cluster.
            spare = (self.free <= at[:, None]).sum(axis=1)
            order = np.lexsort((-spare, at))[:rows]
            start = int(at[order].max())
            if start >= self.plan.end:
                return _NEVER, []
        places = [(int(row), int(slot)) for row in order for slot in np.argsort(self.free[row], kind="stable")[:width]]
        return start, places

    def keep_gaps(self, start: int, places: list[tuple[int, int]]) -> None:
        """Remember how long each place waits for a job that needs more than itself: small jobs may use it."""
        for place in places:
            if self.free[place] < start - _MARGIN:
                self.gaps.append((int(self.free[place]), start, place))

    def fill_gap(self, job: Job) -> tuple[int, tuple[int, int]] | None:
        """Take a gap for a job of one device that ends before the gap does."""
        if job.gpus != 1 or job.gpu_model:
            return None
        for index, (begin, end, place) in enumerate(self.gaps):
            start = max(begin, job.eligible)
            node = self.nodes[place[0]]
            paused = any(each.node == node and each.start < end and start < each.end for each in self.plan.pauses)
            if start + job.duration <= end and not paused:
                self.gaps[index] = (start + job.duration, end, place)
                return start, place
        return None

    def due(self, job: Job, start: int, finish: int) -> tuple[int, Trouble] | None:
        """Take the next trouble off the list if this job is the one it hits."""
        for trouble in self.troubles:
            at, kind = trouble
            hit = on_grid(max(at, start + 1_800))
            whole = int(job.gpus) >= _WIDTH
            if hit < min(finish, self.plan.end) - 1_800 and (whole if kind == "down" else job.gpus > 1):
                self.troubles.remove(trouble)
                return hit, kind
        return None


def schedule(
    plan: Cluster, cluster: str, asked: Iterable[Job], rng: np.random.Generator, troubles: list[tuple[int, Trouble]]
) -> None:
    """Give each request of one cluster its devices and times, and add the runs to the plan."""
    board = Board(plan, cluster, rng, troubles)
    queue = [(job.eligible, index, job) for index, job in enumerate(asked)]
    heapq.heapify(queue)
    first = int(rng.integers(1_000, 9_000))
    given = [0, 0]
    latest: dict[str, Job] = {}
    serial = len(queue)
    while queue:
        _, _, job = heapq.heappop(queue)
        if not job.job_id:
            # The scheduler's database was lost once and counts from the same number again: ids recur.
            life = int(job.submitted >= on_grid(plan.start + 0.6 * (plan.end - plan.start)))
            # Never that of a job that lives, or lived this hour: a scheduler knows what runs.
            while _is_taken(latest.get(str(first + given[life])), job.submitted):
                given[life] += 1
            job.job_id = str(first + given[life])
            given[life] += 1
        again = _run(board, job)
        latest[job.job_id] = again or job
        if again is not None:
            serial += 1
            heapq.heappush(queue, (again.eligible, serial, again))
    for at, _ in board.troubles:
        _break_idle(board, at)


def _is_taken(earlier: Job | None, at: int) -> bool:
    """Tell whether the job that has an id may still be running, or was in the hour of an instant."""
    return earlier is not None and (earlier.ended is None or earlier.ended > at - 3_600)


def _run(board: Board, job: Job) -> Job | None:
    """Run a job, or leave it pending; return the run that follows where a fault ended it."""
    plan, rng = board.plan, board.rng
    start, places = board.place(job)
    gap = board.fill_gap(job) if start > job.eligible else None
    job.index = len(plan.jobs)
    plan.jobs.append(job)
    job.reason = ("Resources" if rng.random() < 0.8 else "Priority") if start > job.eligible + 60 else ""  # noqa: PLR2004
    if gap is not None and gap[0] < min(start, plan.end):
        _start_in_gap(board, job, *gap)
        return None
    if _gives_up(board, job, start) or start == _NEVER:
        return None
    board.keep_gaps(start, places)
    nodes = sorted({board.nodes[row] for row, _ in places})
    devices = tuple(sorted(int(board.device[place]) for place in places))
    leaves = min(plan.node_end(node) if plan.nodes[node].end is not None else _NEVER for node in nodes)
    finish = min(start + max(job.duration, _LEAST_RUN), leaves)
    job.started, job.devices, job.state = start, devices, "RUNNING"
    trouble = board.due(job, start, finish)
    if trouble is not None:
        return _broken(board, job, places, *trouble)
    if finish <= plan.end:
        job.ended = finish
        job.state, job.exit_code = _outcome(rng) if finish < leaves else ("NODE_FAIL", "0:1")
    busy = dict.fromkeys(places, finish)
    _leave_orphan(board, job, places, busy)
    for place, until in busy.items():
        board.free[place] = until
    return None


def _start_in_gap(board: Board, job: Job, start: int, place: tuple[int, int]) -> None:
    job.started, job.devices, job.state = start, (int(board.device[place]),), "RUNNING"
    if start + job.duration <= board.plan.end:
        job.ended = start + job.duration
        job.state, job.exit_code = _outcome(board.rng)


def _gives_up(board: Board, job: Job, start: int) -> bool:
    """Cancel a job that would wait longer than its user does."""
    until = on_grid(job.eligible + board.rng.uniform(*_PATIENCE_HOURS) * 3_600)
    if job.kind == "inference" or until >= min(start, board.plan.end):
        return False
    job.state, job.ended, job.exit_code = "CANCELLED", until, "0:15"
    return True


def _outcome(rng: np.random.Generator) -> tuple[str, str]:
    draw = rng.random()
    if draw < traces.COMPLETED_SHARE:
        return "COMPLETED", "0:0"
    if draw < traces.COMPLETED_SHARE + traces.CANCELLED_SHARE:
        return "CANCELLED", "0:15"
    return ("TIMEOUT", "0:15") if draw > 0.95 else ("FAILED", "1:0")  # noqa: PLR2004


def _broken(board: Board, job: Job, places: list[tuple[int, int]], at: int, kind: Trouble) -> Job:
    """End a job at a fault, take what broke out of service, and send the job back into the queue."""
    plan, rng = board.plan, board.rng
    job.ended, job.state, job.exit_code = at, "NODE_FAIL", "0:1"
    for place in places:
        board.free[place] = at
    row = places[int(rng.integers(len(places)))][0]
    node = board.nodes[row]
    back = on_grid(at + (rng.uniform(2, 6) if kind == "xid" else rng.uniform(1, 2)) * 3_600)
    back = min(back, plan.node_end(node))
    hit = [place for place in places if place[0] == row]
    hit = hit if kind == "down" else hit[:1]
    for place in hit:
        board.free[place] = back
    plan.faults.append(Fault(kind, node, tuple(sorted(int(board.device[place]) for place in hit)), at, back, job.index))
    left = max(job.duration - (at - (job.started or at)), 3_600)
    return replace(
        job, restart_count=job.restart_count + 1, eligible=at + 12 * STEP, duration=left, state="PENDING", started=None,
        ended=None, exit_code="0:0", devices=(), reason="",
    )  # fmt: skip


def _leave_orphan(board: Board, job: Job, places: list[tuple[int, int]], busy: dict[tuple[int, int], int]) -> None:
    """Let one in fifty jobs leave a process behind that keeps the scheduler away until somebody kills it."""
    plan, rng = board.plan, board.rng
    if job.ended is None or job.state == "NODE_FAIL" or rng.random() > 0.02:  # noqa: PLR2004
        return
    place = places[0]
    node = board.nodes[place[0]]
    until = on_grid(min(job.ended + rng.uniform(0.5, 4) * 3_600, plan.node_end(node)))
    blocked = any(pause.node == node and pause.start < until and job.ended < pause.end for pause in plan.pauses)
    if until < job.ended + 900 or blocked:
        return
    plan.orphans.append(
        Orphan(int(board.device[place]), job.index, job.ended, until, keeps_id=bool(rng.random() < _NAMED_SHARE))
    )
    busy[place] = until


def _break_idle(board: Board, at: int) -> None:
    """Break a free device where no job was there to be hit."""
    places = np.argwhere(board.free <= at)
    if len(places) == 0:
        return
    place = (int(places[0][0]), int(places[0][1]))
    node = board.nodes[place[0]]
    start = max(on_grid(at), board.plan.nodes[node].start)
    back = min(start + 10_800, board.plan.node_end(node))
    if back > start:
        board.free[place] = back
        board.plan.faults.append(Fault("xid", node, (int(board.device[place]),), start, back, -1))
