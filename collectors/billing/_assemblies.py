"""Which files of a folder count where AWS keeps every version of a report beside each other.

Each time AWS writes a report anew it fills a new folder, named by an assembly or execution id; the manifest above
these folders lists the files of the newest. Reading all of them would count every charge again and again.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Final

from ledger.errors import InputError

_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ASSEMBLY: Final = re.compile(
    rf"^(?:\d{{4}}-\d\d-\d\dT[^/]*-|\d{{8}}T\d{{6}}Z?-?)?(?:{_UUID})$|^\d{{8}}T\d{{6}}Z$", re.IGNORECASE
)


def current_files(where: str, files: Iterable[str], manifests: Mapping[str, Callable[[], list[str]]]) -> list[str]:
    """Return the files that count: of several assemblies of one report those that a manifest above them lists.

    `manifests` has what lists the files of each, by its place beside the files.
    Raises: InputError: several assemblies, and no manifest says which is the newest.
    """
    known = list(files)
    places = {name: place for name in known if (place := _assembly(name)) is not None}
    several: dict[str, set[str]] = {}
    for report, assembly in places.values():
        several.setdefault(report, set()).add(assembly)
    left_out: set[tuple[str, str]] = set()
    for report, assemblies in several.items():
        if len(assemblies) > 1:
            left_out |= {(report, each) for each in assemblies - _listed(where, report, assemblies, manifests)}
    return [name for name in known if places.get(name) not in left_out]


def _listed(
    where: str, report: str, assemblies: set[str], manifests: Mapping[str, Callable[[], list[str]]]
) -> set[str]:
    """Return the assemblies that the manifests outside of them list."""
    found: set[str] = set()
    for name, entries in manifests.items():
        if _assembly(name) is None:
            parts = {part for entry in entries() for part in PurePosixPath(entry).parts}
            found |= assemblies & parts
    if not found:
        place = f"{where}/{report}".rstrip("/")
        raise InputError(
            f"{place}: found {len(assemblies)} versions of one report beside each other, expected a manifest that "
            "lists the files of the newest",
            hint="name one of its folders, or put the report's Manifest.json beside them",
        )
    return found


def _assembly(name: str) -> tuple[str, str] | None:
    """Return the report to which a file in an assembly's folder belongs, and that folder's name."""
    parts = PurePosixPath(name).parts
    index = next((at for at, part in enumerate(parts[:-1]) if _ASSEMBLY.match(part)), None)
    return None if index is None else ("/".join(parts[:index]), parts[index])
