"""A seeded cluster that emits the same rows as a real one, gets the bills of one, and knows the true answers.

`plan` describes it; `samples`, `sealed` and `holdings` yield rows by table, `bills` writes files to import, `truth`
sums what the ledger should say, and `settings` is the configuration that fits.
"""

from collectors.simulate.billing import bills
from collectors.simulate.estate import settings
from collectors.simulate.holding import holdings
from collectors.simulate.planning import plan
from collectors.simulate.sampling import samples
from collectors.simulate.sealing import sealed
from collectors.simulate.shapes import Cluster
from collectors.simulate.truths import Truth, truth

__all__ = ["Cluster", "Truth", "bills", "holdings", "plan", "samples", "sealed", "settings", "truth"]
