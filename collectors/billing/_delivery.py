"""What lies in a place where bills come again and again: files, told apart into deliveries.

A delivery is what is imported as one snapshot. Files below a folder that names a month (`2026-10`,
`BILLING_PERIOD=2026-10`, `20261001-20261101`, `year=2026/month=10`) are one, of which the newest manifest says which
files count; so are the files of any other folder. A file that lies in no folder is one of its own.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError as StoreFailure
from obstore.store import ObjectStore, from_url
from pydantic import SecretStr

from collectors.billing._source import RETRY, Source, SourceFile, is_data, is_manifest, listed, matched
from ledger.errors import InputError, SourceError

_MONTH: Final = re.compile(r"^(\w+=)?\d{4}-?\d{2}$|^\d{8}-\d{8}$|^month=\d{1,2}$", re.IGNORECASE)
_VIEW: Final = re.compile(r"actual|amorti[sz]ed", re.IGNORECASE)
_BOTH_VIEWS: Final = "actual-and-amortised"
_OF_NO_PERIOD: Final = frozenset({"data", "metadata"})
"""Folders in which AWS keeps the files and the manifests of a period apart."""

_HINT: Final = "check url and options of its section, or the credentials in the environment (AWS_*, GOOGLE_*, AZURE_*)"

Entries = Callable[[str], list[str]]
"""Returns the files that the manifest at a path lists."""


@dataclass(frozen=True)
class Stored:
    """One file as a listing tells it; it has changed where any of this has."""

    path: str
    etag: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True)
class Delivery:
    """One snapshot: its name in the place, the files to read, and the manifest that names them, if one does.

    `problem` says why it cannot be read yet.
    """

    name: str
    files: tuple[Stored, ...]
    manifest: Stored | None = None
    problem: str = ""

    @property
    def all_files(self) -> tuple[Stored, ...]:
        """Return everything by which a change of it is seen."""
        return self.files if self.manifest is None else (*self.files, self.manifest)


class Place:
    """A folder, or a prefix of an object store (s3, gs, az), with its files."""

    def __init__(self, url: str, options: Mapping[str, SecretStr] | None = None) -> None:
        self.url = url.rstrip("/")
        parts = urlsplit(url)
        is_local = len(parts.scheme) <= 1 or parts.scheme == "file"
        path = unquote(parts.path) if parts.scheme == "file" else url
        self._folder = Path(path).expanduser() if is_local else None
        self._options = {name: value.get_secret_value() for name, value in (options or {}).items()}
        self._store: ObjectStore | None = None

    def deliveries(self) -> list[Delivery]:
        """Return what lies there now, by name.

        Raises: SourceError: the place does not answer.
        """
        try:
            found = sorted(self._local() if self._folder is not None else self._remote(), key=lambda each: each.path)
            return _deliveries(found, self._manifest)
        except (StoreFailure, OSError, ValueError) as error:
            raise self._failed(self.url, error) from error

    def source(self, delivery: Delivery, source_name: str, folder: Path) -> Source:
        """Return a delivery as what a format reads; objects are fetched into a folder, files are read where they are.

        Raises: SourceError: an object cannot be fetched.
        """
        files = []
        for index, each in enumerate(delivery.files):
            path = self._folder / each.path if self._folder is not None else folder / f"{index}"
            if self._folder is None:
                self._fetch(each.path, path)
            files.append(SourceFile(f"{self.url}/{each.path}", each.path, path.read_bytes))
        return Source(f"{self.url}/{delivery.name}".rstrip("/"), source_name, tuple(files))

    def _local(self) -> Iterator[Stored]:
        folder = self._folder
        if folder is None or not folder.is_dir():
            raise FileNotFoundError("found no folder there")
        for path in folder.rglob("*"):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and (is_data(name) or is_manifest(name)):
                about = path.stat()
                yield Stored(name, "", about.st_size, datetime.fromtimestamp(about.st_mtime, tz=UTC))

    def _remote(self) -> Iterator[Stored]:
        for batch in obstore.list(self._opened()):
            for each in batch:
                if is_data(each["path"]) or is_manifest(each["path"]):
                    yield Stored(each["path"], each["e_tag"] or "", each["size"], each["last_modified"])

    def _opened(self) -> ObjectStore:
        if self._store is None:
            # What options there are depends on the scheme, which is known when it is opened.
            opened: Callable[..., ObjectStore] = from_url
            self._store = opened(self.url, retry_config=RETRY, config=self._options, **_client(self._options))
        return self._store

    def _manifest(self, path: str) -> list[str]:
        if self._folder is not None:
            return listed(path, (self._folder / path).read_bytes())
        return listed(path, bytes(obstore.get(self._opened(), path).bytes()))

    def _fetch(self, key: str, path: Path) -> None:
        try:
            with path.open("wb") as file:
                for block in obstore.get(self._opened(), key).stream():
                    file.write(block)
        except (StoreFailure, OSError) as error:
            raise self._failed(f"{self.url}/{key}", error) from error

    def _failed(self, where: str, error: Exception) -> SourceError:
        said = (str(error) or type(error).__name__).splitlines()[0]
        return SourceError(f"{where}: {said}", hint=_HINT)


def _client(options: Mapping[str, str]) -> dict[str, object]:
    """Return how the store's client connects: in the clear only where an option has such an address."""
    is_clear = any(value.startswith("http://") for value in options.values())
    return {"client_options": {"allow_http": True}} if is_clear else {}


def _deliveries(files: Iterable[Stored], entries: Entries) -> list[Delivery]:
    """Tell files apart into deliveries; of those of one month the newest manifest counts."""
    groups: dict[str, list[Stored]] = {}
    for each in files:
        groups.setdefault(_group(each.path), []).append(each)
    found = []
    for name, members in sorted(groups.items()):
        data = tuple(each for each in members if not is_manifest(each.path))
        manifests = [each for each in members if is_manifest(each.path)]
        if manifests:
            newest = max(manifests, key=lambda each: (each.modified_at, each.path))
            found.append(_listed(name, data, newest, entries))
        elif data:
            found.append(Delivery(name, data))
    return _whole(found)


def _whole(found: list[Delivery]) -> list[Delivery]:
    """Make one of what is one cost in two views: exports whose folders differ in `actual` and `amortized` alone."""
    groups: dict[str, list[Delivery]] = {}
    for each in found:
        groups.setdefault(_VIEW.sub(_BOTH_VIEWS, each.name), []).append(each)
    whole = []
    for name, members in groups.items():
        views = {view.group().lower() for each in members if (view := _VIEW.search(each.name))}
        if len(members) == 1 or len(views) == 1:
            whole.extend(members)
            continue
        problem = next((each.problem for each in members if each.problem), "")
        whole.append(Delivery(name, tuple(file for each in members for file in each.files), problem=problem))
    return whole


def _listed(name: str, data: tuple[Stored, ...], manifest: Stored, entries: Entries) -> Delivery:
    """Return the delivery that a manifest lists; one that is not whole yet is said and waits."""
    by_path = {each.path: each for each in data}
    try:
        paths = sorted({matched(manifest.path, entry, sorted(by_path)) for entry in entries(manifest.path)})
    except InputError as error:
        return Delivery(name, (), manifest, error.message)
    return Delivery(name, tuple(by_path[path] for path in paths), manifest)


def _group(path: str) -> str:
    """Return the name of the delivery to which a file belongs."""
    *folders, name = PurePosixPath(path).parts
    if not folders:
        return name
    month = next((index for index, each in enumerate(folders) if _MONTH.match(each)), None)
    kept = folders if month is None else folders[: month + 1]
    return "/".join(each for each in kept if month is None or each.lower() not in _OF_NO_PERIOD)
