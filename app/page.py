"""Pages and how they are found: one module in `app.views`, one page, no list to edit."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ledger.errors import ConfigError
from ledger.registry import discover

SECTIONS: Final = ("Observe", "Money", "Act", "Operate")
"""The groups of the navigation, in their order."""

Role = str
ROLES: Final[tuple[Role, ...]] = ("admin", "manager", "sre", "team")
"""Who looks: everything, money first, devices first, or one team's own rows."""


@dataclass(frozen=True)
class Page:
    """One page: its place in the navigation, its path in the URL, and the function that shows it.

    `path` is '' for the first page that opens; `icon` is a symbol of the font that Streamlit brings
    (`:material/name:`), or an emoji.
    """

    name: str
    title: str
    section: str
    order: int
    icon: str
    path: str
    roles: tuple[Role, ...]
    show: Callable[[], None]
    doc: str
    module: str


def page(
    title: str,
    *,
    section: str,
    order: int,
    icon: str = "",
    path: str | None = None,
    roles: tuple[Role, ...] = ROLES,
) -> Callable[[Callable[[], None]], Page]:
    """Declare a page from the function that shows it; the function's name is its path unless one is given."""
    if section not in SECTIONS:
        raise ConfigError(f"page {title}: section: found {section!r}, expected one of {', '.join(SECTIONS)}")

    def wrap(show: Callable[[], None]) -> Page:
        return Page(
            name=show.__name__,
            title=title,
            section=section,
            order=order,
            icon=icon,
            path=show.__name__.replace("_", "-") if path is None else path,
            roles=roles,
            show=show,
            doc=inspect.getdoc(show) or "",
            module=show.__module__,
        )

    return wrap


def pages(role: Role = "admin") -> list[Page]:
    """Return the pages that a role may open, in the order of the navigation."""
    import app.views  # noqa: PLC0415  a page imports this module

    found = discover(app.views, Page).values()
    return sorted(
        (each for each in found if role in each.roles),
        key=lambda each: (SECTIONS.index(each.section), each.order, each.title),
    )
