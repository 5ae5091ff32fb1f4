"""The expressions against the scalar rules."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ledger.counters import delta
from queries.counters import Limit, delta_name, deltas

T0 = datetime(2026, 11, 20, tzinfo=UTC)
SCHEMA = {
    "node": pl.String,
    "device": pl.String,
    "sampled_at": pl.Datetime("us", "UTC"),
    "boot_id": pl.String,
    "step_seconds": pl.Float64,
    "line_rate": pl.Float64,
    "wide_total": pl.Float64,
    "narrow_total": pl.Float64,
}
LIMITS = {"wide_total": Limit(line_rate="line_rate"), "narrow_total": Limit(width=16)}

values = st.one_of(st.none(), st.integers(0, 70_000).map(float), st.integers(65_000, 65_535).map(float))
rows = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from(["x", "y"]),
        st.integers(0, 200),
        st.sampled_from(["boot1", "boot1", "boot1", "boot2", None]),
        st.sampled_from([None, 100.0, 5_000.0]),
        values,
        values,
    ),
    max_size=25,
    unique_by=lambda row: row[:3],
)


@given(rows)
def test_every_row_equals_the_scalar_rule(
    drawn: list[tuple[str, str, int, str | None, float | None, float | None, float | None]],
) -> None:
    records = [
        (node, device, T0 + timedelta(seconds=second), boot, 10.0, rate, wide, narrow)
        for node, device, second, boot, rate, wide, narrow in drawn
    ]
    frame = pl.DataFrame(records, schema=SCHEMA, orient="row")
    found = deltas(frame.lazy(), ["wide_total", "narrow_total"], by=("node", "device"), limits=LIMITS).collect()
    assert found.height == len(records)
    previous: dict[str, object] | None = None
    for row in found.iter_rows(named=True):
        same = previous is not None and (previous["node"], previous["device"]) == (row["node"], row["device"])
        if not same or previous is None:
            assert row["elapsed_ms"] is None
            assert row["is_gap"] is None
            assert row["wide_delta"] is None
            assert row["narrow_delta"] is None
        else:
            elapsed = (row["sampled_at"] - previous["sampled_at"]).total_seconds()
            assert row["elapsed_ms"] == round(elapsed * 1000)
            assert row["elapsed_seconds"] == elapsed
            assert row["is_gap"] == (elapsed > 30)
            for name, options in (
                ("wide_total", {"line_rate": row["line_rate"]}),
                ("narrow_total", {"width": 16}),
            ):
                expected = delta(
                    previous[name],
                    row[name],
                    elapsed_seconds=elapsed,
                    step_seconds=row["step_seconds"],
                    **options,  # type: ignore[arg-type]
                ).value
                if previous["boot_id"] != row["boot_id"]:
                    expected = None
                assert row[delta_name(name)] == expected
        previous = row


def test_row_order_does_not_matter_and_gaps_can_be_kept() -> None:
    records = [
        ("a", "x", T0 + timedelta(seconds=second), "boot", 10.0, None, value, None)
        for second, value in ((100, 900.0), (0, 100.0), (10, 150.0))
    ]
    frame = pl.DataFrame(records, schema=SCHEMA, orient="row").lazy()
    dropped = deltas(frame, ["wide_total"], by=("node", "device")).collect()
    assert dropped["wide_delta"].to_list() == [None, 50.0, None]
    assert dropped["is_gap"].to_list() == [None, False, True]
    kept = deltas(frame, ["wide_total"], by=("node", "device"), keep_gaps=True).collect()
    assert kept["wide_delta"].to_list() == [None, 50.0, 750.0]
