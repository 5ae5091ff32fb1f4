"""Batches of several nodes in one commit: the outcome is that of one after the other."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import StoreError
from ledger.plain import height_of, joined
from ledger.store import Joint, Sender, Store
from ledger.tables import Batch, Gpu, GpuSample, RejectedRow

AT = datetime(2026, 11, 20, 5, 30, tzinfo=UTC)
NOW = AT + timedelta(hours=2)


def row(node: str, second: int = 0, **given_values: Any) -> dict[str, Any]:
    at = int(AT.timestamp() + second) * 1000
    place = {"cluster": "c", "node": node, "boot_id": "b", "gpu_uuid": "g", "parent_gpu_uuid": "", "status": "ok"}
    return {**place, "sampled_at": at, "step_seconds": 10.0, **given_values}


def device(node: str, **given_values: Any) -> dict[str, Any]:
    place = {
        "cluster": "c",
        "node": node,
        "gpu_uuid": f"g{node}",
        "exists_start": int(AT.timestamp()) * 1000,
        "gpu_fraction": "1",
        "parent_gpu_uuid": "",
    }
    return place | given_values


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [each.get(name) for each in rows] for name in dict.fromkeys(name for each in rows for name in each)}


def joint(schema: Any, parts: dict[int, list[dict[str, Any]]]) -> Joint:
    frame, odd = joined(schema, [columns(rows) for rows in parts.values()])
    assert not odd
    return Joint(schema, frame, [(place, len(rows)) for place, rows in parts.items()])


def senders(*nodes: str) -> list[Sender]:
    return [Sender(f"b{index}", node, f"agent {node}") for index, node in enumerate(nodes)]


@pytest.fixture
def store() -> Any:
    with Store.open("duckdb::memory:", now=lambda: NOW) as opened:
        yield opened


def test_each_batch_gets_its_own_answer(store: Store) -> None:
    parts = {0: [row("a")], 1: [row("b"), row("b", gpu_uuid="x", power_watts=-1.0)], 2: [row("c"), row("c")]}
    answers = store.append_group(senders("a", "b", "c"), [joint(GpuSample, parts)])
    told = [
        (each["gpu_sample"].rows, each["gpu_sample"].duplicates, each["gpu_sample"].rejected)
        for each in answers
        if each
    ]
    assert told == [(1, 0, 0), (1, 0, 1), (1, 1, 0)]
    assert store.read(RejectedRow)["source"].to_list() == ["agent b"]
    assert sorted(store.read(GpuSample)["node"].to_list()) == ["a", "b", "c"]
    assert sorted(store.read(Batch).select("batch_id", "node", "row_count", "rejected_count").rows()) == [
        ("b0", "a", 1, 0),
        ("b1", "b", 1, 1),
        ("b2", "c", 1, 0),
    ]


@pytest.mark.parametrize("writes_before", [0, 5], ids=["looked up", "remembered"])
@pytest.mark.parametrize("name", ["cluster", "node", "sampled_at"])
def test_a_row_without_its_key_is_refused_and_takes_no_other_with_it(
    store: Store, name: str, writes_before: int
) -> None:
    for turn in range(writes_before):
        store.append_group([Sender(f"before {turn}", "a", "a")], [joint(GpuSample, {0: [row("a", turn)]})])
    parts = {0: [row("a", 50)], 1: [row("b", 50), row("b", 60) | {name: None}], 2: [row("c", 50)]}
    answers = store.append_group(senders("a", "b", "c"), [joint(GpuSample, parts)])
    assert [(each["gpu_sample"].rows, each["gpu_sample"].rejected) for each in answers if each] == [
        (1, 0),
        (1, 1),
        (1, 0),
    ]
    (reason,) = store.read(RejectedRow)["reason"]
    assert reason.startswith(f"{name}: found null")
    assert store.read(GpuSample).height == writes_before + 3


def test_a_batch_that_was_seen_is_none_and_takes_no_other_with_it(store: Store) -> None:
    store.append_group(senders("a"), [joint(GpuSample, {0: [row("a")]})])
    again = [*senders("a", "b"), Sender("b1", "b", "agent b")]
    parts = {0: [row("a")], 1: [row("b")], 2: [row("b")]}
    first, second, third = store.append_group(again, [joint(GpuSample, parts)])
    assert (first, third) == (None, None)
    assert second is not None
    assert second["gpu_sample"].rows == 1
    assert store.read(GpuSample).height == 2


@pytest.mark.parametrize("writes_before", [0, 5], ids=["looked up", "remembered"])
def test_two_nodes_may_give_their_batches_one_id(store: Store, writes_before: int) -> None:
    """Machines that were copied with all that they remember; what is lost of the second nobody would ever miss."""
    for turn in range(writes_before):
        store.append_group([Sender(f"before {turn}", "a", "a")], [joint(GpuSample, {0: [row("a", turn)]})])
    same = [Sender("same", node, node) for node in "abc"] + [Sender("same", "a", "a", cluster="d")]
    store.append_group(same[:1], [joint(GpuSample, {0: [row("a", 50)]})])
    again = [*same, same[1]]
    parts = {place: [row(each.node, 50, cluster=each.cluster)] for place, each in enumerate(again)}
    answers = store.append_group(again, [joint(GpuSample, parts)])
    assert [each is None for each in answers] == [True, False, False, False, True]
    stored = store.read(GpuSample).filter(sampled_at=AT + timedelta(seconds=50))
    assert sorted(stored.select("cluster", "node").rows()) == [("", "b"), ("", "c"), ("c", "a"), ("d", "a")]
    assert sorted(store.read(Batch).filter(batch_id="same")["node"]) == ["a", "a", "b", "c"]
    assert store.append_group(again[:4], [joint(GpuSample, {0: [row("a", 50)]})]) == [None] * 4


def test_two_batches_of_one_node_never_store_a_key_twice(store: Store) -> None:
    """One of them is odd, and so stored after the other within the same commit."""
    for turn in range(5):
        at = turn * 100
        parts = {0: [row("a", at), row("b", at)], 1: [row("a", at), row("a", at + 10), row("a", at + 10)]}
        batches = [Sender(f"{turn}-{index}", "a", "agent a") for index in range(2)]
        first, second = store.append_group(batches, [joint(GpuSample, parts)])
        assert first is not None and second is not None  # noqa: PT018  for mypy
        assert (first["gpu_sample"].rows, second["gpu_sample"].rows, second["gpu_sample"].duplicates) == (2, 1, 2)
    assert store.select("SELECT count(*) AS n FROM gpu_sample").item() == 15


def test_a_node_whose_time_went_back_is_looked_up_and_the_others_are_not_harmed(store: Store) -> None:
    for turn in range(4):
        parts = {0: [row("a", turn)], 1: [row("b", turn)]}
        store.append_group([Sender(f"{turn}{node}", node, node) for node in "ab"], [joint(GpuSample, parts)])
    parts = {0: [row("a", 1), row("a", 2, power_watts=7.0)], 1: [row("b", 9)]}
    first, second = store.append_group(senders("a", "b"), [joint(GpuSample, parts)])
    assert first is not None and second is not None  # noqa: PT018  for mypy
    assert (first["gpu_sample"].duplicates, first["gpu_sample"].rejected) == (1, 1)
    assert second["gpu_sample"].rows == 1
    assert store.read(GpuSample).height == 9


def test_what_exists_is_replaced_and_counted_for_each(store: Store) -> None:
    gpus = joint(Gpu, {0: [device("a")], 1: [device("b")]})
    store.append_group(senders("a", "b"), [gpus])
    changed = joint(Gpu, {0: [device("a", gpu_model="H100")], 1: [device("b")]})
    first, second = store.append_group([Sender(f"n{node}", node, node) for node in "ab"], [changed])
    assert first is not None and second is not None  # noqa: PT018  for mypy
    assert (first["gpu"].rows, first["gpu"].duplicates) == (1, 0)
    assert (second["gpu"].rows, second["gpu"].duplicates) == (0, 1)
    assert store.read(Gpu).sort("node")["gpu_model"].to_list() == ["H100", None]


def test_nothing_of_a_group_is_stored_when_a_part_of_it_fails(store: Store) -> None:
    nameless = Sender(None, "b", "agent b")  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        store.append_group([*senders("a"), nameless], [joint(GpuSample, {0: [row("a")], 1: [row("b")]})])
    assert store.read(GpuSample).is_empty()
    assert store.read(Batch).is_empty()


values = st.one_of(
    st.none(),
    st.sampled_from([0, 1, -5, 2**62, 2**63 - 1]),
    st.sampled_from([0.0, 1.5, -3.25, 1e300]),
)
batches = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.lists(st.tuples(st.integers(0, 6), values, values), max_size=5),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=10)
@given(st.lists(batches, min_size=1, max_size=3))
def test_a_group_leaves_what_its_batches_leave_one_after_the_other(turns: list[list[Any]]) -> None:
    """Stored rows and the sum of each verdict; which of two equal keys of one group stays does not matter."""
    with Store.open("duckdb::memory:", now=lambda: NOW) as one, Store.open("duckdb::memory:", now=lambda: NOW) as many:
        for turn, drawn in enumerate(turns):
            parts = {
                place: [row(node, second, power_watts=power, memory_used_bytes=used) for second, power, used in rows]
                for place, (node, rows) in enumerate(drawn)
            }
            parts = {place: rows for place, rows in parts.items() if rows}
            who = [Sender(f"{turn}-{place}", node, node) for place, (node, _) in enumerate(drawn)]
            together: list[Joint] = []
            given_parts = {place: columns(rows) for place, rows in parts.items()}
            frame, odd = joined(GpuSample, list(given_parts.values()))
            if odd or not parts:
                continue
            together.append(Joint(GpuSample, frame, [(place, height_of(each)) for place, each in given_parts.items()]))
            answers = many.append_group(who, together)
            for place, sender in enumerate(who):
                alone = [joint(GpuSample, {0: parts[place]})] if place in parts else []
                one.append_group([sender], alone)
                told = (answers[place] or {}).get("gpu_sample")
                assert (told is not None) == (place in parts)
                assert told is None or told.rows + told.duplicates + told.rejected == len(parts[place])
        keys = ["cluster", "node", "gpu_uuid", "sampled_at"]
        assert one.read(GpuSample).select(keys).equals(many.read(GpuSample).select(keys))
        assert one.read(GpuSample).select(keys).is_unique().all()
        total = "SELECT sum(row_count) + sum(rejected_count) AS n FROM batch"
        refused = [store.select("SELECT count(*) AS n FROM rejected_row").item() for store in (one, many)]
        stored = [store.select("SELECT sum(row_count) AS n FROM batch").item() for store in (one, many)]
        assert stored[0] == stored[1], total
        assert (refused[0] == 0) == (refused[1] == 0)


@pytest.mark.parametrize("value", [True, "x", 2**63, -(2**63) - 1])
def test_a_value_of_another_kind_is_read_by_itself(value: Any) -> None:
    parts = [columns([row("a", power_watts=1.0)]), columns([row("b", power_watts=value)])]
    if isinstance(value, int) and not isinstance(value, bool):
        parts = [columns([row("a", sampled_at=1)]), columns([row("b", sampled_at=value)])]
    frame, odd = joined(GpuSample, parts)
    assert odd == {1}
    assert frame.is_empty()


def test_columns_that_only_some_have_are_null_for_the_others() -> None:
    parts = [columns([row("a", power_watts=1.0)]), columns([row("b"), row("b", 1, colour=3)]), {}]
    frame, odd = joined(GpuSample, parts)
    assert not odd
    assert frame["power_watts"].to_list() == [1.0, None, None]
    assert "colour" not in frame.columns


def test_a_batch_is_known_again_by_a_store_that_is_opened_anew(tmp_path: Path) -> None:
    url = f"duckdb:{tmp_path / 'ledger.duckdb'}"
    for turn in range(3):
        with Store.open(url, now=lambda: NOW) as opened:
            for place in range(5):
                batch = Sender(f"{turn}-{place}", "a", "agent a")
                assert (
                    opened.append_group([batch], [joint(GpuSample, {0: [row("a", 10 * turn + place)]})])[0] is not None
                )
            for place in range(5 * (turn + 1)):
                known = Sender(f"{place // 5}-{place % 5}", "a", "agent a")
                assert opened.append_group([known], [joint(GpuSample, {0: [row("a", 1000)]})]) == [None]


def test_another_store_of_the_process_makes_a_store_look_again(tmp_path: Path) -> None:
    url = f"duckdb:{tmp_path / 'ledger.duckdb'}"
    with Store.open(url, now=lambda: NOW) as one, Store.open(url, now=lambda: NOW) as other:
        for turn in range(4):
            batch = Sender(f"{turn}", "a", "agent a")
            parts = [joint(GpuSample, {0: [row("a", turn)]})]
            assert one.append_group([batch], parts)[0] is not None
            assert other.append_group([batch], parts) == [None]
        assert one.read(GpuSample).height == 4
