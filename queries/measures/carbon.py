"""How much energy the devices used, what making it emitted, and how much of that is known."""

from typing import Final

import polars as pl

from ledger.expressions import per, total
from queries.measure import Measure

_KILOWATT_HOUR_JOULES: Final = 3_600_000

CARBON: Final = Measure(
    "carbon_grams",
    "CO₂ equivalent",
    "Measured energy, times what the site adds (PUE), times what the grid's electricity emits: of whole nodes where "
    "their controller measures it, else of the GPUs alone. The making of the hardware is not in it.",
    ("carbon",),
    "grams",
    total("carbon_grams"),
)
ENERGY: Final = Measure(
    "gpu_energy_joules",
    "GPU energy",
    "By the counters of the GPU boards; gaps add nothing.",
    ("carbon",),
    "joules",
    total("energy_joules"),
)
SITE_ENERGY: Final = Measure(
    "site_energy_joules",
    "With the site's share",
    "Energy of whole nodes, or of their GPUs alone, with cooling and losses of the site (PUE), where that is known.",
    ("carbon",),
    "joules",
    total("site_joules"),
)
ENERGY_KNOWN: Final = Measure(
    "energy_known_ratio",
    "Energy known",
    "Device time in which energy was measured, against all device time.",
    ("carbon",),
    "ratio",
    per(pl.col("known_gpu_seconds").sum(), pl.col("total_gpu_seconds").sum()),
)
WHOLE_NODES_KNOWN: Final = Measure(
    "whole_node_energy_known_ratio",
    "Of whole nodes",
    "Device time in which a controller measured the whole node (IPMI, Redfish), processors, memory and fans with it, "
    "against all device time.",
    ("carbon",),
    "ratio",
    per(pl.col("node_known_gpu_seconds").sum(), pl.col("total_gpu_seconds").sum()),
)
CARBON_KNOWN: Final = Measure(
    "carbon_known_ratio",
    "Carbon known",
    "Device time of which energy, PUE and grid are known, against all device time.",
    ("carbon",),
    "ratio",
    per(pl.col("priced_gpu_seconds").sum(), pl.col("total_gpu_seconds").sum()),
)
CARBON_A_GPU_HOUR: Final = Measure(
    "gpu_hour_carbon_grams",
    "Per GPU-hour",
    "CO₂ equivalent of the device time of which it is known, divided by that time.",
    ("carbon",),
    "grams",
    per(total("carbon_grams"), pl.col("priced_gpu_seconds").sum() / 3600),
)
GRID_INTENSITY: Final = Measure(
    "mean_grid_grams_per_kilowatt_hour",
    "Grid",
    "CO₂ equivalent of a kilowatt-hour that these sites drew, weighted by energy.",
    ("carbon",),
    "grams_per_kilowatt_hour",
    per(total("carbon_grams"), pl.col("priced_site_joules").sum() / _KILOWATT_HOUR_JOULES),
)
