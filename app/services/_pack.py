"""One JSON document and files, in one stream: a tar whose first member is the document."""

import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

import msgspec

from ledger.errors import InputError

MEDIA_TYPE = "application/x-tar"
_FIRST = "document.json"
_CHUNK_BYTES = 1_048_576


def pack(file: IO[bytes], document: str, files: list[tuple[str, Path]]) -> None:
    """Write a document and files, under the names given; a folder brings what lies in it."""
    with tarfile.open(fileobj=file, mode="w|") as tar:
        body = document.encode()
        member = tarfile.TarInfo(_FIRST)
        member.size = len(body)
        tar.addfile(member, io.BytesIO(body))
        for name, path in files:
            for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if each.is_file():
                    inner = f"{name}/{each.relative_to(path).as_posix()}" if path.is_dir() else name
                    tar.add(each.resolve(), arcname=inner, recursive=False)
            if path.is_dir():
                member = tarfile.TarInfo(name)
                member.type = tarfile.DIRTYPE
                tar.addfile(member)


def unpack(file: IO[bytes], folder: Path) -> Any:
    """Write the files into a folder and return the document.

    Raises: InputError: it is no such stream, or a member would land outside the folder.
    """
    try:
        with tarfile.open(fileobj=file, mode="r|") as tar:
            first = tar.next()
            body = tar.extractfile(first) if first is not None and first.name == _FIRST else None
            if body is None:
                raise InputError(f"upload: found no {_FIRST} as the first member")
            document = read_document(body.read())
            # Iterating over the archive would begin with the document again, and a stream cannot go back.
            while (member := tar.next()) is not None:
                _write(tar, member, folder)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise InputError(f"upload: found a broken tar: {error}") from None
    return document


def read_document(content: bytes) -> Any:
    """Return what a JSON document says; half a letter, which JSON can write and nothing can keep, is no text.

    Raises: ValueError: it is none, or lies deeper than anybody writes.
    """
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = PurePosixPath(member.name)
    # `extractall(filter=...)` is missing from the first releases of Python 3.11.
    if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
        raise InputError(f"upload: found the member {member.name!r}, expected a plain file inside")
    target = folder / name
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    body = tar.extractfile(member)
    if body is None:
        raise InputError(f"upload: found the member {member.name!r} without content")
    with target.open("wb") as out:
        shutil.copyfileobj(body, out, _CHUNK_BYTES)


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Return the rest of a file in pieces."""
    while block := file.read(_CHUNK_BYTES):
        yield block
