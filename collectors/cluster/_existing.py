"""Since when something exists: a source sees it from some instant on, and the ledger may have known it before."""

import polars as pl


def begun(told: pl.DataFrame, before: pl.DataFrame, subject: list[str]) -> pl.DataFrame:
    """Return inventory rows that go on where the ledger has an open row of the same subject.

    Such a row keeps its start, and what is not told now keeps its value. What is told of a time before an open row
    ends where that begins.
    """
    if told.is_empty() or before.is_empty():
        return told
    known = before.sort("exists_start").unique(subject, keep="last", maintain_order=True)
    others = [name for name in told.columns if name not in {*subject, "exists_start", "exists_end"}]
    both = told.join(known, on=subject, how="left", suffix="_before", maintain_order="left")
    start, earlier = pl.col("exists_start"), pl.col("exists_start_before")
    goes_on = (earlier <= start).fill_null(value=False)
    return both.with_columns(
        pl.when(goes_on).then(earlier).otherwise(start).alias("exists_start"),
        pl.when(earlier > start).then(pl.coalesce("exists_end", earlier)).otherwise("exists_end").alias("exists_end"),
        *(pl.when(goes_on).then(pl.coalesce(name, f"{name}_before")).otherwise(name).alias(name) for name in others),
    ).select(told.columns)
