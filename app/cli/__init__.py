"""The command line: data on stdout, logs on stderr, exit codes 0, 1 (failed) and 2 (bad input)."""

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from app.cli import bills, budgets, incidents, invoices, ledger, node, operate, serve, statements, what_if
from app.cli._help import dress
from app.cli._output import complain
from ledger import log, memory
from ledger.config import FILE_VARIABLE
from ledger.errors import ClusterLedgerError

# Typer keeps its own copy of Click's errors; this is their base, by the one name of it that is public.
_USAGE_ERROR: Final[type[Exception]] = typer.BadParameter.__mro__[2]

_OURS: Final = frozenset({"app", "collectors", "ledger", "queries"})

_HELP = """Every GPU-second and every dollar of an AI cluster, in one ledger that adds up.

Data goes to stdout and logs to stderr. The exit code is 0, 1 where something failed, or 2 where what was
given is wrong. Settings come from clusterledger.toml, from CLUSTERLEDGER_SECTION__KEY variables and from
options, the last winning.
"""


def build() -> typer.Typer:
    """Return the command line with all its commands."""
    cli = typer.Typer(
        name="clusterledger",
        help=_HELP,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    cli.callback()(_options)
    for module in (serve, node, ledger, bills, invoices, statements, budgets, what_if, incidents, operate):
        module.add(cli)
    dress(cli)
    return cli


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    memory.settle()
    sys.exit(_code(arguments))


def _code(arguments: list[str] | None) -> int:
    try:
        result = build()(args=arguments, prog_name="clusterledger", standalone_mode=False)
    except ClusterLedgerError as error:
        complain(error.message, error.hint)
        return error.exit_code
    except _USAGE_ERROR as error:
        return _misused(error)
    except BrokenPipeError:
        # The reader of our output has enough; Python would complain again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except (OSError, ModuleNotFoundError) as error:
        return _failed(error)
    return result if isinstance(result, int) else 0


def _failed(error: OSError | ModuleNotFoundError) -> int:
    """Say in one line what the machine lacks."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}{error.strerror or error}")
    elif error.name is None or error.name.partition(".")[0] in _OURS:
        raise error
    else:
        complain(f"found no library {error.name}, expected all that a hub needs", "pip install 'clusterledger[hub]'")
    return 1


def _misused(error: Exception) -> int:
    """Say in one line what was wrong with a command."""
    context = getattr(error, "ctx", None)
    message = getattr(error, "format_message", lambda: str(error))()
    usage = context.get_help() if context is not None else ""
    if message.strip() in {"", usage.strip()}:  # a bare `clusterledger` shows its help
        typer.echo(usage)
        return 0
    command = context.command_path if context is not None else "clusterledger"
    complain(message.rstrip("."), f"`{command} --help`")
    return 2


def _version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version as installed  # noqa: PLC0415  only here

        typer.echo(installed("clusterledger"))
        raise typer.Exit


def _options(
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Read this file in the place of ./clusterledger.toml."),
    ] = None,
    log_level: Annotated[
        str, typer.Option("--log-level", metavar="LEVEL", help="Log debug, info, warning or error.")
    ] = "info",
    log_json: Annotated[bool, typer.Option("--log-json", help="Write each log line as JSON.")] = False,
    version: Annotated[  # noqa: ARG001  it has ended the command by now
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    if log_level.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise typer.BadParameter(
            f"found {log_level!r}, expected debug, info, warning or error", param_hint="--log-level"
        )
    log.configure(json=log_json, level=log_level)
    if config is not None:
        os.environ[FILE_VARIABLE] = str(config)
