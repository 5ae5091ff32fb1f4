"""What people ask of a cluster: job requests over time, after the laws of real traces."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from collectors.simulate import traces
from collectors.simulate.estate import AWS, MODELS, OWNED, TEAMS
from collectors.simulate.profiles import PROFILES, duty_cycle
from collectors.simulate.shapes import STEP, Job, on_grid

_DAY: Final = 86_400
_HOUR: Final = 3_600

# Submissions by hour of the day: people work, nightly pipelines start at 01:00.
_BY_HOUR: Final = np.array([2, 4, 1, 1, 1, 1, 2, 4, 7, 9, 10, 9, 7, 9, 10, 10, 9, 8, 6, 5, 4, 4, 3, 3], dtype=float)
_SHORTEST: Final = 60
_WIDE: Final = 8
_NIGHT: Final = 6 * _HOUR
_LOAD: Final = 0.92
_WEEKEND: Final = 0.75
_SATURDAY: Final = 5

# How often each kind of work comes among jobs that could be any. No trace says what limits a job: which of the kinds
# that reach its utilisation it is, is chosen.
_TRAINING_PROFILES: Final = (
    ("compute_tensor", 0.34), ("communication", 0.16), ("input_storage", 0.11), ("input_cpu", 0.09),
    ("dram_bound", 0.09), ("compute_other", 0.08), ("power_capped", 0.07), ("host_memory", 0.06), ("launch_bound",
     0.12),
)  # fmt: skip
_BATCH_PROFILES: Final = (
    ("launch_bound", 0.24), ("compute_other", 0.20), ("input_cpu", 0.15), ("compute_tensor", 0.17),
    ("input_storage", 0.10), ("dram_bound", 0.14),
)  # fmt: skip
_ABSENT_SHARE: Final = 0.2
"""Of the batch jobs that never use their GPU, the part that has no process on it."""
_IDLE_BELOW: Final = 0.05
_WAITS: Final = frozenset({"input_storage", "input_cpu", "host_memory", "launch_bound"})
_LEAST_BUSY: Final = 0.74
"""A kind of work that would run for less of its time than this is taken only where no other reaches the utilisation."""
_LOADS: Final = 0.2
"""Before it works, a job sets itself up and loads for this part of its time at most."""

_KINDS: Final = (("training", 0.36), ("batch", 0.56), ("notebook", 0.08))
_STATED_SHARE: Final = 0.55
_NAMELESS: Final = ("debug", "interactive", "bench-run", "test")


def pick(rng: np.random.Generator, weights: tuple[tuple[str, float], ...]) -> str:
    """Return one word, drawn by weight."""
    parts = np.array([weight for _, weight in weights])
    return weights[int(rng.choice(len(weights), p=parts / parts.sum()))][0]


def requests(rng: np.random.Generator, cluster: str, gpus: int, widest: int, start: int, end: int) -> Iterator[Job]:
    """Yield jobs until each day's demand is about what the cluster can give on a weekday."""
    owed = 0.0
    for day in range(start, end, _DAY):
        weekday = (day // _DAY + 3) % 7
        owed += gpus * _DAY * (_LOAD if weekday < _SATURDAY else _LOAD * _WEEKEND)
        while owed > 0:
            hour = int(rng.choice(24, p=_BY_HOUR / _BY_HOUR.sum()))
            submitted = on_grid(day + hour * _HOUR + int(rng.integers(0, _HOUR)))
            job = _request(rng, cluster, submitted, widest)
            owed -= job.gpus * job.duration
            if submitted < end - 600:
                yield job


def _request(rng: np.random.Generator, cluster: str, submitted: int, widest: int) -> Job:
    kind = pick(rng, _KINDS)
    sizes = traces.TRAINING_SIZES if kind == "training" else traces.BATCH_SIZES if kind == "batch" else ((1, 1.0),)
    size = min(int(pick(rng, tuple((str(count), weight) for count, weight in sizes))), widest)
    if kind == "notebook":
        duration = on_grid(rng.uniform(2, 11) * _HOUR)
        return asked(rng, cluster, kind, "notebook", size, submitted, duration)
    law, share = traces.TRAINING if kind == "training" else traces.BATCH, rng.random()
    length = law.at(share**traces.WIDE_POWER if size >= _WIDE else share)
    duration = max(on_grid(length), _SHORTEST)
    duty = traces.duty(duration, rng.random())
    job = asked(rng, cluster, kind, _profile(rng, kind, size, duty), size, submitted, duration)
    most = max(on_grid(_LOADS * duration / 2), STEP)
    job.setup, job.load = min(job.setup, most), min(job.load, most)
    works = _kernels(job.profile if job.profile in PROFILES else "interactive")
    job.busy = min(duty * duration / (works * (duration - job.setup - job.load)), 1.0)
    return job


def _profile(rng: np.random.Generator, kind: str, size: int, duty: float) -> str:
    """Return what a job does that keeps its devices busy for this share of its time, on average."""
    if duty < _IDLE_BELOW:
        return "absent" if kind == "batch" and rng.random() < _ABSENT_SHARE else "idle"
    weights = _TRAINING_PROFILES if kind == "training" else _BATCH_PROFILES
    # A device alone waits for no other.
    able = [each for each in weights if _kernels(each[0]) >= duty and (each[0] != "communication" or size > 1)]
    close = [each for each in able if duty >= _LEAST_BUSY * _kernels(each[0])]
    waits = [each for each in able if each[0] in _WAITS]
    return pick(rng, tuple(close or waits or able))


def _kernels(profile: str) -> float:
    """Return the share of its working time in which a kernel of a profile runs, as the driver counts it."""
    return float(duty_cycle(np.array(PROFILES[profile].graphics)))


def small(seed: int, cluster: str, start: int, end: int) -> Iterator[Job]:
    """Yield work that holds a whole H100 for weeks and needs a slice of one: a small model's server, nightly tests.

    It has a generator of its own, so that nothing else is drawn differently.
    """
    rng = np.random.default_rng([seed, 4])
    if cluster == OWNED.cluster:
        yield _small(rng, cluster, "inference", ("search", "igor", "embed-2"), start, end - start + 30 * _DAY)
    elif cluster == AWS.cluster:
        for day in range(start, end - _NIGHT, _DAY):
            yield _small(rng, cluster, "batch", ("platform", "kim", "guard-1"), day, _NIGHT)


def _small(
    rng: np.random.Generator, cluster: str, kind: str, whose: tuple[str, str, str], submitted: int, duration: int
) -> Job:
    team, user, model = whose
    job = asked(rng, cluster, kind, "small", 1.0, submitted, duration)
    job.team, job.user, job.model, job.is_model_stated, job.gpu_model = team, user, model, True, "H100"
    job.account = next(each.account for each in TEAMS if each.name == team)
    job.name = f"{model}-{'serve' if kind == 'inference' else 'eval'}-small"
    return job


def asked(
    rng: np.random.Generator, cluster: str, kind: str, profile: str, size: float, submitted: int, duration: int
) -> Job:
    """Return a request with its people, model and name; it has no id and no place yet."""
    team = TEAMS[int(rng.choice(len(TEAMS), p=[0.27, 0.18, 0.13, 0.15, 0.09, 0.18]))]
    model = str(rng.choice(MODELS[team.name]))
    nameless = kind != "inference" and rng.random() < 0.14  # noqa: PLR2004  a share that no rule names
    verb = {"training": "train", "batch": "eval", "notebook": "nb", "inference": "serve"}[kind]
    name = str(rng.choice(_NAMELESS)) if nameless else f"{model}-{verb}-{int(rng.integers(100, 999))}"
    return Job(
        index=-1, cluster=cluster, job_id="", submitted=submitted, restart_count=0, user=str(rng.choice(team.users)),
        account=team.account, team=team.name, model="" if nameless else model,
        is_model_stated=not nameless and bool(rng.random() < _STATED_SHARE), kind=kind, name=name, profile=profile,
        level=float(np.round(rng.uniform(0.93, 1.04), 2)), gpus=size, duration=duration, eligible=submitted,
        gpu_model="",
        setup=STEP * int(rng.integers(3, 12)), load=STEP * int(rng.integers(6, 30)),
    )  # fmt: skip
