from datetime import UTC, datetime

import polars as pl
import pytest

from collectors.simulate import estate
from collectors.simulate.shapes import Hardware
from queries.rollups._links import with_links

DEVICE = {"cluster": "c", "node": "n", "gpu_uuid": "G"}
SINCE = datetime(2026, 11, 1, tzinfo=UTC)


def carried(*models: str | None) -> float | None:
    """Return what the links of a device carry that was found to be of these models, one after the other."""
    rows = [
        {**DEVICE, "gpu_model": model, "exists_start": SINCE.replace(day=1 + at)} for at, model in enumerate(models)
    ]
    schema = {"cluster": pl.String, "node": pl.String, "gpu_uuid": pl.String, "gpu_model": pl.String}
    gpus = pl.DataFrame(rows, schema={**schema, "exists_start": pl.Datetime("us", "UTC")})
    found = with_links(pl.DataFrame([DEVICE]), gpus)
    assert found.select("cluster", "node", "gpu_uuid").rows() == [("c", "n", "G")]
    (value,) = found["link_bytes_per_second"]
    return None if value is None else float(value)


@pytest.mark.parametrize(
    ("model", "gigabytes"),
    [
        ("NVIDIA H100 80GB HBM3", 900),
        ("NVIDIA H200", 900),
        ("NVIDIA GH200 480GB", 900),
        ("NVIDIA H20", 900),
        ("NVIDIA H100 PCIe", 600),
        ("NVIDIA H200 NVL", 600),
        ("NVIDIA A100-SXM4-80GB", 600),
        ("NVIDIA H800", 400),
        ("NVIDIA B200", 1800),
        ("NVIDIA GB300", 1800),
        ("Tesla V100-SXM2-32GB", 300),
    ],
)
def test_models_have_the_links_of_their_data_sheets(model: str, gigabytes: float) -> None:
    assert carried(model) == gigabytes * 1e9


@pytest.mark.parametrize("model", ["NVIDIA L40S", "NVIDIA RTX A1000", "Tesla V100-PCIE-16GB", "TPU v5e", None])
def test_of_other_models_nothing_is_said(model: str | None) -> None:
    assert carried(model) is None


def test_a_device_that_inventory_does_not_know_has_none_and_a_later_model_counts() -> None:
    assert carried() is None
    assert carried("NVIDIA L40S", "NVIDIA H200") == 900e9


def test_the_simulated_models_have_what_they_are_simulated_with() -> None:
    kinds = [value for value in vars(estate).values() if isinstance(value, Hardware)]
    assert {kind.gpu_model for kind in kinds} == {"NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB"}
    for kind in kinds:
        assert carried(kind.gpu_model) == 2 * kind.nvlink_bytes_per_second
