"""Ports of a node-hour held against what should be: what its row says, what most nodes like it have, what a bond needs.

A port that is down on all nodes alike has no cable: what is missing is what others have, or what the row asks for.
A member of a bond has one, or nobody would have bound it: it is missed wherever it is down.
"""

from typing import Final

import polars as pl

from ledger.expressions import divided, to_milliseconds, total
from queries.rollups._like_nodes import PLACE, described, usual_count, usual_rates, with_usual

_GIGABIT: Final = 125_000_000


def rdma_links(hours: pl.DataFrame, nodes: pl.DataFrame) -> pl.DataFrame:
    """Return a row per node-hour: which RDMA ports should be, which were, and what is amiss in words."""
    names = pl.format("{}/{}", "device", "port")
    ports = _ports(hours.filter(pl.col("is_rdma").fill_null(value=False))).with_columns(names.alias("name"))
    return _judged(ports, described(ports, nodes), "")


def ethernet_links(hours: pl.DataFrame, nodes: pl.DataFrame) -> pl.DataFrame:
    """Return the same of Ethernet ports; what the row asks for stands in columns of its own."""
    is_office = (pl.col("link_layer") == "Ethernet") & ~pl.col("is_rdma").fill_null(value=False)
    names = pl.concat_str(
        "device", pl.when(pl.col("bond") != "").then(pl.format(" of {}", "bond")).otherwise(pl.lit(""))
    )
    ports = _ports(hours.filter(is_office)).with_columns(names.alias("name"))
    asked = nodes.with_columns(
        pl.col("expected_ethernet_port_count").alias("expected_port_count"),
        pl.col("expected_ethernet_line_rate_bytes_per_second").alias("expected_line_rate_bytes_per_second"),
    )
    return _judged(ports, described(ports, asked), "Ethernet ")


def _ports(hours: pl.DataFrame) -> pl.DataFrame:
    """Return the ports whose state was told: up_ms, down_ms, lowest and highest rate while up."""
    rate = pl.col("line_rate_bytes_per_second")
    return hours.filter(pl.col("up_seconds").is_not_null()).with_columns(
        to_milliseconds("up_seconds").alias("up_ms"),
        to_milliseconds("down_seconds").alias("down_ms"),
        to_milliseconds("observed_seconds").alias("link_ms"),
        pl.col("lowest_line_rate_bytes_per_second").alias("lowest"),
        pl.when(pl.col("up_seconds") > 0).then(rate).alias("highest"),
        (pl.col("bond").fill_null("") != "").alias("is_bound"),
    )


def _judged(ports: pl.DataFrame, kinds: pl.DataFrame, sort: str) -> pl.DataFrame:
    """Return a row per node-hour: what should be, what was, and what is amiss in words."""
    rows = ports.join(kinds, on=PLACE, maintain_order="left")
    rows = with_usual(with_usual(rows, usual_rates(ports, kinds)), usual_count(ports, kinds))
    rows = rows.with_columns((pl.col("up_ms") > 0).alias("is_up"), (pl.col("down_ms") > 0).alias("is_down"))
    asked = "expected_line_rate_bytes_per_second"
    of_bond = pl.when(pl.col("is_bound")).then(pl.col("highest").max().over(*PLACE, "bond"))
    rows = rows.with_columns(
        pl.coalesce("expected_port_count", pl.max_horizontal("usual_count", _bound_and_up())).alias("count"),
        pl.coalesce(asked, "usual_rate", of_bond).alias("rate"),
    )
    is_slow = pl.col("is_up") & (pl.col("lowest") < pl.col("rate"))
    # Where the row says how many ports of which rate there are to be, others may be slower.
    enough = (pl.col("is_up") & ~is_slow.fill_null(value=False)).sum().over(PLACE) >= pl.col("expected_port_count")
    is_spare = pl.col(asked).is_not_null() & enough.fill_null(value=False)
    # A port that is up on no like node is no port that is missing here.
    is_for_use = pl.col("usual_rate").is_not_null() | (
        pl.col("usual_count").is_null() & (pl.col("expected_port_count").is_not_null() | ~_has_bond())
    )
    rows = rows.with_columns(
        (pl.col("is_down") & (is_for_use | pl.col("is_bound"))).alias("is_missed"),
        (is_slow & ~is_spare).fill_null(value=False).alias("is_slow"),
    )
    return _counted(rows, sort)


def _has_bond() -> pl.Expr:
    """Tell whether any port of the node-hour is a member of a bond."""
    return pl.col("is_bound").any().over(PLACE)


def _bound_and_up() -> pl.Expr:
    """Return how many ports a node with bonds must have: all that are bound, and the others that were up throughout."""
    is_used = pl.col("is_bound") | (pl.col("is_up") & ~pl.col("is_down"))
    return pl.when(_has_bond()).then(is_used.sum().over(PLACE)).cast(pl.Int64)


def _counted(rows: pl.DataFrame, sort: str) -> pl.DataFrame:
    """Return the node-hours of judged ports."""
    asked, rate = pl.col("expected_line_rate_bytes_per_second"), pl.col("rate")
    told = pl.col("count").first()
    whole = (pl.col("is_up") & ~pl.col("is_down")).sum().cast(pl.Int64)
    configured = (pl.col("expected_port_count").is_not_null() | asked.is_not_null()).any()
    rates, alike = rate.drop_nulls(), rate.drop_nulls().n_unique() == 1
    whole_rate = pl.when(alike).then(told * rates.first()).when(rates.len() == told).then(rates.sum())
    told_ports = rows.sort("device", "port").with_columns(_words().alias("words"))
    sums = told_ports.group_by(PLACE, maintain_order=True).agg(
        told.alias("expected_port_count"),
        pl.when(alike).then(rates.first()).alias("expected_line_rate_bytes_per_second"),
        pl.when(configured)
        .then(pl.lit("configured"))
        .when(pl.col("usual_count").first().is_not_null())
        .then(pl.lit("peers"))
        .when(told.is_not_null())
        .then(pl.lit("bond"))
        .alias("expectation_source"),
        pl.len().cast(pl.Int64).alias("port_count"),
        whole.alias("up_port_count"),
        (told - whole).clip(lower_bound=0).alias("down_port_count"),
        pl.when(rate.is_not_null().any()).then(pl.col("is_slow").sum().cast(pl.Int64)).alias("degraded_port_count"),
        whole_rate.alias("whole_rate"),
        total(pl.col("capacity_bytes")).alias("carried"),
        pl.col("link_ms").max(),
        pl.col("words").filter(pl.col("words") != "").str.join("; "),
    )
    return _said(sums, sort)


def _said(sums: pl.DataFrame, sort: str) -> pl.DataFrame:
    """Add what could have been carried and was, and what is amiss in words."""
    sums = sums.with_columns(
        divided(pl.col("whole_rate") * pl.col("link_ms"), 1000).alias("expected_capacity_bytes"),
    )
    short = pl.col("down_port_count").fill_null(0) + pl.col("degraded_port_count").fill_null(0) > 0
    missing = pl.col("expected_port_count") - pl.col("port_count")
    gone = (
        pl.when(missing > 0)
        .then(pl.format(f"{{}} of {{}} {sort}ports not there", missing, "expected_port_count"))
        # Each node may have its cable in another port.
        .when(pl.col("words") == "")
        .then(pl.format(f"{{}} of {{}} {sort}ports not up", "down_port_count", "expected_port_count"))
    )
    said = pl.concat_str([gone, pl.when(pl.col("words") != "").then("words")], separator="; ", ignore_nulls=True)
    return sums.with_columns(
        pl.when(short).then(said).otherwise(pl.lit("")).alias("evidence"),
        # The least of two ignores what is null: ports that were all down carried nothing, and not what they should.
        pl.when(pl.col("carried").is_not_null())
        .then(pl.min_horizontal("carried", "expected_capacity_bytes"))
        .alias("capacity_bytes"),
    )


def _words() -> pl.Expr:
    """Return what is amiss with a port, '' if nothing is."""
    name = pl.col("name")
    down = pl.when(pl.col("is_missed")).then(
        pl.when(pl.col("is_up"))
        .then(pl.format("{} down for {} s", name, pl.col("down_ms") // 1000))
        .otherwise(pl.format("{} down", name))
    )
    gigabits = [divided(pl.col(each), _GIGABIT).round(1) for each in ("lowest", "rate")]
    slow = pl.when(pl.col("is_slow")).then(pl.format("{} at {} of {} Gb/s", name, *gigabits))
    return pl.concat_str([down, slow], separator=", ", ignore_nulls=True)
