"""The price lists that such an estate compares: on-demand prices of AWS, and a list of several clouds with spot."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from collectors.simulate import estate
from collectors.simulate.holding import LIST_PRICES
from collectors.simulate.shapes import Cluster, instant

_CLOUD_COLUMNS: Final = (
    "Cloud", "Name", "GPU Type", "GPUs", "GPU RAM", "vCPUs", "RAM", "On-demand", "Spot", "price_date",
)  # fmt: skip
_ELSEWHERE: Final = (
    (estate.AWS.region, "p4d.24xlarge", "21.957642", "a100", 40_960, 96, 1_152),
    (estate.AWS.region, "g6e.48xlarge", "30.13118", "l40s", 45_776, 192, 1_536),
    ("us-west-2", "p5.48xlarge", "52.80", "h100", 81_920, 192, 2_048),
    ("eu-north-1", "p5.48xlarge", "57.62", "h100", 81_920, 192, 2_048),
    ("us-west-2", "p4d.24xlarge", "21.957642", "a100", 40_960, 96, 1_152),
)
"""Region, type, hour price, GPU, its MiB, processors and GiB of memory; eight GPUs each. Prices of the demo."""

_CLOUDS: Final = (
    ("AWS", "p5.48xlarge", "H100", 640, 192, 2_048, "", "26.40"),
    ("Azure", "Standard_ND96amsr_A100_v4", "A100", 640, 96, 1_800, "", "14.90"),
    ("Example GPU Cloud", "hgx-h100", "H100", 640, 208, 1_800, "23.92", "14.40"),
    ("Example GPU Cloud", "hgx-a100", "A100", 640, 128, 1_024, "14.32", ""),
    ("Example GPU Cloud", "hgx-h200", "H200", 1_128, 208, 1_800, "30.32", "19.20"),
)
"""Cloud, type, GPU, GiB of all eight, processors, GiB of memory, and the prices of an hour; of the demo."""


def price_lists(folder: Path, cluster: Cluster) -> list[Path]:
    """Write the lists into a folder and return their paths, each dated with the first day of the plan."""
    day = f"{instant(cluster.start):%Y-%m-%dT%H:%M:%SZ}"
    return [
        _on_demand(folder / f"aws_{estate.AWS.region}_on_demand.csv", day),
        _clouds(folder / f"gpu_clouds_{day[:10]}.csv", day),
    ]


def _on_demand(path: Path, day: str) -> Path:
    """Write the on-demand prices of AWS: what is used, and what advice may name instead."""
    used = [
        (region, kind, str(price), "h100", 81_920, processors, memory)
        for provider, region, kind, _, price, _, processors, memory in LIST_PRICES
        if provider == estate.AWS.name
    ]
    columns = ("region", "instance_type", "usd_per_hour_on_demand", "gpu_count", "gpu_name", "gpu_memory_mib_each",
               "vcpus", "memory_mib", "price_date")  # fmt: skip
    rows = [
        (region, kind, price, 8, gpu, memory_each, processors, memory * 1024, day)
        for region, kind, price, gpu, memory_each, processors, memory in (*used, *_ELSEWHERE)
    ]
    return _written(path, columns, rows)


def _clouds(path: Path, day: str) -> Path:
    rows = [
        (cloud, kind, gpu, 8, gpu_memory, processors, memory, on_demand, spot, day)
        for cloud, kind, gpu, gpu_memory, processors, memory, on_demand, spot in _CLOUDS
    ]
    return _written(path, _CLOUD_COLUMNS, rows)


def _written(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")
    return path
