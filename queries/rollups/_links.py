"""What the links between devices of one node carry, by model."""

from typing import Final

import polars as pl

_GIGABYTE: Final = 1e9

_NVLINK: Final = (
    (r"B200|B300", 1_800),
    (r"H200 NVL|H100 NVL|H100 PCIe|A100\b", 600),
    (r"H100|H200|H20\b", 900),
    (r"H800|A800", 400),
    (r"V100-SXM", 300),
)
"""Gigabytes a second over all links of a device, both directions. Source: NVIDIA's data sheets of these models."""


def with_links(devices: pl.DataFrame, gpus: pl.DataFrame) -> pl.DataFrame:
    """Add what a device's links carry in a second, both directions, as `link_bytes_per_second`; devices stay in place.

    Nulls: no such links, or a model that is not known here.
    """
    keys = ["cluster", "node", "gpu_uuid"]
    models = gpus.sort(*keys, "exists_start").unique(keys, keep="last").select(*keys, _carries())
    return devices.join(models, on=keys, how="left", maintain_order="left")


def _carries() -> pl.Expr:
    """Return what the links of a model carry, in bytes a second."""
    model = pl.col("gpu_model")
    return pl.coalesce(
        *(pl.when(model.str.contains(name)).then(pl.lit(gigabytes * _GIGABYTE)) for name, gigabytes in _NVLINK),
        pl.lit(None, pl.Float64),
    ).alias("link_bytes_per_second")
