"""Facts about real clusters that the workload follows, as constants.

The numbers were read off these published data sets once; a test draws jobs and compares them with the data.

Sources:
* Alex: demo archive of ClusterCockpit (MIT), 216 finished jobs on A40 with their mean GPU utilisation.
* openb: Alibaba's pods of 2023, first part (Apache-2.0), 4,178 pods that asked for a GPU, 3,773 of them scheduled.
* Kalos, Seren, Philly, Helios, PAI: summary of AcmeTrace by InternLM (CC-BY-4.0).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

Sizes = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Law:
    """A distribution by its values at equally spaced percentiles, the first 0 and the last 100."""

    values: tuple[float, ...]

    def at(self, share: float) -> float:
        """Return the value below which a share of all lies; between two percentiles it grows by a steady factor."""
        places = np.linspace(0.0, 1.0, len(self.values))
        return float(np.exp(np.interp(share, places, np.log(self.values))))

    def between(self, share: float) -> float:
        """Return the value below which a share of all lies; between two percentiles it grows steadily."""
        return float(np.interp(share, np.linspace(0.0, 1.0, len(self.values)), self.values))


# Alex, seconds from start to end, at each 5 %.
TRAINING: Final = Law(
    (
        12, 79, 156, 272, 280, 290, 323, 736, 4_615, 6_957, 8_532, 9_478, 12_877, 37_260, 52_658, 53_250, 59_746,
        60_222, 66_098, 85_467, 86_412,
    )
)  # fmt: skip

# openb, seconds from scheduling to deletion, at each 5 %; the last is where a plan cuts: 1.1 % ran longer, up to
# 145 days.
BATCH: Final = Law(
    (
        5, 52, 79, 127, 159, 196, 219, 286, 411, 571, 785, 950, 1_172, 1_485, 2_026, 2_638, 3_653, 4_700, 8_128, 20_694,
        259_200,
    )
)  # fmt: skip

# Of jobs with eight GPUs and more the median on Alex is 26,204 s, of all 8,532 s: this power of a share gives the first
# where the share itself gives the second.
WIDE_POWER: Final = 0.6

# Alex: 198 of 216 jobs hold one GPU, 2 two, 5 four, 11 eight. It has no jobs over several nodes; where there are such,
# the median stays 1 and the mean is 1.9 (Philly), 3.7 (Helios), 5.7 (Seren) or 26.8 (Kalos).
TRAINING_SIZES: Final[Sizes] = ((1, 0.84), (2, 0.015), (4, 0.03), (8, 0.075), (16, 0.03), (24, 0.01))

# openb: 98.88 % ask for one GPU or a part of one, 0.19 % for two, 0.14 % for four, 0.79 % for eight.
BATCH_SIZES: Final[Sizes] = ((1, 0.9888), (2, 0.0019), (4, 0.0014), (8, 0.0079))

# Alex: a job's mean utilisation, at each 10 %, by how long it ran (from these seconds on). The short ones are tries.
DUTY: Final[tuple[tuple[float, Law], ...]] = (
    (0, Law((0, 0, 0, 0, 0, 0, 0, 0.008, 0.152, 0.372, 0.63))),
    (300, Law((0, 0, 0, 0, 0, 0, 0, 0.409, 0.639, 0.874, 0.974))),
    (3_600, Law((0, 0.083, 0.372, 0.407, 0.433, 0.444, 0.529, 0.914, 0.925, 0.933, 0.984))),
    (20_000, Law((0.293, 0.48, 0.685, 0.71, 0.823, 0.825, 0.912, 0.916, 0.919, 0.935, 0.989))),
)

# Philly: 60.4 % complete, 9.0 % are cancelled, 30.5 % fail.
COMPLETED_SHARE: Final = 0.604
CANCELLED_SHARE: Final = 0.090


def duty(duration: float, share: float) -> float:
    """Return the mean utilisation of a job that runs so long, below which a share of such jobs lies."""
    law = next((law for (_, law), (above, _) in pairwise(DUTY) if duration < above), DUTY[-1][1])
    return law.between(share)
