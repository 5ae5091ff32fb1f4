"""Since when something exists: a source sees it from some instant on, and the ledger may have known it before."""

import polars as pl


def begun(told: pl.DataFrame, before: pl.DataFrame, subject: list[str]) -> pl.DataFrame:
    """Return inventory rows that go on where the ledger has an open row of the same subject.

    Such a row keeps its start, and what is not told now keeps its value. What is told of a time before an open row
    ends where that begins. A row that starts where it ends says only that its subject is gone: it ends an open row.
    """
    others = [name for name in told.columns if name not in {*subject, "exists_start", "exists_end"}]
    known = before.sort("exists_start").unique(subject, keep="last", maintain_order=True)
    both = told.join(known, on=subject, how="left", suffix="_before", maintain_order="left")
    start, end, earlier = pl.col("exists_start"), pl.col("exists_end"), pl.col("exists_start_before")
    goes_on = (earlier <= start).fill_null(value=False)
    is_end = start.eq_missing(end)
    return (
        both.filter(~is_end | goes_on)
        .with_columns(
            pl.when(goes_on).then(earlier).otherwise(start).alias("exists_start"),
            pl.when(earlier > start).then(pl.coalesce(end, earlier)).otherwise(end).alias("exists_end"),
            *(
                pl.when(is_end)
                .then(f"{name}_before")
                .when(goes_on)
                .then(pl.coalesce(name, f"{name}_before"))
                .otherwise(name)
                .alias(name)
                for name in others
            ),
        )
        .select(told.columns)
    )


def superseded(told: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """Return open devices with their end that others have taken the place of: a whole one its slices', or they its."""
    place = ["cluster", "node"]
    here = told.filter(pl.col("exists_end").is_null()).select(*place, "gpu_uuid", "parent_gpu_uuid", "exists_start")
    since = pl.col("exists_start").min().alias("_since")
    slices = (
        here.filter(pl.col("parent_gpu_uuid") != "").group_by(*place, pl.col("parent_gpu_uuid").alias("_is")).agg(since)
    )
    wholes = here.filter(pl.col("parent_gpu_uuid") == "").group_by(*place, pl.col("gpu_uuid").alias("_is")).agg(since)
    cut = before.join(slices, left_on=[*place, "gpu_uuid"], right_on=[*place, "_is"])
    whole = before.join(wholes, left_on=[*place, "parent_gpu_uuid"], right_on=[*place, "_is"])
    over = pl.concat([cut, whole]).join(here, on=[*place, "gpu_uuid"], how="anti")
    ended = over.with_columns(pl.max_horizontal("exists_start", "_since").alias("exists_end"))
    return ended.select(told.columns)
