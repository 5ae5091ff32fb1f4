"""The plan of a simulated estate: pure, seeded, and the one source of rows, bills and truth."""

from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from collectors.simulate import estate
from collectors.simulate.scheduling import schedule
from collectors.simulate.shapes import Cluster, Gap, Job, Pause, Stretch, Trouble, on_grid
from collectors.simulate.workload import asked, requests, small
from ledger.errors import ConfigError

_HOUR: Final = 3_600
_MOST_WIDE: Final = 24
_STRAGGLER_PEERS: Final = 5
_TWO_SERVERS: Final = 16


def plan(gpus: int, days: int, seed: int, end: datetime) -> Cluster:
    """Return the estate of the last `days` UTC days up to `end`, the same for the same arguments.

    Raises: ConfigError: fewer than one GPU, or fewer than one day.
    """
    if gpus < 1 or days < 1:
        raise ConfigError(f"demo: found {gpus} GPUs and {days} days, expected 1 or more of each", hint="leave both out")
    last = end.astimezone(UTC)
    midnight = last.replace(hour=0, minute=0, second=0, microsecond=0)
    start = int((midnight - timedelta(days=days - 1)).timestamp())
    finish = on_grid(last.timestamp())
    nodes = estate.nodes(gpus, start, finish)
    cluster = Cluster(
        seed=seed, start=start, end=finish, providers=estate.PROVIDERS, nodes=nodes,
        devices=estate.devices(seed, nodes), teams=estate.TEAMS,
        models=tuple(model for models in estate.MODELS.values() for model in models),
    )  # fmt: skip
    rng = np.random.default_rng([seed, 2])
    cluster.pauses.extend(_pauses(cluster))
    for rank, provider in enumerate(estate.PROVIDERS):
        _fill(cluster, provider.cluster, np.random.default_rng([seed, 3, rank]))
    _special_holders(cluster, rng)
    cluster.gaps.extend(_gaps(cluster))
    cluster.stretches.extend(_stretches(cluster, rng))
    return cluster


def _moment(cluster: Cluster, share: float, before_end_hours: float) -> tuple[int, int]:
    """Return two instants: one in the older part of the plan, one shortly before its end."""
    old = on_grid(cluster.start + share * (cluster.end - cluster.start))
    return old, max(on_grid(cluster.end - before_end_hours * _HOUR), old)


def _of(cluster: Cluster, provider: str) -> list[int]:
    """Return the nodes of a provider that stay from the start to the end."""
    return [
        node.index
        for node in cluster.nodes
        if node.provider.name == provider and node.start == cluster.start and node.end is None
    ]


def _pauses(cluster: Cluster) -> list[Pause]:
    found: list[Pause] = []
    owned, rented = _of(cluster, estate.OWNED.name), _of(cluster, estate.AZURE.name)
    for at, hours in zip(_moment(cluster, 0.30, 26), (9, 7), strict=True):
        found += [Pause(node, at, at + hours * _HOUR, "DRAINED", "nhc: InfiniBand port down") for node in owned[-1:]]
    for at in _moment(cluster, 0.55, 44)[:1]:
        found += [Pause(node, at, at + 5 * _HOUR, "RESERVED", "reservation: course") for node in rented[-1:]]
    apart: list[Pause] = []
    for pause in found:
        if pause.start < cluster.end and not any(each.node == pause.node and each.end >= pause.start for each in apart):
            apart.append(pause)
    return apart


def _gaps(cluster: Cluster) -> list[Gap]:
    found = []
    for provider, share, before in (("AWS", 0.25, 31.0), ("Microsoft", 0.63, 15.5), ("Example Labs", 0.80, 7.0)):
        for node in _of(cluster, provider)[:1]:
            for at, minutes in zip(_moment(cluster, share, before), (190, 47), strict=True):
                found.append(Gap(node, at, min(at + minutes * 60, cluster.end)))
    merged: list[Gap] = []
    for gap in sorted(found, key=lambda each: (each.node, each.start)):
        if not merged or merged[-1].node != gap.node or merged[-1].end < gap.start:
            merged.append(gap)
    return merged


def _fill(cluster: Cluster, name: str, rng: np.random.Generator) -> None:
    """Draw and schedule the jobs of one cluster: servers first, then what people submit."""
    nodes = [node for node in cluster.nodes if node.provider.cluster == name]
    if not nodes:
        return
    gpus = sum(node.gpu_count for node in nodes if node.end is None)
    size = max(node.gpu_count for node in nodes)
    widest = min(_MOST_WIDE, size * max(1, len(nodes) // 2))
    wanted: list[Job] = []
    servers = max(1, gpus // 10) if name != estate.OWNED.cluster else gpus // 24
    for _ in range(servers):
        forever = cluster.end - cluster.start + 30 * 86_400
        job = asked(rng, name, "inference", "serving", float(rng.choice([1, 1, 2])), cluster.start, forever)
        # A server's end is its node's business: it would outlive the plan.
        wanted.append(job)
    # On a single server of one's own nothing would be left for the rest of the plan.
    if name != estate.OWNED.cluster or gpus >= _TWO_SERVERS:
        wanted.extend(small(cluster.seed, name, cluster.start, cluster.end))
    served = sum(int(job.gpus) for job in wanted if job.kind == "inference")
    wanted.extend(requests(rng, name, gpus - served, widest, cluster.start, cluster.end))
    wanted.extend(_late(cluster, name, rng, min(_MOST_WIDE, size * len(nodes))))
    wanted.sort(key=lambda job: job.submitted)
    old, recent = _moment(cluster, 0.45, 30)
    kinds: dict[str, list[tuple[int, Trouble]]] = {
        estate.AWS.cluster: [(old, "xid"), (recent, "xid")],
        estate.OWNED.cluster: [(old, "down"), (recent, "xid")],
        estate.AZURE.cluster: [(on_grid(old + 30 * _HOUR), "xid")],
    }
    schedule(cluster, name, wanted, rng, [trouble for trouble in kinds[name] if trouble[0] < cluster.end])


def _late(cluster: Cluster, name: str, rng: np.random.Generator, widest: int) -> list[Job]:
    """Return wide requests that wait at the end of the plan, while single GPUs are free."""
    late = []
    for hours, size in ((5.0, widest), (1.5, widest)):
        submitted = on_grid(max(cluster.end - hours * _HOUR, cluster.start))
        job = asked(rng, name, "training", "compute_tensor", float(size), submitted, 20 * _HOUR)
        job.gpu_model = "B200" if hours < 2 and name == estate.OWNED.cluster else ""  # noqa: PLR2004  none exists
        late.append(job)
    return late


def _special_holders(cluster: Cluster, rng: np.random.Generator) -> None:
    """Give the shared device to two servers, and the slices to one server and notebooks."""
    shared = next((device for device in cluster.devices if device.is_shared), None)
    if shared is not None:
        name = cluster.nodes[shared.node].provider.cluster
        for serial in ("shared-a", "shared-b"):
            _hold(cluster, rng, name, serial, "inference", (cluster.start, None), shared.index, 0.5)
    slices = [device for device in cluster.devices if device.mig_profile]
    if not slices:
        return
    name = cluster.nodes[slices[0].node].provider.cluster
    _hold(cluster, rng, name, "slice-serve", "inference", (cluster.start, None), slices[0].index, 0.5)
    for day in range(cluster.start, cluster.end, 86_400):
        for device, begin, hours in ((slices[1], 8, 9), (slices[2], 10, 5)):
            start = on_grid(day + begin * _HOUR + int(rng.integers(0, _HOUR)))
            if (day // 86_400 + 3) % 7 < 5 and start < cluster.end - _HOUR:  # noqa: PLR2004  Monday to Friday
                serial = f"slice-{day // 86_400}-{device.mig_profile}"
                _hold(
                    cluster,
                    rng,
                    name,
                    serial,
                    "notebook",
                    (start, start + hours * _HOUR),
                    device.index,
                    float(device.fraction),
                )


def _hold(
    cluster: Cluster, rng: np.random.Generator, name: str, serial: str, kind: str, span: tuple[int, int | None],
    device: int, gpus: float,
) -> None:  # fmt: skip
    start, end = span
    profile = "serving" if kind == "inference" else "notebook"
    job = asked(rng, name, kind, profile, gpus, start, (end or cluster.end) - start)
    job.job_id, job.index, job.devices, job.started = serial, len(cluster.jobs), (device,), start
    job.state, job.ended = "RUNNING", None
    if end is not None and end <= cluster.end:
        job.state, job.ended = "COMPLETED", end
    cluster.jobs.append(job)


def _stretches(cluster: Cluster, rng: np.random.Generator) -> list[Stretch]:
    """Pick running training jobs of which a device gets hot, or falls behind its peers."""
    found: list[Stretch] = []
    recent = cluster.end - 14 * _HOUR
    for kind, least in (("thermal", 1), ("straggler", _STRAGGLER_PEERS)):
        for after in (cluster.start, recent):
            fit = [job for job in cluster.jobs if _fits(cluster, job, after, least)]
            # Only profiling shows that a device lags behind its peers.
            fit = [job for job in fit if cluster.hardware(job.devices[0]).quality == "A"] or fit
            for job in (fit[int(index)] for index in rng.permutation(len(fit))[:3]):
                begin = max(job.started or 0, after) + 2_400
                until = min(begin + 7_200, (job.ended or cluster.end) - 600)
                found.append(Stretch("thermal" if kind == "thermal" else "straggler", job.devices[-1:], begin, until))
    return found


def _fits(cluster: Cluster, job: Job, after: int, least: int) -> bool:
    steady = job.profile in {"compute_tensor", "compute_other", "dram_bound"}
    if job.started is None or len(job.devices) < least or not steady:
        return False
    return (job.ended or cluster.end) - max(job.started, after) > 4_200  # noqa: PLR2004  longer than a stretch's edges
