"""Colours: legible on both backgrounds, and told apart from their neighbours."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from app import theme
from ledger.names import BOTTLENECKS, STATES

SCALES: Mapping[str, Mapping[Any, str]] = {
    "states": theme.STATE_COLOURS,
    "bottlenecks": theme.BOTTLENECK_COLOURS,
}
NAMED = [(scale, name, colour) for scale, colours in SCALES.items() for name, colour in colours.items()]
DARK = str(theme.streamlit_options()["theme.dark.backgroundColor"])


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """Return the contrast of WCAG 2.2, from 1 to 21."""
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_every_state_and_class_has_a_colour() -> None:
    assert set(theme.STATE_COLOURS) == set(theme.STATE_ORDER) == set(theme.STATE_WORDS) == set(STATES)
    assert set(theme.BOTTLENECK_COLOURS) == set(BOTTLENECKS)


@pytest.mark.parametrize(("scale", "name", "colour"), NAMED)
def test_a_colour_is_seen_in_the_dark(scale: str, name: str, colour: str) -> None:
    assert contrast(colour, DARK) >= 3, (scale, name)


@pytest.mark.parametrize(("scale", "name", "colour"), NAMED)
def test_a_colour_is_seen_on_white(scale: str, name: str, colour: str) -> None:
    assert contrast(colour, "#ffffff") >= 1.5, (scale, name)


@pytest.mark.parametrize("side", ["light", "dark"])
def test_text_and_links_are_legible(side: str) -> None:
    options = theme.streamlit_options()
    for name in ("textColor", "linkColor"):
        for ground in ("backgroundColor", "secondaryBackgroundColor"):
            assert contrast(str(options[f"theme.{side}.{name}"]), str(options[f"theme.{side}.{ground}"])) >= 4.5


def test_the_text_of_a_mail_is_legible() -> None:
    for name in ("text", "muted", "accent", "bad", "good"):
        assert contrast(theme.MAIL[name], "#ffffff") >= 4.5, name
    assert contrast(theme.MAIL["muted"], theme.MAIL["panel"]) >= 4.5


@pytest.mark.parametrize("scale", SCALES)
def test_colours_of_a_chart_differ(scale: str) -> None:
    for (one, first), (other, second) in itertools.combinations(SCALES[scale].items(), 2):
        distance = sum((int(first[at : at + 2], 16) - int(second[at : at + 2], 16)) ** 2 for at in (1, 3, 5)) ** 0.5
        assert distance > 30, (one, other)
