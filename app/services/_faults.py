"""Refused rows as people are told of them: a line for each fault, however many rows have it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ledger.words import amount

TOLD_FAULTS: Final = 20
"""Faults that are told at once, those of most rows first; all refused rows stand in `rejected_row`."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with some rows: how many they are, and what was said of the first of them."""

    table_name: str
    reason: str
    row_count: int

    @property
    def line(self) -> str:
        """The fault as one line."""
        if self.row_count == 1:
            return self.reason
        return f"{amount(self.row_count, 'row')}, the first at {self.reason}"


@dataclass
class Faults:
    """The faults of a file or a source while its refused rows are counted."""

    known: dict[tuple[str, str], Fault] = field(default_factory=dict)

    def add(self, table_name: str, fault: str, reason: str) -> None:
        """Count one more row."""
        key = (table_name, fault)
        same = self.known.get(key)
        self.known[key] = Fault(table_name, reason if same is None else same.reason, same.row_count + 1 if same else 1)

    def told(self) -> list[Fault]:
        """Return the faults that are told, that of most rows first, else as they were met."""
        return sorted(self.known.values(), key=lambda each: -each.row_count)[:TOLD_FAULTS]

    def lines(self, name: str = "") -> list[str]:
        """Return a line for each fault that is told, and one for the rest; `name` is said by who tells them."""
        told = [each.line for each in self._of(name)]
        more = [each.row_count for each in sorted(self.known.values(), key=lambda each: -each.row_count)[TOLD_FAULTS:]]
        return [*told, f"{amount(sum(more), 'more row')} with {amount(len(more), 'other fault')}"] if more else told

    def rows(self, name: str = "") -> list[dict[str, object]]:
        """Return the same as records: how many rows, of which table, and what was said of the first."""
        return [vars(each) for each in self._of(name)]

    def _of(self, name: str) -> Iterator[Fault]:
        for each in self.told():
            yield Fault(each.table_name, each.reason.removeprefix(f"{name}: "), each.row_count)
