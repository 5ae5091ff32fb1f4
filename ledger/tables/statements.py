"""Statements that were closed, and what they said: nothing of it is changed afterwards."""

import dataframely as dy

from ledger.tables.columns import count, flag, instant, key, key_day, money, quantity, text
from ledger.tables.partition import Whole, table


@table("operation", Whole())
class StatementClose(dy.Schema):
    """One month whose statements were closed, of one team or of every team; later changes post on a later month."""

    team = key("Team; '' for every team, also those that are charged for it later only")
    month = key_day("First day of the month")
    closed_at = instant("When", nullable=False)
    closed_by = text("Who closed it", nullable=False)
    split_rule = text("The split rule that its rows were divided by", nullable=False)
    shared_cost_rule = text("The rule for cost that belongs to all", nullable=False)


STATEMENT_SECTIONS = ("charges", "models", "users", "runs", "team")


@table("operation", Whole())
class StatementLine(dy.Schema):
    """One row of a closed statement, as it was stated.

    Only rows of the section `charges` are to be summed: the others tell the same cost in another way.
    """

    team = key("Team that was charged")
    month = key_day("First day of the month on whose statement it stands")
    section = key("charges, models, users, runs or team")
    for_month = key_day("First day of the month that it is about: an earlier one for an adjustment")
    name = key("Of charges what for: held, owned, shared, ...; else the model, user, run or team")
    provider = key("FOCUS ServiceProviderName of a charge; '' for what is none")
    service_name = key("FOCUS ServiceName of a charge; '' for what is none")
    charge_category = key("FOCUS ChargeCategory of a charge; '' for what is none")
    billing_currency = key("ISO 4217")
    billed_cost = money("What the month's billing periods invoice of it; null where that was not said")
    effective_cost = money("Amortised cost of the month's use; null where it was not known")
    productive_cost = money("Of `effective_cost`: productive time")
    idle_cost = money("Of `effective_cost`: allocated idle and held idle time")
    held_gpu_seconds = quantity("Device time behind it; an adjustment may take some back")
    productive_gpu_seconds = quantity("Of it: productive; null for charges")
    run_count = count("Runs behind it; null for charges")
    trained_sample_count = count("Samples that its trainings told; null for charges, and where none told any")
    sampled_cost = money("Effective cost of the runs that told them, on the days on which they did")
    trained_token_count = count("Tokens that its trainings told; null for charges, and where none told any")
    token_trained_cost = money("Effective cost of the runs that told them, on the days on which they did")
    has_estimate = flag("A part of it had no bill yet", nullable=False)
    allocated_method_id = text("FOCUS AllocatedMethodId of its parts; null for what is no charge")
