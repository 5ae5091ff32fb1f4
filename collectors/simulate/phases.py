"""What one run of a job does over time: phases of one activity each."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from collectors.simulate.profiles import CHECKPOINT, EMPTY, LOADED, PROFILES, Activities, Activity, scaled, served
from collectors.simulate.shapes import STEP, Job, on_grid

FREE: Final = 0
SETUP: Final = 1
HELD: Final = 2
RUN: Final = 3
GRACE: Final = 4
ORPHAN: Final = 5
LOST: Final = 6
DOWN: Final = 7
"""What holds a stretch of a device: nobody, a job without, with an idle, with a working process, what it left behind
within the grace and after, or a fault."""

_HOUR: Final = 3_600
_CYCLE: Final = 10_200
_SAVE: Final = 240
_TURN: Final = 6_000
"""How often work that waits for something comes to a halt, at least."""
_HALT: Final = 1_500
"""How long it halts at most: nobody is told of less than half an hour."""
_STEADY: Final = 0.97
"""Work that is busy for longer than this comes to no halt."""
_IDLE_WORK: Final = 600
_FORGETFUL: Final = 3
"""Of so many notebooks one is left running."""


# Requests by hour of the day in UTC, as a share of the peak; an eighth is the smallest level that is not nothing.
_LOAD_BY_HOUR: Final = (1, 0, 0, 0, 1, 1, 2, 4, 6, 7, 8, 8, 7, 8, 8, 8, 7, 7, 6, 5, 5, 4, 3, 2)
_WEEKEND_LOSS: Final = 3
_FRIDAY: Final = 4

Phase = tuple[int, int, int, int]
"""Start, end, kind and activity."""


def load_at(second: int) -> float:
    """Return the share of the peak load of model servers at an instant: by hour of the day, less at weekends."""
    weekday = (second // 86_400 + 3) % 7
    steps = _LOAD_BY_HOUR[second // _HOUR % 24] - (_WEEKEND_LOSS if weekday > _FRIDAY else 0)
    return max(steps, 0) / 8


def phases(job: Job, start: int, end: int, activities: Activities) -> Iterator[Phase]:
    """Yield a run's phases from its start to its end, without holes."""
    empty = activities.index(EMPTY)
    if job.profile == "absent":
        yield start, end, SETUP, empty
        return
    ready = min(start + job.setup, end)
    loaded = min(ready + job.load, end)
    yield start, ready, SETUP, empty
    yield ready, loaded, HELD, activities.index(scaled(_loaded(job), job.level))
    body = {"serving": _serving, "notebook": _notebook, "idle": _idle}.get(job.profile, _cycles)
    if loaded < end:
        yield from body(job, loaded, end, activities)


def _loaded(job: Job) -> Activity:
    """Return what a run holds before it works: never more memory than its work needs."""
    work = PROFILES.get(job.profile, LOADED)
    return replace(LOADED, memory=min(LOADED.memory, work.memory))


def _cycles(job: Job, start: int, end: int, activities: Activities) -> Iterator[Phase]:
    """Work with a checkpoint after each cycle, as training does, or in turns with nothing to do."""
    work = activities.index(scaled(PROFILES[job.profile], job.level))
    if job.busy < _STEADY:
        turn = min(_TURN, on_grid(_HALT / (1 - job.busy)), end - start)
        run = max(on_grid(turn * job.busy + STEP / 2), STEP)
        rest, pause = activities.index(scaled(_loaded(job), job.level)), max(turn - run, STEP)
    else:
        rest = activities.index(scaled(replace(CHECKPOINT, memory=PROFILES[job.profile].memory), job.level))
        run, pause = _CYCLE, _SAVE
    at = start
    while at < end:
        stop = min(at + run, end)
        yield at, stop, RUN, work
        at = min(stop + pause, end)
        if stop < at:
            yield stop, at, HELD, rest


def _idle(job: Job, start: int, end: int, activities: Activities) -> Iterator[Phase]:
    """Work for ten minutes, or less where it is busy for less, then hold the memory and do nothing."""
    stop = min(start + min(_IDLE_WORK, on_grid(job.busy * (end - start))), end)
    if start < stop:
        yield start, stop, RUN, activities.index(scaled(PROFILES["interactive"], job.level))
    if stop < end:
        yield stop, end, HELD, activities.index(scaled(LOADED, job.level))


def _notebook(job: Job, start: int, end: int, activities: Activities) -> Iterator[Phase]:
    """Work in bursts, nine minutes of each thirty, as a person tries things; some leave and forget it."""
    burst = activities.index(scaled(PROFILES["interactive"], job.level))
    wait = activities.index(scaled(LOADED, job.level * 0.4))
    left = on_grid(start + 0.6 * (end - start)) if job.index % _FORGETFUL == 0 else end
    at = start
    while at < max(left, start + STEP):
        stop = min(at + 540, end)
        yield at, stop, RUN, burst
        at = min(stop + 1_260, end)
        if stop < at:
            yield stop, at, HELD, wait
    if at < end:
        yield at, end, HELD, wait


def _serving(job: Job, start: int, end: int, activities: Activities) -> Iterator[Phase]:
    """Serve what each clock hour brings; at night nothing comes."""
    at = start
    while at < end:
        stop = min((at // _HOUR + 1) * _HOUR, end)
        level = load_at(at)
        yield at, stop, RUN if level > 0 else HELD, activities.index(scaled(served(level), job.level))
        at = stop
