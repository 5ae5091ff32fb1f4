"""The rules of counters against a machine that is known to have counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.counters import Delta, delta, top_of

GIB = 2.0**30


@pytest.mark.parametrize(
    ("previous", "current", "options", "expected"),
    [
        (10.0, 15.0, {}, Delta(5.0, "ok")),
        (10.0, 10.0, {}, Delta(0.0, "ok")),
        (None, 10.0, {}, Delta(None, "missing")),
        (10.0, None, {}, Delta(None, "missing")),
        (10.0, 4.0, {}, Delta(None, "reset")),
        (10.0, 4.0, {"width": 32}, Delta(None, "reset")),
        (2.0**32 - 6, 4.0, {"width": 32}, Delta(10.0, "wrap")),
        (2.0**32 - 6, 4.0, {"width": 32, "line_rate": 0.5}, Delta(None, "reset")),
        (2.0**32 - 6, 3.0e9, {"width": 32}, Delta(None, "reset")),
        (2.0**64 - 6, 4.0, {}, Delta(None, "reset")),
        (65_000.0, 65_535.0, {"width": 16}, Delta(None, "saturated")),
        (65_535.0, 65_535.0, {"width": 16}, Delta(None, "saturated")),
        (0.0, 13 * GIB, {"line_rate": GIB}, Delta(None, "absurd")),
        (0.0, 12 * GIB, {"line_rate": GIB}, Delta(12 * GIB, "ok")),
        (1.0, 2.0, {"step_seconds": 3.0}, Delta(None, "gap")),
        (1.0, 2.0, {"step_seconds": 4.0}, Delta(1.0, "ok")),
        (1.0, 2.0, {"elapsed_seconds": 0.0}, Delta(None, "absurd")),
    ],
)
def test_each_rule(previous: float | None, current: float | None, options: dict[str, float], expected: Delta) -> None:
    arguments: dict[str, float] = {"elapsed_seconds": 10.0, **options}
    assert delta(previous, current, **arguments) == expected  # type: ignore[arg-type]


def test_a_counter_of_milliseconds_wraps_in_seconds() -> None:
    top = top_of(32, 0.001)
    found = delta(top, 0.999, width=32, scale=0.001, elapsed_seconds=10)
    assert found.kind == "wrap"
    assert found.value == pytest.approx(1.0)


@given(
    start=st.integers(0, 2**32 - 1),
    grown=st.integers(0, 10_000),
    resets=st.booleans(),
)
def test_it_finds_what_a_32_bit_machine_counted(start: int, grown: int, resets: bool) -> None:
    """The model counts without limit and shows the low 32 bits; a reset starts again from zero."""
    shown = grown if resets else (start + grown) % 2**32
    found = delta(float(start), float(shown), width=32, elapsed_seconds=10, line_rate=2_000)
    if found.value is None or resets:
        # After a reset nothing is claimed, unless the new value lies where growth would have led too.
        assert found.kind in {"reset", "absurd", "saturated"} or shown >= start or start > 2**32 - 2**26
    else:
        assert found.value == grown


@given(start=st.floats(0, 2**53), current=st.floats(0, 2**53), width=st.sampled_from([8, 16, 32, 64]))
def test_growth_is_never_negative_nor_beyond_the_line(start: float, current: float, width: int) -> None:
    found = delta(start, current, width=width, elapsed_seconds=10, line_rate=1e9)
    assert found.value is None or 0 <= found.value <= 1.2e10
    assert (found.value is None) == (found.kind not in {"ok", "wrap"})
