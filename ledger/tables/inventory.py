"""What exists: nodes, devices, prices, assets, and who they belong to."""

import dataframely as dy

from ledger.tables.columns import (
    count,
    day,
    fraction,
    gauge,
    instant,
    key,
    key_day,
    key_instant,
    money,
    number,
    ratio,
    text,
)
from ledger.tables.partition import Spanning, Whole, table


@table("inventory", Spanning("exists_start", "exists_end", watched=("provider", "holder")))
class Node(dy.Schema):
    """One node from when it joined to when it left."""

    cluster = key("Cluster")
    node = key("Node name; names are reused, so a node has validity")
    exists_start = key_instant("When it joined")
    exists_end = instant("When it left; null while it exists")
    provider = text("Cloud or owner, as the bill's ServiceProviderName")
    region = text("Region or site")
    instance_type = text("Instance type or server model")
    provider_instance_id = text("Instance id in the provider's metadata")
    holder = text(
        "Who holds a device: scheduler, or process where there is no scheduler", among=("scheduler", "process")
    )
    cpu_count = count("Logical processors")
    memory_bytes = gauge("Memory", max=2**53)
    gpu_count = count("GPUs")
    expected_port_count = count("Fast network ports it should have")
    expected_line_rate_bytes_per_second = gauge("What each of them should carry", max=1e13)
    expected_ethernet_port_count = count("Ethernet ports that it should have up")
    expected_ethernet_line_rate_bytes_per_second = gauge("What each of them should carry", max=1e13)
    source = text("agent, slurm, kubernetes, prometheus, bill, simulation")


@table(
    "inventory",
    Spanning("exists_start", "exists_end", watched=("parent_gpu_uuid", "gpu_fraction", "idle_power_watts")),
)
class Gpu(dy.Schema):
    """One GPU, or MIG slice, from when it appeared to when it went."""

    cluster = key("Cluster of the node")
    node = key("Node name")
    gpu_uuid = key("UUID as the maker's tools show it; for AMD GPU- and the unique id, for others kind and place")
    exists_start = key_instant("When it appeared")
    exists_end = instant("When it went; null while it exists")
    gpu_model = text("Product name")
    gpu_index = number("Index that NVML gave it, or its place in the order of PCI addresses")
    minor_index = number("Minor number of its device file, /dev/nvidiaN; it need not follow the PCI addresses")
    scheduler_index = number(
        "Index by which the scheduler of the node counts it among its devices; null if nobody told"
    )
    numa_node_index = number("NUMA node of the host that it is attached to; null where the firmware names none")
    parent_gpu_uuid = text("The whole device that a slice is cut from; '' for a whole device", nullable=False)
    gpu_fraction = fraction("1, or the slice's part: the larger of compute and memory share, scaled to sum to 1")
    mig_profile = text("MIG profile, such as 3g.40gb, or modes of an AMD partition, such as CPX/NPS4")
    mig_index = number("Place of the slice on its device, in the driver's order; null for a whole device")
    memory_total_bytes = gauge("Device memory", max=2**44)
    memory_baseline_bytes = gauge("Memory in use when nothing runs", max=2**44)
    idle_power_watts = gauge("Power when nothing runs", max=2_000)
    power_limit_watts = gauge("Board power limit", max=2_000)


@table("inventory", Spanning("valid_start", "valid_end", watched=("provider", "resource_id")))
class NodeResource(dy.Schema):
    """One node's link to one resource of a bill, for a time."""

    cluster = key("Cluster of the node")
    node = key("Node name")
    provider = key("The bill's ServiceProviderName")
    resource_id = key("The bill's ResourceId, case folded")
    valid_start = key_instant("Since when")
    valid_end = instant("Until when; null while it holds")
    match_method = text(
        "stated (in the settings), instance_metadata, provider_id, tag, configuration (owned), simulation"
    )


@table("inventory", Whole())
class Price(dy.Schema):
    """One list price, from one instant on."""

    provider = key("Who sells it")
    region = key("Where; '' where the list names none")
    instance_type = key("Instance type or SKU")
    price_category = key("on_demand, spot, reserved")
    billing_currency = key("ISO 4217")
    valid_start = key_instant("The list's own date")
    unit_price = money("Price of one pricing unit", nullable=False)
    pricing_unit = text("Hours")
    gpu_model = text("GPU model")
    gpu_count = count("GPUs of the instance")
    gpu_memory_bytes = gauge("Memory of one GPU", max=2**44)
    cpu_count = count("Logical processors")
    memory_bytes = gauge("Memory", max=2**53)
    source = text("File or list it came from")


@table("inventory", Whole())
class Asset(dy.Schema):
    """One piece of owned hardware with what it costs to have."""

    asset_id = key("Inventory number")
    cluster = text("Cluster of the node", nullable=False)
    node = text("Node name", nullable=False)
    owner = text("The own organisation, used as ServiceProviderName")
    billing_currency = text("ISO 4217", nullable=False)
    purchase_cost = money("Purchase price", nullable=False)
    residual_cost = money("Value left at the end of its life")
    life_start = day("In service since", nullable=False)
    life_end = day("Written off on", nullable=False)
    gpu_count = count("GPUs")
    power_watts = gauge("Rated power, used where none was measured", max=1e6)
    pue_ratio = gauge("Power usage effectiveness of the site: 1 or more", min=1, max=5)
    energy_price = money("Price of one kilowatt-hour")
    space_month_cost = money("Space and cooling for an average month")
    staff_month_cost = money("Share of staff for an average month")
    support_month_cost = money("Maintenance and support contracts for an average month")
    financing_cost = money("Interest and fees over the whole life, as the loan or lease states them")
    host_power_watts = gauge("Power without the GPUs: with it, what the GPUs measure replaces rated power", max=1e6)
    energy_tariff = text("Prices of a kilowatt-hour by time: mon-fri 07:00-21:00 0.31; 0.19; the first that fits holds")
    time_zone = text("Time zone of the tariff; UTC where none is stated")


@table("inventory", Whole())
class Team(dy.Schema):
    """One rule that names a team: the first that matches wins."""

    team = key("Team")
    match_field = key("user, account, partition or label")
    match_value = key("What the field must equal; a trailing * matches any rest")
    rank_index = number("Order of the rules; smallest first")
    owner = text("Who answers for the team: an address that mail can reach")


@table("inventory", Whole())
class Model(dy.Schema):
    """One rule that names a model: the first that matches wins."""

    model = key("Model")
    match_field = key("job_name, comment, label or endpoint")
    match_value = key("What the field must equal; a trailing * matches any rest")
    rank_index = number("Order of the rules; smallest first")


@table("inventory", Whole())
class Budget(dy.Schema):
    """What may be spent by one scope in one month."""

    month = key_day("First day of the month")
    scope = key("total, team:NAME, model:NAME or provider:NAME")
    billing_currency = key("ISO 4217")
    budget_cost = money("What may be spent", nullable=False)
    threshold_ratio = ratio("Share at which somebody is told")


@table("inventory", Whole())
class ExchangeRate(dy.Schema):
    """One currency's price in another on one day."""

    rate_date = key_day("Day of the rate")
    from_currency = key("ISO 4217")
    to_currency = key("ISO 4217")
    unit_price = money("How much of `to_currency` one of `from_currency` buys", nullable=False)
    source = text("Who published it")
