"""Samples of power and energy outside the GPU."""

from ledger.tables.columns import counter, gauge, key, text
from ledger.tables.gpu import NodeSample
from ledger.tables.partition import Timed, table


@table("sample", Timed("sampled_at"), order=("cluster", "node", "power_source", "sampled_at"))
class PowerSample(NodeSample):
    """One power meter of a node at one instant."""

    power_source = key("node, or rapl:package-0 and the like; parent and child overlap")
    scope = text("node, package, dram, psys")
    power_watts = gauge("Power draw", max=1e5)
    energy_joules_total = counter("Energy since the meter started")
