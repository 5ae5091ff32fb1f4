"""A short form of `make bench-faults`: real agents and a real hub, killed, cut off, and with full disks."""

from pathlib import Path

from bench import faults


def test_no_row_is_lost_doubled_or_made_up(tmp_path: Path) -> None:
    # Of this seed answers are lost, the disk that fills is an agent's, and a clock is set back.
    found, done, refused = faults.run(tmp_path, kills=5, agents=2, seed=16)
    assert (done["hubs killed"], done["agents killed"]) == (1, 4)
    assert done["connections broken"] > 0
    assert done["answers lost"] > 0
    assert done["rounds refused by a full disk"] > 0
    assert done["rounds before the last one's instant"] > 0, "a clock was set back"
    assert {each.table for each in found} >= {"gpu_sample", "host_sample", "gpu_process_sample", "collector_run", "gpu"}
    assert [each for each in found if each.missing or each.twice or each.invented] == []
    assert (refused, sum(each.second for each in found)) == (0, 0), "no instant is shown twice"
    assert sum(each.told for each in found) > 100
