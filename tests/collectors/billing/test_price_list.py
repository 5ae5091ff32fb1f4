"""Price lists come in as they were published."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from collectors.billing._format import Imported
from collectors.billing._read import read_bill
from ledger.errors import InputError
from ledger.tables import Price

AWS = (
    "region,instance_type,usd_per_hour_on_demand,gpu_count,gpu_name,gpu_manufacturer,gpu_memory_mib_each,"
    "accelerator_count,accelerator_name,vcpus,memory_mib,network_mbps,local_nvme_gib,price_date"
)
CLOUDS = "Cloud,GPU Type,GPU Arch,GPUs,GPU RAM,vCPUs,RAM,On-demand,Per-GPU,Spot,Name"


def _prices(read: Imported) -> pl.DataFrame:
    assert read.format == "price_list"
    return Price.validate(read.tables[Price])


def _one(prices: pl.DataFrame, **where: str) -> dict[str, object]:
    return prices.filter(**where).row(0, named=True)


def test_bad_prices_are_named_and_good_ones_stay(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(
        f"{AWS}\n"
        "eu,a,0.5,,,,,,,8,16,,,2026-07-20T13:44:30Z\n"
        "eu,b,free,,,,,,,8,16,,,2026-07-20T13:44:30Z\n"
        "eu,a,0.6,,,,,,,8,16,,,2026-07-20T13:44:30Z\n"
        "eu,c,1,1.5,h100,,,,,8,16,,,2026-07-20T13:44:30Z\n"
    )
    read = read_bill(path)
    assert _prices(read)["unit_price"].to_list() == [Decimal("0.5")]
    assert [each.reason.removeprefix(f"{path}: ") for each in read.rejected] == [
        "line 3, column usd_per_hour_on_demand: found 'free', expected a decimal number such as -12.50",
        "line 4, column instance_type: found 'a', expected each price once",
        "line 5, column gpu_count: found '1.5', expected a whole number",
    ]


def test_a_list_without_a_date_needs_one(tmp_path: Path) -> None:
    path = tmp_path / "clouds.csv"
    path.write_text(f"{CLOUDS}\nHost,H100,Hopper,2,160,32,256.5,4.10,2.05,1.5,\nHost,H100,Hopper,2,160,,,3,1.5,,\n")
    with pytest.raises(InputError, match="found no date"):
        read_bill(path)
    prices = _prices(read_bill(path, defaults={"price_date": "2026-02-01", "billing_currency": "EUR"}))
    assert prices.select("instance_type", "price_category", "unit_price").rows() == [
        ("2x H100, 32 vCPU, 256.5 GiB", "on_demand", Decimal("4.1")),
        ("2x H100, 32 vCPU, 256.5 GiB", "spot", Decimal("1.5")),
        ("2x H100, ? vCPU, ? GiB", "on_demand", Decimal(3)),
    ]
    assert prices["gpu_memory_bytes"].to_list() == [80 * 2.0**30] * 3
    assert prices["valid_start"].unique().to_list() == [datetime(2026, 2, 1, tzinfo=UTC)]
    assert prices["billing_currency"].unique().to_list() == ["EUR"]


@pytest.mark.real_data
def test_aws(shared_data: Path) -> None:
    read = read_bill(shared_data / "prices/aws_us-east-1_on_demand_2026-07.csv")
    prices = _prices(read)
    assert read.rejected == ()
    assert prices.height == 1367
    p5 = _one(prices, instance_type="p5.48xlarge")
    assert p5["unit_price"] == Decimal("55.04")
    assert p5["gpu_count"] == 8
    assert p5["gpu_model"] == "h100"
    assert p5["gpu_memory_bytes"] == 81920 * 2**20
    assert p5["memory_bytes"] == 2 * 2**40
    assert p5["valid_start"] == datetime(2026, 7, 20, 13, 44, 30, tzinfo=UTC)
    trainium = _one(prices, instance_type="trn1.32xlarge")
    assert (trainium["gpu_model"], trainium["gpu_count"]) == ("trainium", 16)


@pytest.mark.real_data
def test_azure(shared_data: Path) -> None:
    read = read_bill(shared_data / "prices/azure_gpu_on_demand_2026-06_6regions.csv")
    prices = _prices(read)
    assert read.rejected == ()
    assert prices.height == 442
    assert prices["region"].n_unique() == 6
    one = _one(prices, region="eastus", instance_type="Standard_NC128ds_xl_RTXPRO6000BSE_v6")
    assert one["unit_price"] == Decimal("6.38")
    assert one["gpu_count"] is None


@pytest.mark.real_data
def test_clouds(shared_data: Path) -> None:
    read = read_bill(shared_data / "prices/fsdl_cloud_gpus_2025-03.csv")
    prices = _prices(read)
    assert prices.filter(instance_type="p4d.24xlarge").select("price_category", "unit_price").rows() == [
        ("on_demand", Decimal("32.77")),
        ("spot", Decimal("9.83")),
    ]
    assert prices["valid_start"].unique().to_list() == [datetime(2025, 3, 1, tzinfo=UTC)]
    assert prices.filter(instance_type="n1-highmem-16 + 2x V100 (16 GB)", price_category="spot").height == 1
    assert _one(prices, instance_type="gc2.t4-16-1")["cpu_count"] is None
    # Prices are found under the name that a provider has on its bills.
    assert {"AWS", "Google Cloud", "Microsoft", "Lambda"} <= set(prices["provider"])
    assert not {"GCP", "Azure"} & set(prices["provider"])
    # Twice the same size with another price, or no price but one per GPU: nothing is guessed.
    found = {each.expected for each in read.rejected}
    assert found == {"each price once", "an on-demand or a spot price"}
    assert len(read.rejected) == 19


@pytest.mark.real_data
def test_opencost(shared_data: Path) -> None:
    prices = _prices(read_bill(shared_data / "prices/opencost_custom_pricing_gpu.csv"))
    assert prices.select("instance_type", "price_category", "gpu_model", "gpu_count", "unit_price").rows() == [
        ("Reserved", "reserved", None, None, Decimal("0.654795")),
        ("OnDemand", "on_demand", None, None, Decimal("0.90411")),
        ("a100-ondemand", "on_demand", "a100", 1, Decimal("0.5")),
        ("a100-reserved", "reserved", "a100", 1, Decimal(1)),
    ]
