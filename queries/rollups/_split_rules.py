"""How a node's price is divided among its GPUs, processors and memory: named rules, shown beside the number."""

from collections.abc import Callable
from decimal import Decimal
from typing import Final

import polars as pl

from ledger.money_sections import MoneySettings, NodePart

WHOLE_NODE: Final = "whole_node_to_gpu"
"""Processors and memory of a GPU node cannot be bought apart: the GPUs carry all of it."""

PARTS: Final[tuple[NodePart, ...]] = ("gpu", "cpu", "memory")

CUSTOM: Final = "custom"
"""The shares of `money.split_ratios`."""

_GIB: Final = 2**30
_MILLIONTHS: Final = 1_000_000
_FIXED: Final = {WHOLE_NODE: (1, 0, 0), "95_3_2": (95, 3, 2), "70_30": (70, 18, 12)}
"""95/3/2 are Datadog's shares; 70 for GPUs is Grafana's cloudcost-exporter, its rest divided 60 to 40 as usual."""


def _fixed(gpu: int, cpu: int, memory: int) -> Callable[[], tuple[pl.Expr, ...]]:
    return lambda: tuple(pl.lit(each, dtype=pl.Int64) for each in (gpu, cpu, memory))


def _aws() -> tuple[pl.Expr, ...]:
    """Return 9 for a GPU, 0.9 for a processor and 0.1 for a GiB, times 10 GiB, to be whole numbers.

    Source: AWS split cost allocation data, accelerated instances.
    """
    memory = pl.col("memory_bytes").cast(pl.Int64)
    return pl.col("gpu_count") * (90 * _GIB), pl.col("cpu_count") * (9 * _GIB), memory


_RULES: Final[dict[str, Callable[[], tuple[pl.Expr, ...]]]] = {
    **{name: _fixed(*shares) for name, shares in _FIXED.items()},
    "aws_9_09_01": _aws,
}


def weights_said(settings: MoneySettings) -> dict[str, object]:
    """Return the weights of each rule, to be shown beside the number and stored with it."""
    fixed: dict[str, object] = {
        name: {"x_Unit": "ShareOfNode", "x_Weights": dict(zip(PARTS, shares, strict=True))}
        for name, shares in _FIXED.items()
    }
    aws = {"x_Unit": "GPU, vCPU, GiB", "x_Weights": {"gpu": 9, "cpu": 0.9, "memory": 0.1}}
    ratios = {part: str(settings.split_ratios.get(part, Decimal(0))) for part in PARTS}
    return fixed | {"aws_9_09_01": aws, CUSTOM: {"x_Unit": "ShareOfNode", "x_Weights": ratios}}


def part_weights(places: pl.DataFrame, settings: MoneySettings) -> pl.DataFrame:
    """Return the whole-number weights of the parts of each node-hour, and the rule that was used.

    Shape, grain: one row per place and part of some weight. A node whose processors or memory are not known
    takes `whole_node_to_gpu`, and its rows say so.
    """
    rule = settings.split_rule
    shares = [int(settings.split_ratios.get(part, Decimal(0)) * _MILLIONTHS) for part in PARTS]
    chosen = _fixed(*shares) if rule == CUSTOM else _RULES[rule]
    measured = (pl.col("gpu_count") > 0) & (pl.col("cpu_count") > 0) & (pl.col("memory_bytes") > 0)
    applies = measured.fill_null(value=False) & pl.lit(rule != WHOLE_NODE)
    weights = [
        pl.when("applies").then(ours).otherwise(whole).alias(part)
        for part, ours, whole in zip(PARTS, chosen(), _RULES[WHOLE_NODE](), strict=True)
    ]
    method = pl.when("applies").then(pl.lit(rule)).otherwise(pl.lit(WHOLE_NODE)).alias("allocated_method_id")
    return (
        places.with_columns(applies.alias("applies"))
        .select("place", method, *weights)
        .unpivot(PARTS, index=["place", "allocated_method_id"], variable_name="part", value_name="part_weight")
        .filter(pl.col("part_weight") > 0)
    )
