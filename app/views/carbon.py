"""What the energy of GPUs emitted, by model, team, region and job."""

import polars as pl
import streamlit as st

from app import cards, chart, controls, data, table
from app import format as written
from app.charts import carbon as carbon_charts
from app.page import page
from app.table import Column
from queries import measure
from queries.measures import carbon as measures

_BY = ("model", "team", "region", "job")
_SHOWN = (
    measures.CARBON,
    measures.GRID_INTENSITY,
    measures.ENERGY,
    measures.SITE_ENERGY,
    measures.CARBON_A_GPU_HOUR,
    measures.ENERGY_KNOWN,
    measures.WHOLE_NODES_KNOWN,
    measures.CARBON_KNOWN,
)
_BESIDE = {measures.GRID_INTENSITY.name: "", measures.SITE_ENERGY.name: "with the site"}


@page("Carbon", section="Money", order=8, icon=":material/eco:")
def carbon() -> None:
    """Show energy and CO₂ equivalent, and how much of both is known."""
    by = str(st.segmented_control("By", list(_BY), default="model", key="carbon_by", bind="query-params") or "model")
    whole = controls.answer("carbon", by="region")
    if whole.is_empty():
        st.info("No device was seen in this window. Start `clusterledger agent` on nodes with GPUs.")
        return
    known = data.once(measure.values, whole, _SHOWN)
    with cards.row(4):
        for of, beside in ((measures.CARBON, measures.GRID_INTENSITY), (measures.ENERGY, measures.SITE_ENERGY)):
            detail = f"{written.measured(beside.unit, beside.name, known[beside.name])} {_BESIDE[beside.name]}"
            cards.number(of, known[of.name], detail.strip())
        cards.number(measures.CARBON_A_GPU_HOUR, known[measures.CARBON_A_GPU_HOUR.name])
        nodes = measures.WHOLE_NODES_KNOWN
        of_nodes = f"whole nodes {written.measured(nodes.unit, nodes.name, known[nodes.name])}"
        cards.number(measures.ENERGY_KNOWN, known[measures.ENERGY_KNOWN.name], of_nodes)
    controls.say_days()
    _unknown(known)
    days = controls.answer("carbon_days", by="team" if by == "job" else by)
    if not days.is_empty():
        chart.show(carbon_charts.by_day, days, key="carbon-days", alt=f"CO₂ equivalent by day and {by}")
    _table(data.once(_known, controls.answer("carbon", by=by)), by)
    sources = sorted({each for said in whole["grid_sources"].drop_nulls() for each in said.split("; ")})
    st.caption(
        "Energy of whole nodes where their controllers measure it (IPMI, Redfish), else of the GPU boards by their own "
        "counters without processors and memory, times PUE, times the yearly mean of the grid. "
        f"{'; '.join(sources) or 'No grid is known'}. Other figures, of a site or a contract, stand in "
        "`[[rollups.carbon.sites]]`. The making of the hardware is not in it."
    )


def _unknown(known: dict[str, float | int | None]) -> None:
    """Say what to state where energy is measured and carbon is not known."""
    if (known[measures.ENERGY_KNOWN.name] or 0) > (known[measures.CARBON_KNOWN.name] or 0):
        st.warning(
            "Of a part of the energy the grid or the PUE is not known: its carbon is not in the sums. State both for "
            "the region in `[[rollups.carbon.sites]]`."
        )


def _known(groups: pl.DataFrame) -> pl.DataFrame:
    """Return groups with the share of their device time whose energy is known."""
    return measure.with_each(
        groups, ("name", "of_cluster", "submitted_at"), measures.ENERGY_KNOWN, measures.CARBON_A_GPU_HOUR
    )


def _table(groups: pl.DataFrame, by: str) -> None:
    of_job = {"of_cluster": Column("Cluster"), "submitted_at": Column("Submitted", "instant")} if by == "job" else {}
    table.show(
        groups,
        {
            "name": Column(by.capitalize()),
            **of_job,
            "carbon_kilograms": Column("kg CO₂e", "decimal", measures.CARBON.means),
            "kilowatt_hours": Column("kWh of GPUs", "decimal", measures.ENERGY.means),
            measures.CARBON_A_GPU_HOUR.name: Column("g per GPU-hour", "decimal", measures.CARBON_A_GPU_HOUR.means),
            measures.ENERGY_KNOWN.name: Column("Energy known", "percent", measures.ENERGY_KNOWN.means),
        },
        key="carbon",
        file_name=f"carbon-by-{by}",
    )
