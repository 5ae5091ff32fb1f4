"""Processes on devices, and the devices' health, once a minute."""

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from collectors.simulate.device_rows import Devices, identity, instants
from collectors.simulate.frames import Column, frame, words
from collectors.simulate.phases import FREE, GRACE, HELD, LOST, ORPHAN, RUN, SETUP
from collectors.simulate.shapes import SLOW_STEP, Cluster
from ledger.tables import GpuHealthSample, GpuProcessSample

Ints = npt.NDArray[np.int64]

_REMAPPED: Final = 5
"""Of each seven devices, the one that once remapped rows."""


def process_rows(known: Devices, window: tuple[int, int]) -> pl.DataFrame:
    """Return the processes on all devices, once a minute."""
    line, plan = known.line, known.plan
    index, at = instants(line, window, SLOW_STEP)
    kind = line.kind[index]
    keep = (kind == HELD) | (kind == RUN) | (kind == ORPHAN) | (kind == GRACE)
    index, at = index[keep], at[keep]
    job = line.job[index]
    partner = np.full(len(plan.jobs) + 1, -1, dtype=np.int64)
    for first, second in line.partner.items():
        partner[first] = second
    both = partner[job] >= 0
    owner = np.concatenate([job, partner[job][both]])
    index, at = np.concatenate([index, index[both]]), np.concatenate([at, at[both]])
    device, kind = line.device[index], line.kind[index]
    is_shared = partner[owner] >= 0
    is_shared[len(job) :] = True
    graphics = line.activities["graphics"][line.activity[index]]
    memory = line.activities["memory"][line.activity[index]] * known.spec["memory_bytes"][device]
    stray = owner < 0
    jobs = [*(each.job_id for each in plan.jobs), ""]
    dead = np.array([each.job if each.keeps_id else -1 for each in plan.orphans] + [-1], dtype=np.int64)
    user_of = np.array([each.job for each in plan.orphans] + [-1], dtype=np.int64)
    named = np.where(stray, dead[line.orphan[index]], owner)
    data: dict[str, Column] = {
        **identity(known, device, at, SLOW_STEP),
        "pid_code": 2_000 + (owner % 30_000 + 1) * 40 + device % 40,
        "process_name": words(["python3", "vllm"], np.isin(owner, _servers(plan)).astype(np.int64)),
        "process_state": words(["R", "S", "D"], np.where(stray, 2, (kind == HELD).astype(np.int64))),
        "user": words(known.users, np.where(stray, user_of[line.orphan[index]], owner)),
        "job_id": words(jobs, named),
        "attribution_source": words(["cgroup", "none"], (named < 0).astype(np.int64)),
        "attribution_confidence_ratio": np.where(named < 0, np.nan, 0.95),
        "memory_used_bytes": np.where(is_shared, memory / 2, memory),
        "kernel_active_ratio": np.round(np.where(kind == RUN, graphics, 0.0) * np.where(is_shared, 0.5, 1.0), 2),
    }
    return frame(GpuProcessSample, data, len(index))


def _servers(plan: Cluster) -> Ints:
    return np.array([job.index for job in plan.jobs if job.kind == "inference"], dtype=np.int64)


def health_rows(known: Devices, window: tuple[int, int]) -> pl.DataFrame:
    """Return the health of all whole devices and slices, once a minute; a lost device has no row."""
    line, plan = known.line, known.plan
    index, at = instants(line, window, SLOW_STEP)
    keep = line.kind[index] != LOST
    index, at = index[keep], at[keep]
    device = line.device[index]
    whole = np.array([not each.parent for each in plan.devices])
    idle = (line.kind[index] == FREE) | (line.kind[index] == SETUP)
    data: dict[str, Column] = {
        **identity(known, device, at, SLOW_STEP),
        "gpu_model": words([plan.hardware(each.index).gpu_model for each in plan.devices], device),
        "gpu_index": np.array([each.gpu_index for each in plan.devices], dtype=np.int64)[device],
        "pci_bus_id": words([f"0000:{0x18 + each.gpu_index * 8:02X}:00.0" for each in plan.devices], device),
        "driver_version": "580.95.05", "is_mig_enabled": pl.Series(~whole[device]), "is_persistence_enabled": True,
        "is_ecc_enabled": True, "ecc_corrected_count_total": (device % 7 == _REMAPPED) * 3.0,
        "ecc_uncorrected_count_total": np.zeros(len(index)),
        "remapped_corrected_count": (device % 7 == _REMAPPED).astype(np.int64),
        "remapped_uncorrected_count": np.zeros(len(index), dtype=np.int64), "is_remap_pending": False,
        "is_remap_failed": False, "recovery_action": "none", "pcie_replay_count_total": np.zeros(len(index)),
        "pcie_link_generation_index": np.where(idle, 1, 5 - 1 * (~known.profiled[device])),
        "pcie_link_width_count": np.full(len(index), 16),
        "nvlink_active_count": np.where(known.profiled[device], 18, 12),
    }  # fmt: skip
    return frame(GpuHealthSample, data, len(index))
