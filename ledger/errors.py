"""Errors, told apart by who must act.

- ClusterLedgerError: the base; the command line prints it as one line and a hint.
    - ConfigError: the operator corrects the configuration or the command (exit 2).
    - InputError: the person who gave a file, a query or a request corrects it (exit 2).
    - SourceMissing: what a collector reads is not on this node; it is skipped and said once.
    - SourceError: a source failed in this round; it is counted and the rest goes on.
        - PartError: a part of it failed; what its collector knows of the rest still holds.
    - ContractError: rows do not fit their table; the rows are refused and kept as rejected.
    - StoreError: the store cannot be opened or written (exit 1).
    - SealedError: a sealed partition would be recomputed from rows that are gone.

The text is `where: what was found, what was expected`; the hint is the next thing to do.
"""


class ClusterLedgerError(Exception):
    """Something that one clear line and a hint can explain.

    `exit_code` is what the command line returns for it.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class ConfigError(ClusterLedgerError):
    """The configuration, or the command itself, is wrong."""

    exit_code = 2


class InputError(ClusterLedgerError):
    """A file, query or request that somebody handed over is wrong; nothing of it was kept."""

    exit_code = 2


class SourceMissing(ClusterLedgerError):  # noqa: N818  absence is no error
    """This node does not have what the collector reads."""


class SourceError(ClusterLedgerError):
    """The source is there and failed in this round."""


class PartError(SourceError):
    """A part of the source failed in this round; what is known of the rest still holds."""


class ContractError(ClusterLedgerError):
    """Rows do not fit their table."""


class StoreError(ClusterLedgerError):
    """The store cannot be opened, read or written."""


class SealedError(StoreError):
    """A sealed partition cannot be recomputed: the rows behind it have expired."""
