"""The token that a source is asked with: one word, of which nothing is ever shown."""

from pathlib import Path

from ledger.errors import SourceError
from ledger.sections import is_one_line


def token_in(path: Path) -> str:
    """Return the token in a file, without what `scontrol token` writes before it.

    Raises: SourceError: the file cannot be read, or holds something else.
    """
    try:
        found = path.read_bytes()
    except OSError as error:
        raise SourceError(f"token_file: {path}: {error.strerror}, expected a readable file") from None
    token = found.decode("ascii", "replace").strip().removeprefix("SLURM_JWT=")
    if not token or " " in token or not is_one_line(token):
        what = "nothing" if not token else "a line break, a blank or a letter that no token has"
        raise SourceError(f"token_file: {path}: found {what}, expected one token and nothing else")
    return token
