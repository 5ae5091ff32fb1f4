"""Colours, in light and dark, said once: pages, charts and mails take them from here."""

from typing import Final

from ledger.names import Bottleneck, State

STATE_COLOURS: Final[dict[State, str]] = {
    "productive": "#1a9a7a",
    "underused": "#8cc8a0",
    "throttled": "#e8a33d",
    "held_idle": "#d1495b",
    "allocated_idle": "#ee8a8f",
    "unallocated": "#8d9db5",
    "orphaned": "#8e6bbf",
    "faulty": "#8f5573",
    "unknown": "#c9ccd3",
}
"""Work is green, idleness that somebody pays for is red, idleness that nobody holds is grey-blue.

Each is legible on white and on the dark background, and its lightness differs from its neighbours'.
"""

STATE_WORDS: Final[dict[State, str]] = {
    "productive": "Productive",
    "underused": "Underused",
    "throttled": "Throttled",
    "held_idle": "Held idle",
    "allocated_idle": "Allocated idle",
    "unallocated": "Unallocated",
    "orphaned": "Orphaned",
    "faulty": "Faulty",
    "unknown": "Unknown",
}

STATE_MEANINGS: Final[dict[State, str]] = {
    "productive": "it worked",
    "underused": "it was busy with less than a quarter of its SMs",
    "throttled": "it was slowed for heat or by a power brake",
    "held_idle": "a job's process held it and did nothing",
    "allocated_idle": "a job held it and had no process on it",
    "unallocated": "nobody held it",
    "orphaned": "a process of no live job held it",
    "faulty": "it or its node was broken or drained",
    "unknown": "nothing was seen, or what was seen decides nothing",
}

STATE_ORDER: Final[tuple[State, ...]] = (
    "productive",
    "underused",
    "throttled",
    "held_idle",
    "allocated_idle",
    "unallocated",
    "orphaned",
    "faulty",
    "unknown",
)
"""The order of a stack: what one wants at the bottom, what one cannot judge on top."""

BOTTLENECK_COLOURS: Final[dict[Bottleneck, str]] = {
    "compute_tensor": "#1a9a7a",
    "compute_other": "#5fb59a",
    "dram_bound": "#2f7fb8",
    "power_capped": "#9fbf5a",
    "communication": "#6a73c9",
    "launch_bound": "#a98bd1",
    "input_storage": "#e8a33d",
    "input_cpu": "#f0c36a",
    "host_memory": "#b9772c",
    "straggler": "#c65f9b",
    "throttled": "#e0703a",
    "idle": "#d1495b",
    "unknown": "#c9ccd3",
}

CATEGORICAL: Final = (
    "#2f7fb8",
    "#1a9a7a",
    "#e8a33d",
    "#8e6bbf",
    "#d1495b",
    "#4fb3bf",
    "#b9772c",
    "#c65f9b",
    "#7a8b3c",
    "#6b7a90",
)
"""For teams, models and providers, in order of size; more than ten are drawn as `other`."""

OTHER_COLOUR: Final = "#b4bac4"

ACCENT: Final = "#1a7f8e"

_LIGHT: Final = {
    "primaryColor": ACCENT,
    "backgroundColor": "#ffffff",
    "secondaryBackgroundColor": "#f3f6f8",
    "textColor": "#17212b",
    "borderColor": "#dde3e9",
    "linkColor": "#12677a",
}

_DARK: Final = {
    "primaryColor": "#3fb3c2",
    "backgroundColor": "#10161d",
    "secondaryBackgroundColor": "#18212b",
    "textColor": "#e6ebf0",
    "borderColor": "#2c3946",
    "linkColor": "#6cc8d6",
}

MAIL: Final = {
    "text": "#17212b",
    "muted": "#5b6875",
    "line": "#dde3e9",
    "panel": "#f3f6f8",
    "accent": ACCENT,
    "bad": "#b23a4b",
    "good": "#14806a",
}


def streamlit_options() -> dict[str, object]:
    """Return the theme as Streamlit's options, for both themes."""
    shared: dict[str, object] = {
        "theme.baseRadius": "0.4rem",
        "theme.showWidgetBorder": True,
        "theme.chartCategoricalColors": list(CATEGORICAL),
    }
    sides = {
        f"theme.{side}.{name}": value
        for side, values in (("light", _LIGHT), ("dark", _DARK))
        for name, value in values.items()
    }
    return {**shared, **sides}
