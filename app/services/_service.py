"""What a service is: one function behind a command, an API call and a button."""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError

from app.context import Context
from ledger.errors import ConfigError, InputError
from ledger.explain import nearest, problem

Progress = Callable[[str, float], None]
"""Told what is being done, and the share of the whole that is done."""


class Params(BaseModel):
    """What a service is asked; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def silent(phrase: str, share: float) -> None:
    """Take progress and show nothing."""
    del phrase, share


@dataclass(frozen=True)
class Service:
    """A named function of a context and typed parameters, with what its caller must know.

    `reads` names the parameters that are files of the caller, `writes` the one where results are put:
    they travel with the call when a hub holds the store. A `local` service is about this machine and is
    never asked of a hub.
    """

    name: str
    params: type[Params]
    function: Callable[[Context, Any, Progress], object]
    reads: tuple[str, ...]
    writes: str
    local: bool
    doc: str
    module: str

    def run(self, context: Context, params: Params, progress: Progress = silent) -> object:
        """Do it here and return its result."""
        return self.function(context, params, progress)

    def asked(self, values: object) -> Params:
        """Return the parameters in values that came from elsewhere.

        Raises: InputError: a line for each one that does not fit.
        """
        try:
            return self.params.model_validate(values)
        except ValidationError as error:
            lines = [f"{self.name}: {problem(each, self.params)}" for each in error.errors()]
            raise InputError("\n".join(lines), hint="GET /api/v1/services lists what each service takes") from None


def service(
    *, reads: tuple[str, ...] = (), writes: str = "", local: bool = False
) -> Callable[[Callable[[Context, Any, Progress], object]], Service]:
    """Declare a service from a function; its second parameter's type says what it is asked."""

    def wrap(function: Callable[[Context, Any, Progress], object]) -> Service:
        hints = get_type_hints(function)
        params = hints[list(inspect.signature(function).parameters)[1]]
        if not (isinstance(params, type) and issubclass(params, Params)):
            raise ConfigError(f"{function.__module__}.{function.__name__}: the second parameter must be Params")
        return Service(
            name=function.__name__,
            params=params,
            function=function,
            reads=reads,
            writes=writes,
            local=local,
            doc=inspect.getdoc(function) or "",
            module=function.__module__,
        )

    return wrap


def find(name: str, known: list[str]) -> Service:
    """Return the service of a name, importing no other: some need libraries that others do not.

    Raises: InputError: there is none of that name.
    """
    if name not in known:
        hint = nearest(name, known) or f"one of {', '.join(known)}"
        raise InputError(f"services: found no service {name}", hint=hint)
    module = importlib.import_module(f"app.services.{name}")
    found = getattr(module, name, None)
    if not isinstance(found, Service):
        raise ConfigError(f"{module.__name__} must define one service of the name {name}")
    return found
