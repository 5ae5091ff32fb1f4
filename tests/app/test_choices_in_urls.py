"""What is chosen on a page stands in its URL as it is shown, so that a link gives it at the first look."""

import pytest

from app.context import Context
from tests.app.conftest import used
from tests.app.opening import opened


@pytest.mark.parametrize(
    ("page", "key", "value"),
    [("models", "unit", "run"), ("models", "unit", "user"), ("invoices", "by", "line"), ("cost", "by", "service")],
)
def test_a_choice_in_the_url_holds_at_the_first_look(demo_context: Context, page: str, key: str, value: str) -> None:
    with used(demo_context):
        test = opened(page, query={key: value})
    assert test.session_state[key] == value
    assert test.query_params[key] in (value, [value])
