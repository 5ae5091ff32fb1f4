"""Models that others run: what bills say of them by name."""

import dataframely as dy

from ledger.tables.columns import key, key_day, key_flag, key_instant, money, quantity
from ledger.tables.partition import Timed, table


@table("rollup", Timed("billing_period_start", "month"))
class ManagedModelDay(dy.Schema):
    """One UTC day of one model of a managed service, as its bill names it: a part of the same charges as `cost_hour`."""

    billing_period_start = key_instant("Start of the billing period")
    day = key_day("The day of use")
    provider = key("FOCUS ServiceProviderName")
    service_name = key("FOCUS ServiceName; '' where the bill names none")
    model = key("FOCUS SkuPriceDetails.ModelId")
    token_direction = key("Input, Output, or '' for what is not told apart, or not billed by the token")
    consumed_unit = key("FOCUS ConsumedUnit; '' where the bill names none")
    team = key("Team that `money.owners` names; '' for none")
    billing_currency = key("ISO 4217")
    in_scope = key_flag("It belongs to the AI estate")
    billed_cost = money("What is invoiced", nullable=False)
    effective_cost = money("Amortised cost; null where the provider does not say")
    consumed_unit_count = quantity("FOCUS ConsumedQuantity, in its unit")
    token_count = quantity("The same in tokens; null for what is not billed by the token")
