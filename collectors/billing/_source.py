"""Where a bill lies: a file, a folder, a manifest, or the same in an object store."""

import gzip
import hashlib
import io
import json
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError as StoreFailure
from obstore.store import ObjectStore, from_url

from collectors.billing._assemblies import current_files
from ledger.errors import InputError

if TYPE_CHECKING:  # the name exists for type checkers only
    from obstore.store import RetryConfig

_DATA_SUFFIXES = (".csv", ".csv.gz", ".parquet", ".toml", ".tsv", ".txt", ".jsonl", ".jsonl.gz", ".ndjson", ".json.gz")
_STATUS = "cost_and_usage_data_status"  # a folder in which AWS tells whether the report beside it is being written
_GZIP_MAGIC = b"\x1f\x8b"
_PIECE_BYTES = 4 * 2**20
_HASH_CHARACTERS = 32

# Somebody waits for the answer: a wrong bucket is said in seconds, not after the default three minutes.
RETRY: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}


@dataclass(frozen=True)
class SourceFile:
    """One file of a delivery; `label` is what messages call it, `name` its place in the delivery."""

    label: str
    name: str
    load: Callable[[], bytes] = field(repr=False)

    def content(self) -> bytes:
        """Return the bytes, unpacked where they are gzip.

        Raises: InputError: the file cannot be read, or its gzip stream is cut or broken.
        """
        raw = self.load()
        if not raw.startswith(_GZIP_MAGIC):
            return raw
        # A buffer that grows in its place: joined pieces would be there twice.
        whole = io.BytesIO()
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as packed:
                shutil.copyfileobj(packed, whole, _PIECE_BYTES)
            return whole.getvalue()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(
                f"{self.label}: found a gzip stream that is cut or damaged ({error}), expected a whole one",
                hint="fetch the file again, and compare its size with the original",
            ) from error


@dataclass(frozen=True)
class Source:
    """One delivery: its files in the order of their names, and the name under which it comes again."""

    path: str
    name: str
    files: tuple[SourceFile, ...]

    def sha256(self) -> str:
        """Return a hash of what was delivered: every file's place and bytes."""
        if len(self.files) == 1:
            return hashlib.sha256(self.files[0].load()).hexdigest()
        whole = hashlib.sha256()
        for each in self.files:
            whole.update(each.name.encode() + b"\0" + hashlib.sha256(each.load()).digest())
        return whole.hexdigest()


def import_id(source_name: str, sha256: str) -> str:
    """Return the id of an import: the same bytes under the same name are the same import."""
    return hashlib.sha256(f"{source_name}\0{sha256}".encode()).hexdigest()[:_HASH_CHARACTERS]


def open_source(location: str | Path) -> Source:
    """Return what lies at a path or object-store URL (s3, gs, az, file, memory).

    A folder, or a manifest, is one delivery named by its path; a loose file is named by its file name.
    Raises: InputError: nothing is there, or nothing of it can be a bill.
    """
    text = str(location)
    scheme = urlsplit(text).scheme if isinstance(location, str) else ""
    if len(scheme) > 1:
        return _remote(text)
    return _local(Path(location).expanduser())


def _local(path: Path) -> Source:
    if path.is_dir():
        below = {each.relative_to(path).as_posix(): each for each in sorted(path.rglob("*")) if each.is_file()}
        manifests = {name: partial(_local_list, each) for name, each in below.items() if is_manifest(name)}
        names = current_files(str(path), filter(is_data, below), manifests)
        return _checked(Source(str(path), str(path.resolve()), tuple(_file(below[name], name) for name in names)))
    if not path.is_file():
        raise InputError(f"{path}: found nothing there, expected a file or a folder", hint="check the path")
    if not is_manifest(path.name):
        return Source(str(path), path.name, (_file(path, path.name),))
    entries = listed(path.name, _bytes_of(path))
    found = {str(each.relative_to(path.parent)): each for each in path.parent.rglob("*") if each.is_file()}
    names = [matched(str(path), entry, sorted(found)) for entry in entries]
    files_of = tuple(_file(found[name], name) for name in sorted(names))
    return _checked(Source(str(path), str(path.parent.resolve()), files_of))


def _local_list(path: Path) -> list[str]:
    return listed(str(path), _bytes_of(path))


def _file(path: Path, name: str) -> SourceFile:
    return SourceFile(label=str(path), name=name, load=lambda: _bytes_of(path))


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected a file that can be read") from error


def _remote(url: str) -> Source:
    bare = url.rstrip("/")
    parent, _, last = bare.rpartition("/")
    try:
        # The address may be an object or a prefix: ask for the object first, a prefix can be long.
        if not parent.endswith("/") and not url.endswith("/"):
            store = _opened(parent)
            if _exists(store, last):
                return _object_source(url, parent, last, store)
        store = _opened(bare)
        keys = sorted(_keys(store))
    except FileNotFoundError:
        keys = []
    except (StoreFailure, OSError, ValueError) as error:
        raise InputError(
            f"{url}: the object store answers {type(error).__name__}: {str(error).splitlines()[0]}",
            hint="check the address and the credentials in the environment (AWS_*, GOOGLE_*, AZURE_*)",
        ) from error
    if not keys:
        raise InputError(f"{url}: found nothing there, expected an object or a prefix", hint="check the address")
    manifests = {key: partial(_remote_list, bare, store, key) for key in keys if is_manifest(key)}
    names = current_files(bare, filter(is_data, keys), manifests)
    return _checked(Source(url, bare, tuple(_stored(bare, store, key) for key in names)))


def _remote_list(prefix: str, store: ObjectStore, key: str) -> list[str]:
    return listed(key, _object(f"{prefix}/{key}", store, key))


def _opened(url: str) -> ObjectStore:
    if url.startswith("file:"):
        path = Path(unquote(urlsplit(url).path))
        if not path.is_dir():
            raise FileNotFoundError(str(path))
        return from_url(url)
    return from_url(url, retry_config=RETRY)


def _exists(store: ObjectStore, key: str) -> bool:
    try:
        obstore.head(store, key)
    except FileNotFoundError:
        return False
    return True


def _object_source(url: str, parent: str, name: str, store: ObjectStore) -> Source:
    if not is_manifest(name):
        return Source(url, name, (_stored(parent, store, name),))
    keys = sorted(_keys(store))
    names = sorted(matched(url, entry, keys) for entry in listed(name, _object(url, store, name)))
    return _checked(Source(url, parent, tuple(_stored(parent, store, each) for each in names)))


def _keys(store: ObjectStore) -> Iterator[str]:
    for batch in obstore.list(store):
        for entry in batch:
            yield entry["path"]


def _stored(prefix: str, store: ObjectStore, key: str) -> SourceFile:
    return SourceFile(label=f"{prefix}/{key}", name=key, load=lambda: _object(f"{prefix}/{key}", store, key))


def _object(label: str, store: ObjectStore, key: str) -> bytes:
    try:
        return bytes(obstore.get(store, key).bytes())
    except (StoreFailure, OSError) as error:
        raise InputError(f"{label}: {str(error).splitlines()[0]}, expected an object that can be read") from error


def _checked(source: Source) -> Source:
    if not source.files:
        raise InputError(
            f"{source.path}: found no file that could be a bill, expected {', '.join(_DATA_SUFFIXES[:3])} files",
            hint="name the folder that holds the export's data files",
        )
    return source


def is_data(name: str) -> bool:
    """Tell by its name whether a file may hold rows of a bill."""
    *folders, last = PurePosixPath(name).parts
    return last.lower().endswith(_DATA_SUFFIXES) and not last.startswith((".", "_")) and _STATUS not in folders


def is_manifest(name: str) -> bool:
    """Tell by its name whether a file lists the others of its delivery."""
    return name.lower().endswith("manifest.json")


def listed(name: str, content: bytes) -> list[str]:
    """Return the files that a manifest names: Azure's blobs, AWS's dataFiles or reportKeys."""
    try:
        manifest = json.loads(content)
        entries = manifest.get("blobs") or manifest.get("dataFiles") or manifest.get("reportKeys") or []
        names = [each["blobName"] if isinstance(each, dict) else str(each) for each in entries]
    except (ValueError, AttributeError, KeyError) as error:
        raise InputError(f"{name}: found no list of files, expected a manifest with blobs or dataFiles") from error
    if not names:
        raise InputError(f"{name}: found no list of files, expected a manifest with blobs or dataFiles")
    return names


def matched(manifest: str, entry: str, names: list[str]) -> str:
    """Return the delivered file that a manifest's entry means: the longest common end of both paths."""
    wanted = PurePosixPath(urlsplit(entry).path if "://" in entry else entry).parts
    same_name = [name for name in names if PurePosixPath(name).name == wanted[-1]]
    if not same_name:
        raise InputError(
            f"{manifest}: lists {entry}, found no such file beside it",
            hint="wait until the delivery is complete, then import again",
        )

    def common(name: str) -> int:
        pairs = zip(reversed(PurePosixPath(name).parts), reversed(wanted), strict=False)
        return next((index for index, (left, right) in enumerate(pairs) if left != right), len(wanted))

    return max(same_name, key=common)
