"""What was bought in advance: by day, what of it was used, and what else could be."""

import dataframely as dy

from ledger.tables.columns import count, flag, instant, key, key_day, key_instant, money, text
from ledger.tables.partition import Timed, table


@table("rollup", Timed("billing_period_start", "month"))
class CommitmentDay(dy.Schema):
    """One UTC day of one commitment on one kind of resource, or of usage that no commitment covers.

    Over a commitment's term the used and the unused cost sum to what was purchased: FOCUS's identity.
    """

    billing_period_start = key_instant("Start of the billing period")
    day = key_day("The day")
    provider = key("FOCUS ServiceProviderName")
    billing_account_id = key("FOCUS BillingAccountId")
    commitment_id = key("CommitmentDiscountId, else CapacityReservationId, case folded; '' for usage without one")
    region = key("Region of the usage; '' where the bill names none")
    instance_type = key("Instance type or SKU of the usage; '' where the bill names none")
    billing_currency = key("ISO 4217")
    commitment_name = text("The provider's name for it")
    commitment_type = text("The provider's word for its kind: Compute Savings Plans, Reservation, ...")
    in_scope = flag("It belongs to the AI estate", nullable=False)
    term_start = instant("Start of what was bought; null on days without a purchase of a term")
    term_end = instant("End, exclusive; null as above")
    purchased_cost = money("BilledCost of its purchases, booked whole")
    used_cost = money("EffectiveCost of what it covered")
    unused_cost = money("EffectiveCost of what nobody used of it")
    covered_list_cost = money("What the covered usage costs at list price; null where unknown")
    on_demand_cost = money("EffectiveCost of usage at standard prices that a commitment could cover")
    on_demand_list_cost = money("The same at list price; null where unknown")
    lowest_hour_cost = money("Of it: the cheapest hour of the day; 0 where an hour had none")
    used_unstated_count = count(
        "Charges of the day that `used_cost` is without: the bill does not say their EffectiveCost"
    )
    used_unstated_begun_count = count("Of them: those that begin on it, so that days can be summed")
    unused_unstated_count = count("Charges of the day that `unused_cost` is without, for the same reason")
    unused_unstated_begun_count = count("Of them: those that begin on it")
    covered_list_unstated_count = count("Charges of the day that `covered_list_cost` is without: no ListCost")
