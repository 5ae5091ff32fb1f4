"""A short form of `make bench-faults`: real agents and a real hub, killed, cut off, and with full disks."""

from pathlib import Path

from bench import faults


def test_no_row_is_lost_doubled_or_made_up(tmp_path: Path) -> None:
    found, done, refused = faults.run(tmp_path, kills=5, agents=2, seed=5)
    assert (done["hubs killed"], done["agents killed"]) == (1, 4)
    assert done["connections broken"] > 0
    assert {each.table for each in found} >= {"gpu_sample", "host_sample", "gpu_process_sample", "collector_run", "gpu"}
    assert [each for each in found if each.missing or each.twice or each.invented] == []
    assert (refused, sum(each.second for each in found)) == (0, 0), "no instant is shown twice"
    assert sum(each.told for each in found) > 100
