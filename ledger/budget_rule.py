"""The section `[[budgets]]` of the configuration: what scopes may spend in a month."""

from decimal import Decimal
from typing import Annotated, Final

from pydantic import Field

from ledger.sections import Section

BUDGET_SCOPE: Final = r"^(total|(team|model|provider):.+)$"

DEFAULT_THRESHOLDS: Final = (0.8, 1.0)

Threshold = Annotated[float, Field(gt=0, le=10)]


class BudgetRule(Section):
    """What one scope may spend in each month, and who must act."""

    scope: Annotated[str, Field(pattern=BUDGET_SCOPE, description="total, team:NAME, model:NAME or provider:NAME")]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217")]
    amount: Annotated[Decimal, Field(gt=0, decimal_places=18, max_digits=38, description="What a month may cost")]
    thresholds: Annotated[
        tuple[Threshold, ...], Field(description="Shares of it at which receivers are told, once a month each")
    ] = DEFAULT_THRESHOLDS
    owner: Annotated[str, Field(description="Who must act; empty for the owner of the team")] = ""
    since: Annotated[
        str, Field(pattern=r"^(\d{4}-(0[1-9]|1[0-2]))?$", description="First month, as YYYY-MM; empty for any")
    ] = ""
    until: Annotated[
        str, Field(pattern=r"^(\d{4}-(0[1-9]|1[0-2]))?$", description="Last month, as YYYY-MM; empty for any")
    ] = ""
