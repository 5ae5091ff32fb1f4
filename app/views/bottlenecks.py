"""What limits the GPUs, in time and money, and which jobs are hit worst."""

import polars as pl
import streamlit as st

from app import bottleneck_money, chart, data, display, links, sums, table
from app import format as written
from app.budgets import escaped
from app.charts import bottlenecks as bottleneck_charts
from app.page import page
from app.table import Column
from app.views import _job_costs
from queries.display import Shown
from queries.measures import gpu_time, spending

_NO_LOSS = ("compute_tensor", "compute_other", "power_capped")

# What a class is, and what usually helps.
ADVICE = {
    "input_storage": "Waits for storage: cache or stage the data, use larger files, read ahead.",
    "input_cpu": "Waits for processors that prepare input: more loader workers, or move the work to the GPU.",
    "host_memory": "The node runs short of memory: fewer loader workers, smaller caches.",
    "communication": "Waits for other GPUs: overlap communication, larger batches, check the fabric.",
    "dram_bound": "Limited by device memory bandwidth: fuse kernels, lower precision.",
    "compute_tensor": "Limited by the tensor pipes: the best there is.",
    "compute_other": "Limited by other pipes: mixed precision would use the tensor pipes.",
    "launch_bound": "Small kernels: larger batches, CUDA graphs, compilation.",
    "power_capped": "Held at the power limit: normal at full load.",
    "straggler": "Slower than its peers: look at its node's health.",
    "idle": "Nothing ran. The job's page says why, where evidence does.",
    "throttled": "Slowed for heat or by a power brake: check cooling and power.",
    "unknown": "Not enough evidence: the agent's `check` says what would show more.",
}


@page("Bottlenecks", section="Observe", order=3, icon=":material/filter_alt:")
def bottlenecks() -> None:
    """Show the share of GPU time and money that each cause takes, then the jobs it hits worst."""
    found = _job_costs.bottleneck_jobs()
    if found.frame.is_empty():
        st.info("No job held a GPU in this window, or no sample of one was kept.")
        return
    priced = data.once(bottleneck_money.with_cost, found.frame)
    classes = data.once(bottleneck_money.by_class, priced)
    currencies = data.once(bottleneck_money.cost_columns, priced)
    worst = classes.filter(~pl.col("bottleneck").is_in([*_NO_LOSS, "unknown"]))
    if not worst.is_empty():
        first = worst.row(0, named=True)
        costs = {name: first[column] for name, column in currencies.items() if first[column] is not None}
        cost = f", {escaped(sums.shown(costs, marked=found.marked))}" if costs else ""
        st.markdown(
            f"The largest loss is **{written.words(first['bottleneck'])}**: "
            f"{written.percent(first['limited_ratio'])} of the GPU time that jobs held{cost}. "
            f"{ADVICE[first['bottleneck']]}"
        )
    chart.show(bottleneck_charts.shares, classes, key="classes", alt="GPU-hours by what limited them")
    table.show(
        data.once(_described, classes),
        {
            "name": Column("Limited by"),
            "limited_ratio": Column("Share", "percent", "Of the GPU time that jobs held."),
            "gpu_hours": Column(gpu_time.LIMITED_GPU_HOURS.title, "hours", gpu_time.LIMITED_GPU_HOURS.means),
            **{
                column: Column(f"Cost ({display.label(found, name)})", "money", spending.LIMITED_COST.means)
                for name, column in currencies.items()
            },
            "advice": Column("What it is, what helps"),
        },
        key="class-table",
        file_name="bottlenecks",
    )
    _worst_jobs(priced, classes, found)
    if found.words:
        st.caption(found.words)


def _described(classes: pl.DataFrame) -> pl.DataFrame:
    name = pl.col("bottleneck")
    return classes.with_columns(name=name.str.replace_all("_", " "), advice=name.replace_strict(ADVICE))


def _worst(priced: pl.DataFrame, name: str) -> pl.DataFrame:
    mine = priced.filter(pl.col("bottleneck") == name)
    hours = mine.with_columns(gpu_hours=pl.col("gpu_seconds").cast(pl.Float64) / 3600)
    return hours.sort("gpu_hours", descending=True, maintain_order=True).head(50)


def _worst_jobs(priced: pl.DataFrame, classes: pl.DataFrame, shown: Shown) -> None:
    st.subheader("Jobs hit worst", anchor=False)
    names = classes["bottleneck"].to_list()
    losing = [name for name in names if name not in _NO_LOSS]
    chosen = st.selectbox("Limited by", losing or names, key="class", bind="query-params")
    picked = table.show(
        display.marked(data.once(_worst, priced, chosen), shown),
        {
            "job_id": Column("Job"),
            "job_name": Column("Name"),
            "user": Column("User"),
            "team": Column("Team"),
            "model": Column("Model"),
            "gpu_hours": Column("GPU-hours", "hours"),
            "cost": Column("Cost", "money"),
            "billing_currency": Column("Currency"),
        },
        key="worst",
        file_name="bottleneck-jobs",
        select=True,
    )
    if picked:
        links.to("jobs", f"Open job {picked['job_id']}", **links.to_job(picked))
