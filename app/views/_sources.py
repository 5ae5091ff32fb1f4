"""How the services stand that the hub asks, and of what time they answered only a part."""

import polars as pl
import streamlit as st

from app import controls, data, table
from app.table import Column


def sources() -> None:
    """Show how each configured source stands; where none is configured there is nothing to say."""
    wanted = data.settings().sources
    if not wanted:
        return
    st.subheader("Sources that the hub asks", anchor=False)
    table.show(
        data.once(_each_source, controls.answer("sources"), tuple((n, str(wanted[n].get("kind", ""))) for n in wanted)),
        {
            "source_name": Column("Source"),
            "kind": Column("Kind"),
            "cluster": Column("Cluster"),
            "status": Column("Last pull", help="done, failed, running, or not asked yet."),
            "reached_at": Column("Known to", "instant", "The next pull begins there."),
            "answered_at": Column("Last answer", "instant"),
            "row_count": Column("New rows", "count", "Of the last pull."),
            "rejected_count": Column("Refused rows", "count", "Of the last pull."),
            "failed_count": Column("Failures in a row", "count"),
            "message": Column("Message"),
        },
        key="sources",
        file_name="sources",
    )
    _gaps(controls.answer("source_gaps"))


def _gaps(gaps: pl.DataFrame) -> None:
    """Show of which stretches a source answered only a part; where all answered whole there is nothing to say."""
    if gaps.is_empty():
        return
    st.markdown(
        "**Answered in part**, as often as they were asked: what is there was kept, and some of it is missing. "
        "Once the source is whole again, the command asks for it anew; a stretch that is whole leaves this list."
    )
    table.show(
        gaps,
        {
            "source_name": Column("Source"),
            "cluster": Column("Cluster"),
            "missing_since": Column("From", "instant"),
            "gap_end": Column("To", "instant"),
            "asked_count": Column("Asked", "count", "How often, before what there was was kept."),
            "command": Column("To ask again"),
            "message": Column("Message"),
        },
        key="source_gaps",
        file_name="source_gaps",
    )


def _each_source(known: pl.DataFrame, wanted: tuple[tuple[str, str], ...]) -> pl.DataFrame:
    """Return a row for each configured source, also for one that was not asked yet."""
    named = pl.DataFrame(wanted, schema={"source_name": pl.String, "named_kind": pl.String}, orient="row")
    joined = named.join(known, on="source_name", how="left", maintain_order="left")
    return joined.with_columns(
        kind=pl.coalesce("kind", "named_kind"), status=pl.col("status").fill_null("not asked yet")
    ).sort(pl.col("failed_count").fill_null(0), descending=True, maintain_order=True)
