"""Real output of Slurm's commands: node states, devices and waiting arrays as sites have them."""

from pathlib import Path

import pytest

from collectors._slurm_text import minutes, task_count, tres
from collectors.cluster._slurm_gres import devices, got
from collectors.cluster._slurm_nodes import state_of
from ledger.tables.jobs import NODE_STATES

pytestmark = pytest.mark.real_data


def lines(folder: Path, name: str) -> list[str]:
    found = (folder / "slurm" / name).read_text().splitlines()
    return [line for line in found if line.strip()]


def test_states_and_devices_of_real_nodes(shared_data: Path) -> None:
    told = [[each.strip() for each in row.split("|")] for row in lines(shared_data, "gcm_sample-sinfo-output.txt")[1:]]
    assert {state_of(fields[16]) for fields in told} == {"DRAINED", "UP"}
    gres = [each for fields in told for each in fields if each.startswith("gpu:")]
    assert {devices(each).gpu_count for each in gres} == {8, 2}


def test_what_is_used_of_real_nodes(shared_data: Path) -> None:
    for line in lines(shared_data, "gcm_sinfo-output-for-structured.txt"):
        fields = [each.strip() for each in line.split("|")]
        has, used = devices(fields[1]), got(fields[2], devices(fields[1]))
        assert has.gpu_count == 8
        assert len(used) == devices(fields[2]).gpu_count <= 8
        assert state_of(fields[5]) in NODE_STATES


def test_real_jobs_that_run_and_wait(shared_data: Path) -> None:
    told = [line.split("|#") for line in lines(shared_data, "gcm_sample-squeue-output.txt")]
    waiting = {fields[2]: task_count(fields[2]) for fields in told}
    assert waiting["42271120_[7-8%1]"] == 2
    assert set(waiting.values()) == {1, 2}
    assert all(int(minutes(fields[5])) > 0 for fields in told)
    assert all("cpu" in tres(fields[28]) for fields in told)
