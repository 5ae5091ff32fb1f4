"""Split cost allocation data: AWS's own division of a node's cost over the pods and tasks that ran on it.

Its lines have no cost of their own (`UnblendedCost` is 0 or empty), since the node's line has it: summed with the
charges they would count twice. They go into a table of their own. `unused_cost` of all pods of a node is what nobody
asked for, which AWS spreads over them; a line for unused capacity states the same money once more.
"""

import polars as pl

from ledger import money
from ledger.tables import SplitCharge

_ZERO = r"^[-+]?0*\.?0*(?:[eE][-+]?[0-9]+)?$"
_INSTANT = pl.Datetime("us", "UTC")


def is_split() -> pl.Expr:
    """Tell the lines that only divide another line's cost; one with a cost of its own is a charge all the same."""
    cost = pl.col("lineitemunblendedcost")
    is_free = cost.is_null() | cost.str.contains(_ZERO)
    return pl.col("splitlineitemparentresourceid").is_not_null() & is_free


def splits(rows: pl.DataFrame, first_index: int) -> pl.DataFrame:
    """Return how nodes are divided, one row for each such line; what is no amount or instant is null."""
    found = rows.with_row_index("row_index", offset=first_index).filter(is_split())
    amounts = {
        "split_cost": pl.coalesce("splitlineitemnetsplitcost", "splitlineitemsplitcost"),
        "unused_cost": pl.coalesce("splitlineitemnetunusedcost", "splitlineitemunusedcost"),
        "ReservedQuantity": pl.col("splitlineitemreservedusage"),
        "ActualQuantity": pl.col("splitlineitemactualusage"),
        "SplitQuantity": pl.col("splitlineitemsplitusage"),
    }
    parsed = [
        money.parse_column(found.select(expression.alias(name)).to_series()).amounts.alias(name)
        for name, expression in amounts.items()
    ]
    instants = {
        "billing_period_start": "billbillingperiodstartdate",
        "charge_start": "lineitemusagestartdate",
        "charge_end": "lineitemusageenddate",
    }
    return (
        found.select(
            pl.lit("").alias("import_id"),
            pl.col("row_index").cast(pl.Int64),
            pl.col("billpayeraccountid").alias("billing_account_id"),
            pl.col("lineitemusageaccountid").alias("sub_account_id"),
            *(_instant(own).alias(name) for name, own in instants.items()),
            pl.col("lineitemresourceid").alias("resource_id"),
            pl.col("splitlineitemparentresourceid").alias("parent_resource_id"),
            pl.col("lineitemusagetype").alias("meter"),
            pl.col("lineitemcurrencycode").alias("billing_currency"),
            pl.col("pricingunit").alias("QuantityUnit"),
            pl.col("splitlineitemsplitusageratio").cast(pl.Float64, strict=False).alias("split_ratio"),
            pl.col("tags"),
        )
        .with_columns(parsed)
        .select(SplitCharge.column_names())
    )


def _instant(column: str) -> pl.Expr:
    text = pl.col(column).str.replace(" ", "T").str.head(19)
    return text.str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False, time_unit="us").dt.replace_time_zone("UTC")
