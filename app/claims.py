"""Findings that claim the same saving are counted once, on the page and in the mail."""

import polars as pl


def counted_once(findings: pl.DataFrame) -> pl.DataFrame:
    """Return findings, those that free most first, without any that a larger one excludes."""
    ordered = findings.sort(
        "saving_effective_month", "freed_gpu_hours_month", "finding_id", descending=[True, True, False], nulls_last=True
    )
    taken: set[str] = set()
    kept: list[str] = []
    for finding, excludes in ordered.select("finding_id", "excludes").iter_rows():
        if finding not in taken:
            kept.append(finding)
            taken.update(each for each in excludes.split(",") if each)
    return ordered.filter(pl.col("finding_id").is_in(kept))
