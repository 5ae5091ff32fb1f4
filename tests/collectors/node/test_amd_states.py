"""From an AMD device's files to the states of the ledger: nothing on the way knows who made the device."""

import shutil
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from collectors._round import Result, Run
from collectors._stamp import Forgetful, Identity, stamped
from collectors.node.amd import AmdSettings
from collectors.wire import decode, encode
from ledger.config import Settings
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import TABLES
from queries.executor import run_due
from queries.rollups._minutes import STATE_COLUMNS
from tests.collectors.node.amd_node import GIB, T0, AmdNode, table_1_3, table_1_6

WHOLE, CUT = "GPU-04edfb117a17a07d", "GPU-79ccd55167a2124a"
CALM_ROUNDS, ROUNDS = 12, 24


def play(node: AmdNode, number: int) -> None:
    """Write a round: a whole device and one in two parts; a job begins on the whole one and on the first part."""
    is_busy = number >= CALM_ROUNDS
    energy = 65_536 * 100 * number
    node.card(1, gpu_busy_percent=80 if is_busy else 0, gpu_metrics=table_1_3(energy=energy, power=36))
    parts = ((100,) * 8 if is_busy else (0,) * 8, (0,) * 8)
    node.card(0, gpu_metrics=table_1_6(parts, power=400, energy=energy), current_compute_partition="DPX")
    shutil.rmtree(node.sysfs / "class/kfd", ignore_errors=True)
    node.compute(4200, partition=0, memory=64 * GIB)
    node.compute(4201, partition=1, memory=64 * GIB)
    node.compute(4302, bus=0xC3)
    if is_busy:
        node.process(700, {4200: 5 * GIB, 4201: 0, 4302: 3 * GIB}, job=77)


def shipped(node: AmdNode, store: Store) -> None:
    """Take the rounds over the wire into a store."""
    memory, identity = Forgetful(), Identity("lab", "n1", "boot-1")
    alone = {"cluster": "lab", "node": "n1", "exists_start": T0, "holder": "process", "source": "agent"}
    for number in range(ROUNDS):
        play(node, number)
        at, rows = T0 + timedelta(seconds=node.seconds), node.rows()
        node.seconds += 10
        run = Run("amd", ok=True, rows=len(rows), duration_seconds=0.1, error=None)
        tables = {**stamped([Result(run, at, 10.0, rows)], identity, memory), "node": [alone]}
        for name, columns in decode(encode(f"b{number}", "n1", "boot-1", tables)).tables.items():
            schema = TABLES[name].schema
            assert store.append(schema, to_frame(schema, columns), source="test").rejected == 0, name


def test_amd_devices_and_parts_have_states_that_sum_to_their_time(tmp_path: Path) -> None:
    node = AmdNode(tmp_path, AmdSettings(), seconds=0)
    end = T0 + timedelta(hours=1)
    with Store.open("duckdb::memory:", now=lambda: end) as store:
        shipped(node, store)
        run_due(store, Settings(), since=T0, until=end)
        states = store.select(
            "SELECT gpu_uuid, state, job_id, sum(epoch(ended_at) - epoch(started_at)) AS seconds "
            "FROM gpu_state_interval WHERE state <> 'unknown' GROUP BY ALL ORDER BY ALL"
        )
        told = " + ".join(STATE_COLUMNS)
        hours = store.select(
            f"SELECT gpu_uuid, existed_seconds, {told} AS told, energy_joules FROM gpu_hour ORDER BY gpu_uuid"
        )
    calm, busy = 10.0 * CALM_ROUNDS, 10.0 * (ROUNDS - CALM_ROUNDS - 1)
    assert {(uuid, state, job): seconds for uuid, state, job, seconds in states.rows()} == {
        (WHOLE, "unallocated", ""): calm,
        (WHOLE, "underused", "77"): busy,
        (f"{CUT}-0", "unallocated", ""): calm,
        (f"{CUT}-0", "productive", "77"): busy,
        (f"{CUT}-1", "unallocated", ""): calm + busy,
    }
    assert [(uuid, existed, told) for uuid, existed, told, _ in hours.rows()] == [
        (uuid, Decimal(3600), Decimal(3600)) for uuid in (WHOLE, f"{CUT}-0", f"{CUT}-1")
    ]
    # The board of the one that is cut measures as much, and its halves have a half each.
    measured = 100.0 * (ROUNDS - 1)
    assert hours["energy_joules"].to_list() == [measured, measured / 2, measured / 2]
