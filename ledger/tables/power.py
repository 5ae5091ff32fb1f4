"""Samples of power, energy, temperature and fans outside the GPU, and the energy of whole nodes."""

import dataframely as dy

from ledger.tables.columns import amount, counter, flag, gauge, key, key_instant, seconds, text
from ledger.tables.gpu import NodeSample
from ledger.tables.partition import EDGE, Timed, table


# Meters of a whole node are read as seldom as once in minutes.
@table("sample", Timed("sampled_at", edge=3 * EDGE), order=("cluster", "node", "power_source", "sampled_at"))
class PowerSample(NodeSample):
    """One meter of a node at one instant: of power, energy, a temperature or a fan."""

    power_source = key(
        "Where it is measured: rapl:package-0, hwmon:nvme:nvme0:temp1, cray:node, ipmi:dcmi, redfish:Node1"
    )
    scope = text(
        "What it measures: node, psys, package, core, uncore, dram, drive, gpu, supply, device; enclosure is several "
        "nodes. Several rows of scope node are one draw, seen by several meters: take one, never their sum"
    )
    label = text("The driver's own word for it")
    is_overlapping = flag(
        "Other rows of this node hold the same energy; those that are not overlapping sum to processors and memory"
    )
    is_readable = flag("The agent may read it; false where the meter is there and for root alone")
    power_watts = gauge("Power draw", max=1e5)
    energy_joules_total = counter(
        "Energy since the meter started; wraps of RAPL are added up while the agent runs",
        source="energy_uj (wraps at max_energy_range_uj), energy1_input (uJ)",
    )
    temperature_celsius = gauge("Temperature", min=-100, max=250, source="temp1_input (0.001 degrees), IPMI, Redfish")
    fan_hertz = gauge("Revolutions of a fan in a second", max=1e4, source="fan1_input (per minute), IPMI, Redfish")


@table("rollup", Timed("hour_start"))
class NodeEnergyHour(dy.Schema):
    """One clock hour of one node, by one meter of all of it: what GPUs, processors, memory and fans drew together."""

    hour_start = key_instant("Start of the hour")
    cluster = key("Cluster of the node")
    node = key("Node name")
    power_source = text("The meter that counts: of several that saw the hour, one that counts energy", nullable=False)
    energy_joules = amount("Energy in the time that the meter saw; nothing is extrapolated", nullable=False)
    measured_seconds = seconds("How much of the hour the meter saw")
