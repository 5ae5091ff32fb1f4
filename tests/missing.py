"""What a test needs and this machine does not have."""

import os
from typing import NoReturn

import pytest


def missing(message: str) -> NoReturn:
    """Skip a test and say what to install or set; where everything is to run (CI), fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
