"""Bills as they came: FOCUS charges, imports and invoices."""

import dataframely as dy

from ledger.names import CHARGE_CATEGORIES
from ledger.tables.columns import count, flag, instant, key, key_count, key_instant, money, quantity, ratio, text
from ledger.tables.partition import Keyed, Timed, Whole, table


@table("money", Keyed(("import_id",)), also=(Timed("BillingPeriodStart", "month"),))
class FocusCharge(dy.Schema):
    """One row of a bill, under FOCUS 1.4 names; all snapshots are kept.

    Which snapshot counts is said by `bill_import.status`. Older files' ProviderName and PublisherName
    are kept as ServiceProviderName and HostProviderName.
    """

    import_id = key("The import that brought it")
    row_index = key_count("Its place in the import, from 0")
    BilledCost = money("What is invoiced", nullable=False)
    EffectiveCost = money("Amortised cost; null where the provider's zero means unknown")
    ListCost = money("At list price; null where unknown")
    ContractedCost = money("At contracted price; null where unknown")
    BillingCurrency = text("ISO 4217", nullable=False)
    BillingAccountId = text("Account that is invoiced", nullable=False)
    BillingAccountName = text("Its name")
    BillingPeriodStart = instant("Start of the billing period", nullable=False)
    BillingPeriodEnd = instant("End, exclusive", nullable=False)
    ChargePeriodStart = instant("Start of the charge", nullable=False)
    ChargePeriodEnd = instant("End, exclusive", nullable=False)
    ChargeCategory = text("Kind of charge", nullable=False, among=CHARGE_CATEGORIES)
    ChargeClass = text("Correction, or null")
    ChargeDescription = text("The provider's words")
    ChargeFrequency = text("One-Time, Recurring, Usage-Based")
    ServiceCategory = text("FOCUS service category")
    ServiceSubcategory = text("FOCUS service subcategory")
    ServiceName = text("The provider's service")
    ServiceProviderName = text("Who makes the service available", nullable=False)
    HostProviderName = text("Whose infrastructure it runs on")
    InvoiceIssuerName = text("Who sends the invoice", nullable=False)
    InvoiceId = text("Invoice; '' while none is issued", nullable=False)
    InvoiceDetailId = text("Line of the invoice")
    PricingCategory = text("Standard, Committed, Dynamic, Other")
    PricingQuantity = quantity("Quantity that was priced")
    PricingUnit = text("Its unit")
    ConsumedQuantity = quantity("Quantity that was consumed")
    ConsumedUnit = text("Its unit")
    ListUnitPrice = money("List price of a pricing unit")
    ContractedUnitPrice = money("Contracted price of a pricing unit")
    CommitmentDiscountId = text("Commitment")
    CommitmentDiscountName = text("Its name")
    CommitmentDiscountCategory = text("Spend or Usage")
    CommitmentDiscountType = text("The provider's word for it")
    CommitmentDiscountStatus = text("Used, Unused, or null")
    CommitmentDiscountQuantity = quantity("Quantity of the commitment")
    CommitmentDiscountUnit = text("Its unit")
    CapacityReservationId = text("Capacity reservation")
    CapacityReservationStatus = text("Used, Unused, or null")
    ResourceId = text("Resource as the provider names it")
    ResourceName = text("Its name")
    ResourceType = text("Its type")
    RegionId = text("Region")
    RegionName = text("Its name")
    AvailabilityZone = text("Zone")
    SkuId = text("SKU")
    SkuMeter = text("What the SKU measures")
    SkuPriceId = text("Price of the SKU")
    SkuPriceDetails = text("JSON: InstanceType, GpuCount for one pricing unit, ...")
    SubAccountId = text("Sub-account")
    SubAccountName = text("Its name")
    Tags = text("JSON object")
    is_derived = flag("Added here, by amortising what was prepaid, or priced here by a rate card", nullable=False)
    unknown_reason = text("Why a cost is null: the provider's gap")


@table("money", Keyed(("import_id",)))
class SplitCharge(dy.Schema):
    """What a provider's bill says of one pod or task's share of a node, never summed with charges.

    The node's own charge has the money: these rows divide it (AWS split cost allocation data).
    """

    import_id = key("The import that brought it")
    row_index = key_count("Its place in the import")
    billing_account_id = text("Account that is invoiced")
    sub_account_id = text("Account that used it")
    billing_period_start = instant("Start of the billing period")
    charge_start = instant("Start of the hour or day")
    charge_end = instant("End, exclusive")
    resource_id = text("Pod or task, as the provider names it")
    parent_resource_id = text("Node whose charge is divided")
    meter = text("What is divided: vCPU, memory, accelerator hours")
    billing_currency = text("ISO 4217")
    split_cost = money("Its share of the node, after discounts where the bill says so")
    unused_cost = money("What AWS gives it of the node's capacity that nobody asked for")
    ReservedQuantity = quantity("What it asked for")
    ActualQuantity = quantity("What it used")
    SplitQuantity = quantity("What it is charged for: the larger of both, accelerators what was asked for")
    QuantityUnit = text("Unit of the quantities")
    split_ratio = ratio("Its share of the node's capacity")
    tags = text("JSON object")


@table("money", Whole(), also=(Timed("billing_period_start", "month"),))
class BillImport(dy.Schema):
    """One billing account's period in one import, with the totals its source states.

    The unit of replacement is (source, billing account, billing period): `status` says which import of
    it counts.
    """

    import_id = key("Id of the import: a hash of what was imported and from where")
    billing_account_id = key("Billing account")
    billing_period_start = key_instant("Start of the billing period")
    billing_currency = key("ISO 4217")
    source_name = text("Folder, bucket prefix, or file name that delivers this bill again and again", nullable=False)
    path = text("What was imported", nullable=False)
    format = text("focus, aws_cur, on_premises, ...", nullable=False)
    version = text("Version of the format")
    provider = text("ServiceProviderName of its charges")
    sha256 = text("Hash of the bytes", nullable=False)
    imported_at = instant("When it was imported", nullable=False)
    status = text(
        "current, superseded, waiting (for --accept)", nullable=False, among=("current", "superseded", "waiting")
    )
    supersedes_import_id = text("The import that it replaced")
    row_count = count("Charges kept", nullable=False)
    rejected_count = count("Charges refused", nullable=False)
    charge_day_count = count("Days with a charge", nullable=False)
    billed_cost = money("Sum of BilledCost at the source, before rounding", nullable=False)
    effective_cost = money("Sum of EffectiveCost at the source, before rounding")
    residue = money("What rounding to 18 decimals took away, billed: the total less the kept rows", nullable=False)
    residue_text = text("What rounding took away, billed, with all its digits")
    control_cost = money("The source's own total, where it states one")
    normalised_count = count("Values such as 'NULL' or '' that were read as null")
    naive_instant_count = count("Instants without a zone, taken as UTC")
    complete_through = instant("End of the last charge period")


@table("money", Keyed(("invoice_issuer", "invoice_id")), also=(Timed("billing_period_start", "month"),))
class Invoice(dy.Schema):
    """One invoice's payable amount for one billing period, from outside the bill it is compared with."""

    invoice_issuer = key("FOCUS InvoiceIssuerName")
    invoice_id = key("FOCUS InvoiceId")
    billing_account_id = key("Account; '' where the invoice names none")
    billing_period_start = key_instant("Start of the billing period")
    billing_currency = key("ISO 4217")
    provider = text("FOCUS ServiceProviderName")
    invoiced = money("Payable amount", nullable=False)
    issue_status = text("FOCUS InvoiceIssueStatus")
    issued_at = instant("When it was issued")
    source = text("invoice_detail, csv, typed", nullable=False)
    path = text("File it came from")


@table("money", Keyed(("invoice_issuer", "invoice_id")), also=(Timed("billing_period_start", "month"),))
class InvoiceLine(dy.Schema):
    """One line of an invoice, where its issuer tells them; `invoice` holds what they sum to."""

    invoice_issuer = key("FOCUS InvoiceIssuerName")
    invoice_id = key("FOCUS InvoiceId")
    invoice_detail_id = key("FOCUS InvoiceDetailId; its place in the file where the issuer gives none")
    billing_account_id = key("Account; '' where the invoice names none")
    billing_period_start = key_instant("Start of the billing period")
    billing_currency = key("ISO 4217")
    charge_category = text("FOCUS ChargeCategory")
    description = text("The issuer's words")
    grain = text("FOCUS InvoiceDetailGrain: a JSON object of what the line is told apart by")
    invoiced = money("Amount of the line; what a voided one said once, though nobody owes it", nullable=False)
    issue_status = text("FOCUS InvoiceIssueStatus")
    payment_currency = text("ISO 4217 of the payment")
    payment_cost = money("Amount in the currency of the payment")
    payment_due_at = instant("When it is due")
    reference_invoice_id = text("The invoice that it corrects")


BILLING_PERIOD_STATUS = ("open", "closed")


@table("money", Whole(), also=(Timed("billing_period_start", "month"),))
class BillingPeriod(dy.Schema):
    """One billing period of one issuer of invoices: a changed bill of a closed one waits until it is accepted."""

    invoice_issuer = key("FOCUS InvoiceIssuerName")
    billing_period_start = key_instant("Start of the billing period")
    billing_period_end = instant("End, exclusive")
    status = text("open, closed", nullable=False, among=BILLING_PERIOD_STATUS)
    changed_at = instant("When it was opened or closed", nullable=False)
    changed_by = text("Who said so: a file, or a person", nullable=False)


@table("operation", Whole())
class BillObject(dy.Schema):
    """One file of a bill that the hub fetches by itself, as it was when it was fetched last."""

    bill_name = key("Section of [bills]")
    path = key("Its place below the address of the section")
    etag = text("The object store's word for its content; '' for a file", nullable=False)
    size_bytes = count("Its size", nullable=False)
    modified_at = instant("When it was changed", nullable=False)
    delivery = text("The folder, manifest or file that it was a part of", nullable=False)
    status = text("imported, waiting or refused", nullable=False, among=("imported", "waiting", "refused"))
    message = text("What came of it, in one line", nullable=False)
    fetched_at = instant("When it was fetched", nullable=False)
