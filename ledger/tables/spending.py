"""What is spent by day, what was unusual in it, how well it was foreseen, and who decided or was told about it."""

import dataframely as dy

from ledger.tables.columns import (
    count,
    flag,
    gpu_seconds,
    instant,
    key,
    key_day,
    key_flag,
    key_instant,
    money,
    ratio,
    text,
)
from ledger.tables.partition import Timed, Whole, table


@table("rollup", Timed("day", "day"))
class SpendDay(dy.Schema):
    """One UTC day of a cost on one node, or of one resource without a node, in one state, for one run or for nobody.

    A run that was requeued is one run: its restarts are summed.
    """

    day = key_day("The day of use")
    billing_currency = key("ISO 4217")
    provider = key("FOCUS ServiceProviderName")
    billing_period_start = key_instant("Start of the billing period")
    charge_category = key("FOCUS ChargeCategory")
    charge_class = key("Correction, or ''")
    commitment_status = key("Used, Unused, or ''")
    cost_kind = key("As in `cost_hour`: usage, storage, network, support, tax, credit, ...")
    service_name = key("FOCUS ServiceName; '' where the bill names none")
    bucket = key("allocated, idle, shared or unallocable")
    state = key("State of the devices; '' for what has none")
    cluster = key("Cluster of the node; '' if none")
    node = key("Node; '' for what has none")
    resource_id = key("FOCUS ResourceId of what has no node, case folded; '' for a node, or without one")
    team = key("Team; '' for what has no holder")
    user = key("User; '' for what has no holder")
    model = key("Model; '' for what has no holder")
    job_id = key("Job; '' for what has no holder")
    submitted_at = key_instant("Submit time of the job: ids recur; 1970 for what has no holder")
    allocated_method_id = key("FOCUS AllocatedMethodId: the named split rule")
    is_estimated = key_flag("No bill row covers it yet")
    in_scope = key_flag("It belongs to the AI estate")
    billed_cost = money("What is invoiced", nullable=False)
    effective_cost = money("Amortised cost; null where the provider does not say")
    productive_cost = money("Of `effective_cost`: productive time")
    idle_cost = money("Of `effective_cost`: allocated idle and held idle time")
    held_gpu_seconds = gpu_seconds("Device time behind it, held or not")
    productive_gpu_seconds = gpu_seconds("Of it: productive")
    idle_gpu_seconds = gpu_seconds("Of it: allocated idle and held idle")
    first_hour_start = instant("Start of its first hour", nullable=False)
    last_hour_end = instant("End of its last hour", nullable=False)
    has_unstated_charge = flag("`effective_cost` is without a part of it that nobody says, or is not known at all")


ANOMALY_CAUSES = ("volume", "price", "charge", "new", "gone")


@table("rollup", Timed("day", "day"))
class AnomalyDay(dy.Schema):
    """One complete UTC day on which one scope cost far more or less than the same weekdays before."""

    day = key_day("The day")
    scope = key("total, team:NAME or provider:NAME")
    billing_currency = key("ISO 4217")
    team = text("The team of a team's scope; '' for others", nullable=False)
    actual_cost = money("What the day cost: usage of the AI estate, effective", nullable=False)
    expected_cost = money("Median of the same weekdays before", nullable=False)
    spread_cost = money("Median distance of those weekdays from it", nullable=False)
    reach_cost = money("Distance from their weekday's median that nine of ten days before kept to")
    difference_cost = money("actual_cost - expected_cost", nullable=False)
    weekday_count = count("Weekdays behind the median", nullable=False)
    cause = text(
        "volume: more or less device time; price: another price of it; charge: what has no device time; new: nothing "
        "like it before; gone: nothing of it any more",
        nullable=False,
        among=ANOMALY_CAUSES,
    )
    cause_provider = text("Provider of the part that differs most", nullable=False)
    cause_resource = text("Its node; for what has none its service", nullable=False)
    cause_team = text("Its team; '' where nobody held it", nullable=False)
    cause_cost = money("By how much that part differs", nullable=False)
    volume_cost = money("Of the difference of all device time: because of its amount; null without device time")
    price_cost = money("Of it: because of its price; null without device time")


@table("rollup", Whole())
class ForecastCheck(dy.Schema):
    """How far one way to forecast was from what one scope then cost, over the days that every way could forecast."""

    scope = key("total, team:NAME, model:NAME or provider:NAME")
    billing_currency = key("ISO 4217")
    method = key("seasonal_naive_7 or seasonal_median_3")
    day_count = count("Days that were forecast, a week ahead at most", nullable=False)
    error_cost = money("Sum of the distances between forecast and cost", nullable=False)
    actual_cost = money("What those days cost", nullable=False)
    inside_ratio = ratio("Share of days inside the interval that was given; null without one")
    is_chosen = flag("The forecast uses it", nullable=False)


@table("operation", Whole())
class BudgetDecision(dy.Schema):
    """What a person decided that one scope may spend in a month, from one month on until the next decision."""

    month = key_day("First day of the first month that it holds for")
    scope = key("total, team:NAME, model:NAME or provider:NAME")
    billing_currency = key("ISO 4217")
    budget_cost = money("What may be spent in a month; null ends the budget")
    thresholds = text("Shares at which somebody is told, joined by commas", nullable=False)
    owner = text("Who must act", nullable=False)
    decided_at = instant("When", nullable=False)
    decided_by = text("Who", nullable=False)
    comment = text("Why")


@table("operation", Whole())
class MoneyNotice(dy.Schema):
    """What one receiver is to be told, or was told, of a budget or an anomaly: each once."""

    receiver = key("Name of the receiver in the configuration; mail:ADDRESS for a reader of mail")
    event_id = key("What happened: budget, scope, currency, month, amount and threshold; or anomaly, day and scope")
    told_at = instant("When it was told; null while it waits")
    attempt_count = count("Calls that failed", nullable=False)
    next_attempt_at = instant("Not before then")
    message = text("What went wrong last; null where nothing did")
