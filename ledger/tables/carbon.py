"""Energy and what it emits."""

import dataframely as dy

from ledger.tables.columns import amount, gauge, gpu_seconds, key, key_count, key_day, key_instant, text
from ledger.tables.columns import day as some_day
from ledger.tables.partition import Timed, table


@table("rollup", Timed("day", "day"))
class CarbonDay(dy.Schema):
    """One UTC day of one job in one region: the energy of its devices, and what making it emitted.

    Energy is that of the GPU boards, by their own counters; where a meter of the whole node told, what processors,
    memory and fans drew stands beside it. What nobody held stands in a row without a job, so that the rows of a day
    sum to what was drawn.
    """

    day = key_day("The day")
    cluster = key("Cluster")
    region = key("Region or site of the nodes; '' where the inventory names none")
    team = key("Team; '' for what nobody held")
    model = key("Model; '' for what nobody held")
    job_id = key("Job; '' for what nobody held, or whose holder is unknown")
    restart_count = key_count("Run of the job")
    submitted_at = key_instant("Submit time of the job: ids recur; 1970 for what has no holder")
    user = text("User; null for what has no holder")
    total_gpu_seconds = gpu_seconds("Device time: what the job held, or nobody did")
    known_gpu_seconds = amount("Of it: time in which energy was measured", nullable=False)
    energy_joules = amount("Energy of the devices; null where it was never measured")
    node_joules = amount(
        "Energy of the devices and of their part of the node's rest, by a meter of the whole node; null where none told"
    )
    node_known_gpu_seconds = amount("Device time in which such a meter told")
    site_joules = amount(
        "Energy of whole nodes, of the devices where no meter told of their node, with what the site adds to it (PUE); "
        "null where that is unknown"
    )
    grid_grams_per_kilowatt_hour = gauge("CO2 equivalent of the grid's electricity; null where unknown", max=3_000)
    grid_since = some_day("First day that the grid's figure is for")
    grid_source = text("Whose figure it is")
    carbon_grams = amount("CO2 equivalent of `site_joules`; null where a part of the product is unknown")
