"""A seeded cluster that emits the same rows as a real one."""

from collectors.simulate.estate import settings
from collectors.simulate.planning import plan
from collectors.simulate.sampling import samples

__all__ = ["plan", "samples", "settings"]
