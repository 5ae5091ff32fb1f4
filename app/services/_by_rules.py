"""What a service is asked that divides costs: by which rules, in place of the stored ones."""

from typing import Annotated

from pydantic import Field

from app.services._service import Params
from ledger.money_sections import MoneySettings, SharedCostRule, SplitRule
from queries.other_rules import tried


class ByRules(Params):
    """By which rules costs are divided."""

    split_rule: Annotated[
        SplitRule | None, Field(description="Divide nodes by this rule, in place of the one in [money]")
    ] = None
    shared_cost: Annotated[
        SharedCostRule | None, Field(description="Divide what belongs to all by this rule, of whatever kind it is")
    ] = None

    def rules(self, stored: MoneySettings) -> MoneySettings:
        """Return the rules that are asked for.

        Raises: InputError: one needs shares, and none are configured.
        """
        return tried(stored, self.split_rule, self.shared_cost)
