"""The fleet of the bench sends what agents send, and counts what it sends."""

from bench._fleet import templates
from collectors.wire import decode


def test_a_fleet_counts_what_its_batches_hold_and_tells_rounds_once_a_minute() -> None:
    made = templates(1)
    for kind in ("usual", "slow", "first"):
        batch = decode(made.body(kind, "n00001", "1" * 32, 1_763_650_000_000, variant=3))
        held = {name: len(columns["sampled_at"]) for name, columns in batch.tables.items() if "sampled_at" in columns}
        counted = made.rows[kind]
        assert held == {name: counted[name] for name in held}
        assert sum(counted.values()) == batch.row_count
        runs = batch.tables.get("collector_run")
        if kind == "usual":
            assert runs is None
            continue
        assert runs is not None
        in_a_minute = [60 / float(step or 0) for step in runs["step_seconds"]]
        assert runs["round_count"] == ([1] * len(in_a_minute) if kind == "first" else in_a_minute)
        assert len(set(runs["collector"])) == counted["collector_run"]
