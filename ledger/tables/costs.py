"""What is computed from bills: costs by hour, allocations, unit costs, reconciliation, advice."""

import dataframely as dy

from ledger.tables.columns import (
    count,
    duration,
    flag,
    gpu_seconds,
    instant,
    key,
    key_count,
    key_day,
    key_flag,
    key_instant,
    money,
    quantity,
    ratio,
    text,
)
from ledger.tables.partition import Keyed, Timed, Whole, table


class ChargeKey(dy.Schema):
    """What a cost is told apart by; conservation holds over this key."""

    hour_start = key_instant("Start of the hour")
    provider = key("FOCUS ServiceProviderName")
    invoice_issuer = key("FOCUS InvoiceIssuerName")
    billing_account_id = key("FOCUS BillingAccountId")
    invoice_id = key("FOCUS InvoiceId; '' while none is issued")
    billing_period_start = key_instant("Start of the billing period")
    resource_id = key("FOCUS ResourceId, case folded; '' for charges without one")
    cluster = key("Cluster of the node it was matched with; '' if none")
    node = key("Node it was matched with; '' if none")
    charge_category = key("FOCUS ChargeCategory")
    charge_class = key("Correction, or ''")
    commitment_status = key("Used, Unused, or ''")
    billing_currency = key("ISO 4217")
    is_estimated = key_flag("No bill row covers it yet")
    in_scope = key_flag("It belongs to the AI estate")
    cost_kind = key("usage, storage, network, control_plane, management, support, tax, credit, purchase or adjustment")
    named_model = key("Model that the bill names, as managed services do: FOCUS SkuPriceDetails.ModelId; '' for none")
    owner_team = key("Team that `money.owners` names for a charge without a node; '' for none")


@table("rollup", Timed("billing_period_start", "month"), also=(Timed("hour_start"),))
class CostHour(ChargeKey):
    """One clock hour of the charges of one resource: usage spread, everything else booked whole."""

    billed_cost = money("What is invoiced", nullable=False)
    effective_cost = money("Amortised cost; null where the provider does not say")
    list_cost = money("At list price; null where unknown")
    contracted_cost = money("At contracted price; null where unknown")
    spread_method = text("existence, even, exact_hour, whole", nullable=False)
    service_name = text("FOCUS ServiceName; the first by name where charges of several are one row")
    charge_description = text("The provider's words; the first where several charges are one row")
    shared_billed_cost = money("Of `billed_cost`: services for everybody that no resource owns; null where none")
    shared_effective_cost = money("Of `effective_cost`: services for everybody that no resource owns; null where none")
    has_unstated_charge = flag(
        "`effective_cost` is without a charge behind it: the provider does not say what it costs"
    )


@table("rollup", Timed("hour_start"), also=(Timed("billing_period_start", "month"),))
class AllocationHour(ChargeKey):
    """One clock hour of a cost, on one device, in one state, for one holder."""

    gpu_uuid = key("Device; '' for what has none")
    bucket = key("allocated, idle, shared or unallocable; what is shared by a rule, or owned, carries its team")
    state = key("State of the device; '' for what has none")
    team = key("Team; '' for what has no holder")
    user = key("User; '' for what has no holder")
    job_id = key("Job; '' for what has no holder")
    restart_count = key_count("Run of the job")
    submitted_at = key_instant("Submit time of the job: ids recur; 1970 for what has no holder")
    model = key("Model; '' for what has no holder")
    billed_cost = money("Its part of what is invoiced", nullable=False)
    effective_cost = money("Its part of the amortised cost")
    allocated_method_id = text("FOCUS AllocatedMethodId: the named rule that it was divided by", nullable=False)
    allocated_method_details = text("FOCUS AllocatedMethodDetails: the rule's weights; null where nothing was divided")
    held_gpu_seconds = gpu_seconds("Device time behind it, said once where it has several costs; 0 for what has none")
    service_name = text("As in `cost_hour`")
    has_unstated_charge = flag("As in `cost_hour`")


UNBILLED_REASON = ("left_out", "no_price")


@table("rollup", Timed("hour_start", "day"))
class UnbilledHour(dy.Schema):
    """One clock hour of one node's device time that no charge and no estimate covers; its money is in no total."""

    hour_start = key_instant("Start of the hour")
    cluster = key("Cluster of the node")
    node = key("Node name")
    reason = text(
        "left_out: a price is known, but the bills are complete past the hour; no_price: neither a bill nor a list "
        "says what it costs",
        nullable=False,
        among=UNBILLED_REASON,
    )
    provider = text("Cloud or owner; null where the inventory does not say")
    instance_type = text("Instance type or server model")
    gpu_existed_seconds = gpu_seconds("Device time that existed")
    gpu_known_seconds = gpu_seconds("Device time of it in another state than unknown")
    expected_cost = money("Effective cost at the nearest billed rate of its type, else at the list price")
    billing_currency = text("ISO 4217; null where no price is known")


@table("rollup", Timed("day", "day"))
class ModelCostDay(dy.Schema):
    """One UTC day of one model: what its jobs held, and what came out."""

    day = key_day("The day")
    billing_currency = key("ISO 4217")
    model = key("Model; `unattributed` where no rule names one")
    effective_cost = money("Amortised cost of what its jobs held")
    productive_cost = money("Of it: productive time")
    idle_cost = money("Of it: allocated idle and held idle time")
    gpu_allocated_seconds = gpu_seconds("Device time its jobs held")
    run_count = count("Job runs that held a device", nullable=False)
    prompt_token_count = count("Prompt tokens; null where no server reports them")
    generated_token_count = count("Generated tokens; null where no server reports them")
    trained_token_count = count("Tokens trained on; null where no training reports them")
    serving_cost = money("Of `effective_cost`: jobs that answered as a model server; null where none did")
    serving_productive_cost = money("Of it: productive time")
    prompt_cost = money("Of `serving_cost`: prompts, by the time that requests spent in prefill; null where not told")
    generated_cost = money("Of `serving_cost`: generated tokens, by the time spent in decode; null where not told")
    prefill_seconds = duration("Time that requests spent in prefill; null where no server reports it")
    decode_seconds = duration("Time that requests spent in decode; null where no server reports it")
    training_cost = money("Of `effective_cost`: jobs whose training told how far it is; null where none did")
    training_productive_cost = money("Of it: productive time")
    trained_sample_count = count("Samples trained on; null where no training reports them")
    sampled_cost = money("Of `training_cost`: jobs whose training told samples; null where none did")
    is_estimated = flag("Some of it has no bill row yet", nullable=False)


RECONCILIATION_STATUS = ("matches_invoice", "matches_export", "estimated", "differs", "unchecked")


@table("rollup", Timed("billing_period_start", "month"))
class Reconciliation(dy.Schema):
    """One invoice's billed charges beside what was allocated of them and what was invoiced."""

    provider = key("FOCUS ServiceProviderName")
    invoice_issuer = key("FOCUS InvoiceIssuerName")
    invoice_id = key("FOCUS InvoiceId; '' while none is issued")
    billing_period_start = key_instant("Start of the billing period")
    billing_currency = key("ISO 4217")
    charged = money("Sum of BilledCost of its charges", nullable=False)
    allocated = money("Sum of billed_cost of the allocations of its charges, estimates apart", nullable=False)
    estimated = money("Sum of billed_cost of allocations that no charge covers yet; in neither of the two before")
    invoiced = money("Payable amount of the invoice; null where none is known")
    difference = money("charged - invoiced; null where none is known")
    tolerance = money("What FOCUS 1.4 allows: max(100 subunits, sqrt(rows) x 0.5 subunit)", nullable=False)
    status = text("How far it is checked", nullable=False, among=RECONCILIATION_STATUS)
    is_ok = flag("Within the tolerance; null without an invoice")
    row_count = count("Charges", nullable=False)
    complete_through = instant("End of the last charge period of its source")


@table("rollup", Whole())
class ForecastDay(dy.Schema):
    """One day's expected cost of one scope, with an interval, as computed at the last complete day."""

    day = key_day("The day")
    scope = key("total, team:NAME, model:NAME or provider:NAME")
    billing_currency = key("ISO 4217")
    made_on = key_day("The last complete day behind it")
    forecast_cost = money("What is expected", nullable=False)
    lower_cost = money("Lower end of the interval")
    upper_cost = money("Upper end of the interval")
    interval_ratio = ratio("Share of days that should fall inside")
    method = text("seasonal_naive_7 or seasonal_median_3", nullable=False)


FINDING_STATUS = ("open", "snoozed", "dismissed", "applied", "expired")


@table("rollup", Keyed(("rule",)))
class Finding(dy.Schema):
    """One thing to change, with the evidence for it and what it saves."""

    finding_id = key("Stable id of rule and subject")
    rule = text("Rule that found it", nullable=False)
    subject = text("What to change: job:ID, gpu:NODE/UUID, user:NAME", nullable=False)
    title = text("The finding in one line", nullable=False)
    cluster = text("Cluster", nullable=False)
    team = text("Team", nullable=False)
    owner = text("Who can change it")
    status = text("Where it stands", nullable=False, among=FINDING_STATUS)
    first_seen_at = instant("When it was first found", nullable=False)
    snoozed_until = instant("Until when it is hidden")
    decided_by = text("Who decided")
    reason = text("Why it was decided so")
    applied_at = instant("When it was applied")
    evidence_start = instant("Start of the evidence", nullable=False)
    evidence_end = instant("End of the evidence", nullable=False)
    coverage_ratio = ratio("Share of the evidence window that samples cover", nullable=False)
    confidence = text("low, medium or high", nullable=False, among=("low", "medium", "high"))
    evidence = text("The numbers behind it, as one JSON object", nullable=False)
    directive = text("What to do, ready to paste", nullable=False)
    undo = text("How to take it back")
    may_be_wrong = text("When this advice is wrong", nullable=False)
    evidence_url = text("Page that shows the evidence")
    excludes = text("Ids of findings that claim the same saving, joined by commas", nullable=False)
    saving_cash_month = money("Cash saved in an average month; 0 under a running commitment")
    saving_effective_month = money("Amortised cost freed in an average month")
    freed_gpu_hours_month = quantity("GPU-hours freed in an average month")
    saving_realised_month = money("What was saved since it was applied")
    cash_from = instant("From when the saving is cash")
    billing_currency = text("ISO 4217; null where no price is known")


@table("operation", Whole())
class FindingDecision(dy.Schema):
    """What a person decided about one finding."""

    finding_id = key("The finding")
    status = text("snoozed, dismissed, applied, or open again", nullable=False, among=FINDING_STATUS)
    decided_at = instant("When", nullable=False)
    decided_by = text("Who", nullable=False)
    snoozed_until = instant("Until when")
    reason = text("Why")
