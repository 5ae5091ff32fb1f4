"""What a command and an API call do, once: one module, one service, found by its name."""

import pkgutil

from app.services._service import Params, Progress, Service, find, service, silent

__all__ = ["Params", "Progress", "Service", "named", "names", "service", "silent"]


def names() -> list[str]:
    """Return the names of all services."""
    return sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))


def named(name: str) -> Service:
    """Return the service of a name.

    Raises: InputError: there is none of that name.
    """
    return find(name, names())
