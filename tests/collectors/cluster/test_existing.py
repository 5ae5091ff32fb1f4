"""Inventory that is told again and again is one row, since when the ledger first knew it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from collectors.cluster._existing import Told, begun, devices
from ledger.frames import to_frame
from ledger.tables import Gpu

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCHEMA = {
    "gpu_uuid": pl.String,
    "exists_start": pl.Datetime("us", "UTC"),
    "exists_end": pl.Datetime("us", "UTC"),
    "gpu_model": pl.String,
}


def rows(*given: tuple[str, datetime, datetime | None, str | None]) -> pl.DataFrame:
    return pl.DataFrame(given, schema=SCHEMA, orient="row")


def after(told: pl.DataFrame, before: pl.DataFrame) -> list[tuple[object, ...]]:
    return begun(told, before, ["gpu_uuid"]).rows()


def test_what_is_told_again_keeps_its_start_and_what_is_not_told_now() -> None:
    before = rows(("a", NOON, None, "H100"))
    assert after(rows(("a", NOON + HOUR, None, None)), before) == [("a", NOON, None, "H100")]
    assert after(rows(("a", NOON + HOUR, None, "H200")), before) == [("a", NOON, None, "H200")]


def test_what_was_not_known_begins_when_it_is_told() -> None:
    told = rows(("b", NOON + HOUR, None, "H100"))
    assert after(told, rows(("a", NOON, None, "H100"))) == told.rows()
    assert after(told, rows()) == told.rows()


def test_a_time_before_what_is_known_ends_where_that_begins() -> None:
    before = rows(("a", NOON, None, "H100"))
    assert after(rows(("a", NOON - HOUR, None, None)), before) == [("a", NOON - HOUR, NOON, None)]


def test_an_end_that_is_told_ends_what_is_known() -> None:
    before = rows(("a", NOON, None, "H100"))
    assert after(rows(("a", NOON + HOUR, NOON + 2 * HOUR, None)), before) == [("a", NOON, NOON + 2 * HOUR, "H100")]


def test_a_row_that_starts_where_it_ends_only_ends_what_is_open() -> None:
    before = rows(("a", NOON, None, "H100"))
    gone = rows(("a", NOON + HOUR, NOON + HOUR, None), ("b", NOON + HOUR, NOON + HOUR, None))
    assert after(gone, before) == [("a", NOON, NOON + HOUR, "H100")]
    assert after(gone, rows()) == []
    # What came back after it was gone is not ended by what is told of the time before.
    assert after(gone, rows(("a", NOON + 2 * HOUR, None, "H100"))) == []


def gpu(uuid: str, start: datetime, part: str = "1", end: datetime | None = None, **facts: Any) -> dict[str, Any]:
    """Return a row of a device: a slice where its name says of which board."""
    board, _, rest = uuid.partition("-")
    facts = {"mig_profile": facts.get("mig_profile"), "gpu_model": "A100-SXM4-40GB", **facts}
    place = {"cluster": "c", "node": "n", "gpu_uuid": uuid, "parent_gpu_uuid": board if rest else ""}
    return {**place, "exists_start": start, "exists_end": end, "gpu_fraction": Decimal(part), **facts}


Found = list[tuple[object, ...]]


def kept(told: list[dict[str, Any]], known: list[dict[str, Any]], when: Told) -> Found:
    there = (Gpu.cast(to_frame(Gpu, rows)) for rows in (told, known))
    found = devices(*there, when).sort("gpu_uuid", "exists_start")
    rows = found.select("gpu_uuid", "exists_start", "exists_end", "gpu_fraction").rows()
    return [(uuid, start, end, f"{part.normalize():f}") for uuid, start, end, part in rows]


def onward(told: list[dict[str, Any]], known: list[dict[str, Any]]) -> Found:
    return kept(told, known, Told(NOON + 9 * HOUR, NOON))


A, B, REST = "a-gi-1", "a-gi-2", "a-rest"
HALF, SEVENTH = {"mig_profile": "3g.20gb"}, {"mig_profile": "1g.5gb"}


def test_a_device_that_is_cut_ends_with_its_first_slice_and_slices_end_when_it_is_whole_again() -> None:
    whole, other = gpu("a", NOON), gpu("b", NOON)
    slices = [gpu(A, NOON + HOUR, "0.5", **HALF), gpu(REST, NOON + HOUR, "0.5")]
    assert onward([*slices, gpu("b", NOON + HOUR)], [whole, other]) == [
        ("a", NOON, NOON + HOUR, "1"),
        (A, NOON + HOUR, None, "0.5"),
        (REST, NOON + HOUR, None, "0.5"),
        ("b", NOON, None, "1"),
    ]
    again = [gpu("a", NOON + 2 * HOUR), gpu("b", NOON + 2 * HOUR)]
    assert onward(again, [gpu("a", NOON, end=NOON + HOUR), *slices, other]) == [
        ("a", NOON + 2 * HOUR, None, "1"),
        (A, NOON + HOUR, NOON + 2 * HOUR, "0.5"),
        (REST, NOON + HOUR, NOON + 2 * HOUR, "0.5"),
        ("b", NOON, None, "1"),
    ]
    assert onward([gpu("b", NOON + HOUR)], [whole, other]) == [("b", NOON, None, "1")]


def test_the_past_of_a_rest_keeps_its_part_when_its_board_is_cut_anew() -> None:
    """A slice of a half leaves a half; one of a seventh beside it leaves less: from then on, and not ever since."""
    known = [gpu(A, NOON, "0.5", **HALF), gpu(REST, NOON, "0.5")]
    later = NOON + 3 * HOUR
    told = [gpu(A, NOON + HOUR, "0.5", **HALF), gpu(B, later, "0.142857", **SEVENTH)]
    assert onward(told, known) == [
        (A, NOON, None, "0.5"),
        (B, later, None, "0.142857"),
        (REST, NOON, later, "0.5"),
        (REST, later, None, "0.357143"),
    ]


def test_a_number_that_means_another_profile_is_another_slice_from_then_on() -> None:
    known = [gpu(A, NOON, "0.5", **HALF), gpu(REST, NOON, "0.5")]
    later = NOON + 2 * HOUR
    assert onward([gpu(A, later, "0.142857", **SEVENTH)], known) == [
        (A, NOON, later, "0.5"),
        (A, later, None, "0.142857"),
        (REST, NOON, later, "0.5"),
        (REST, later, None, "0.857143"),
    ]


def test_a_slice_that_is_silent_is_still_there_until_another_takes_its_place_or_it_is_gone() -> None:
    known = [gpu(A, NOON, "0.5", **HALF), gpu(B, NOON, "0.142857", **SEVENTH), gpu(REST, NOON, "0.357143")]
    silent = [gpu(A, NOON + HOUR, "0.5", **HALF), gpu(REST, NOON + HOUR, "0.5")]
    assert onward(silent, known) == [
        (A, NOON, None, "0.5"),
        (B, NOON, None, "0.142857"),
        (REST, NOON, None, "0.357143"),
    ]
    at = NOON + 2 * HOUR
    gone = {**gpu(B, at, end=at), "parent_gpu_uuid": ""}
    assert onward([*silent, gone], known) == [
        (A, NOON, None, "0.5"),
        (B, NOON, at, "0.142857"),
        (REST, NOON, at, "0.357143"),
        (REST, at, None, "0.5"),
    ]
    replaced = [gpu(A, NOON + HOUR, "0.5", **HALF), gpu("a-gi-9", at, "0.142857", **SEVENTH)]
    assert onward(replaced, known) == [
        (A, NOON, None, "0.5"),
        (B, NOON, at, "0.142857"),
        ("a-gi-9", at, None, "0.142857"),
        (REST, NOON, None, "0.357143"),
    ]


def test_a_board_whose_slices_are_all_gone_has_no_rest() -> None:
    known = [gpu(A, NOON, "0.5", **HALF), gpu(REST, NOON, "0.5")]
    at = NOON + HOUR
    gone = {**gpu(A, at, end=at), "parent_gpu_uuid": ""}
    assert onward([gone], known) == [(A, NOON, at, "0.5"), (REST, NOON, at, "0.5")]


def test_what_the_ledger_knows_of_a_board_is_not_told_anew() -> None:
    """A stretch that is asked again tells of the time before the cut: whole it was, and that is over."""
    cut = NOON + 2 * HOUR
    known = [gpu("a", NOON, end=cut), gpu(A, cut, "0.5", **HALF), gpu(REST, cut, "0.5")]
    past = Told(NOON + HOUR, NOON + 9 * HOUR)
    assert kept([gpu("a", NOON + HOUR / 2)], known, past) == []
    assert kept([gpu("a", NOON - HOUR)], known, past) == [("a", NOON - HOUR, NOON, "1")]
    crossing = [
        gpu("a", NOON + HOUR, end=cut),
        gpu(A, cut, "0.5", **HALF),
        gpu(REST, cut, "0.5"),
    ]
    assert kept(crossing, known, Told(NOON + 10 * HOUR, NOON + 9 * HOUR)) == [
        (A, cut, None, "0.5"),
        (REST, cut, None, "0.5"),
    ]


def test_pieces_of_a_time_before_all_that_is_known_are_one_stay() -> None:
    known = [gpu("a", NOON)]
    first = Told(NOON - 4 * HOUR, NOON + HOUR)
    told = kept([gpu("a", NOON - 5 * HOUR)], known, first)
    assert told == [("a", NOON - 5 * HOUR, NOON - 4 * HOUR, "1")]
    known.append(gpu("a", NOON - 5 * HOUR, end=NOON - 4 * HOUR))
    second = Told(NOON - HOUR, NOON + HOUR, first.reached_at)
    step = timedelta(minutes=1)
    assert kept([gpu("a", NOON - 4 * HOUR + step)], known, second) == [("a", NOON - 5 * HOUR, NOON - HOUR, "1")]
    known[1] = gpu("a", NOON - 5 * HOUR, end=NOON - HOUR)
    third = Told(NOON + HOUR / 2, NOON + HOUR, second.reached_at)
    assert kept([gpu("a", NOON - HOUR + step)], known, third) == [("a", NOON - 5 * HOUR, NOON, "1")]


def test_a_board_that_an_agent_tells_cut_is_left_to_it() -> None:
    known = [gpu("a-MIG", NOON, "0.5", **HALF), gpu(REST, NOON, "0.5")]
    assert onward([gpu(A, NOON + HOUR, "0.5", **HALF), gpu(REST, NOON + HOUR, "0.5")], known) == []
    assert onward([gpu("a", NOON + HOUR)], known) == []
    left = NOON + HOUR
    over = [{**each, "exists_end": left} for each in known]
    assert onward(over, known) == [("a-MIG", NOON, left, "0.5"), (REST, NOON, left, "0.5")]


def test_a_source_that_is_new_rewrites_nothing_that_an_agent_told() -> None:
    cut = NOON + 2 * HOUR
    known = [gpu("a", NOON, end=cut), gpu("a-MIG", cut, "0.5", **HALF), gpu(REST, cut, "0.5"), gpu("b", NOON)]
    told = [
        gpu("a", NOON + HOUR, end=cut),
        gpu(A, cut, "0.5", **HALF),
        gpu(REST, cut, "0.5"),
        gpu("b", NOON - HOUR),
        gpu("d", NOON),
    ]
    assert kept(told, known, Told(NOON + 4 * HOUR)) == [
        ("b", NOON - HOUR, NOON, "1"),
        ("b", NOON, None, "1"),
        ("d", NOON, None, "1"),
    ]


def test_a_device_that_came_and_went_in_one_stretch_has_both_ends() -> None:
    seen, gone = NOON + HOUR, NOON + 3 * HOUR
    for known in ([], [gpu("a", NOON)]):
        start = NOON if known else seen
        assert onward([gpu("a", seen), gpu("a", gone, end=gone)], known) == [("a", start, gone, "1")]
    slices = [gpu(A, seen, "0.5", **HALF), gpu(REST, seen, "0.5"), {**gpu(A, gone, end=gone), "parent_gpu_uuid": ""}]
    known = [gpu(A, NOON, "0.5", **HALF), gpu(REST, NOON, "0.5")]
    assert onward(slices, known) == [(A, NOON, gone, "0.5"), (REST, NOON, gone, "0.5")]
