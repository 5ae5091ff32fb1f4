"""Names of users: where they come from a directory (LDAP) that does not answer, no round waits for it."""

import pwd
import threading
from collections.abc import Callable
from typing import Final

_PATIENCE_SECONDS: Final = 0.2
_MOST_ASKED: Final = 4
_MOST_KNOWN: Final = 4096


def _asked(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


class Users:
    """The names of users by their numbers; each is asked for once, in a thread of its own, since that call may hang."""

    def __init__(self, ask: Callable[[int], str] = _asked) -> None:
        self._ask = ask
        self._known: dict[int, str] = {}
        self._asked: dict[int, threading.Thread] = {}

    def name(self, uid: int) -> str:
        """Return a user's name, or the number where this node does not know it, or not in time."""
        if uid not in self._known and uid not in self._asked and len(self._asked) < _MOST_ASKED:
            thread = self._asked[uid] = threading.Thread(target=self._learn, args=(uid,), name="user", daemon=True)
            thread.start()
            thread.join(_PATIENCE_SECONDS)
        return self._known.get(uid, str(uid))

    def _learn(self, uid: int) -> None:
        try:
            name = self._ask(uid)
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[uid] = name
        finally:
            del self._asked[uid]
