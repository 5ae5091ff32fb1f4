"""What schedulers and inventories know: it fits the tables, and its parts fit each other."""

import polars as pl

from collectors.simulate import Cluster, holdings
from ledger.tables import Asset, Budget, Gpu, Job, JobGpu, Node, NodeResource, NodeState, Price, Team


def _frames(cluster: Cluster) -> dict[type, pl.DataFrame]:
    found = {}
    for schema, frame in holdings(cluster):
        good, bad = schema.filter(frame)
        assert not bad.counts(), schema.__name__
        assert good.height == frame.height > 0, schema.__name__
        found[schema] = frame
    return found


def test_all_holdings_fit_their_tables(demo: Cluster) -> None:
    assert {Node, Gpu, Job, JobGpu, NodeState, NodeResource, Price, Asset, Team, Budget} <= set(_frames(demo))


def test_slices_of_a_device_sum_to_it(demo: Cluster) -> None:
    gpus = _frames(demo)[Gpu]
    slices = gpus.filter(pl.col("parent_gpu_uuid") != "").group_by("parent_gpu_uuid").agg(pl.col("gpu_fraction").sum())
    assert slices["gpu_fraction"].to_list() == [1]


def test_what_is_held_belongs_to_a_job_that_runs(demo: Cluster) -> None:
    frames = _frames(demo)
    key = ["cluster", "job_id", "submitted_at", "restart_count"]
    both = frames[JobGpu].join(frames[Job], on=key, how="left", validate="m:1")
    assert both["started_at"].null_count() == 0
    assert (both["held_start"] == both["started_at"]).all()
    assert both["held_end"].equals(both["ended_at"], null_equal=True)


def test_node_states_cover_existence_without_holes(demo: Cluster) -> None:
    frames = _frames(demo)
    states = frames[NodeState].sort("cluster", "node", "state_start")
    assert {"UP", "DOWN", "DRAINED", "RESERVED"} <= set(states["state"])
    for node in frames[Node].iter_rows(named=True):
        own = states.filter(
            (pl.col("cluster") == node["cluster"]) & (pl.col("node") == node["node"])
            & (pl.col("state_start") >= node["exists_start"])
        )  # fmt: skip
        if node["exists_end"] is not None:
            own = own.filter(pl.col("state_start") < node["exists_end"])
        assert own["state_start"][0] == node["exists_start"]
        assert own["state_end"].to_list()[:-1] == own["state_start"].to_list()[1:]
        assert own["state_end"][-1] == node["exists_end"]
