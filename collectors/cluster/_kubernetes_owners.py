"""Who made a pod: its owners up to the one that nobody owns."""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

import msgspec

from collectors.cluster._kubernetes_api import Api
from collectors.cluster._kubernetes_objects import Described, Meta, Owner
from ledger.errors import SourceError

_DEEPEST: Final = 8
_VERSION: Final = re.compile(r"(?:[a-z0-9][a-z0-9.-]*/)?v[0-9][a-z0-9]*")


class _Kind(msgspec.Struct):
    name: str
    kind: str


class _Kinds(msgspec.Struct):
    resources: list[_Kind]


class Owners:
    """What is known of the owners of pods; it is kept between pulls, since an object's owners hardly ever change.

    Kinds are looked up as the server serves them, so that a RayCluster or a PyTorchJob is followed like a ReplicaSet.
    Where an owner is gone, or may not be read, the chain ends with its name.
    """

    def __init__(self) -> None:
        self._plurals: dict[str, dict[str, str]] = {}
        self._known: dict[str, Meta | None] = {}
        self._used: set[str] = set()
        self.refused: set[str] = set()

    def begin(self) -> None:
        """Forget what no pod of the last pull had for an owner, and what could not be read."""
        self._known = {uid: meta for uid, meta in self._known.items() if uid in self._used and meta is not None}
        self._used = set()
        self.refused = set()

    def chain(self, api: Api, meta: Meta) -> list[Owner]:
        """Return the owners of an object, the nearest first.

        Raises: SourceError: the server does not answer.
        """
        return list(self._followed(api, meta))

    def _followed(self, api: Api, meta: Meta) -> Iterator[Owner]:
        current: Meta | None = meta
        seen: set[str] = set()
        while current is not None and len(seen) < _DEEPEST:
            owner = _controller(current)
            if owner is None or owner.uid in seen:
                return
            seen.add(owner.uid)
            yield owner
            current = self._meta(api, owner, meta.namespace)

    def _meta(self, api: Api, owner: Owner, namespace: str) -> Meta | None:
        self._used.add(owner.uid)
        if owner.uid not in self._known:
            self._known[owner.uid] = self._asked(api, owner, namespace)
        return self._known[owner.uid]

    def _asked(self, api: Api, owner: Owner, namespace: str) -> Meta | None:
        if not _VERSION.fullmatch(owner.api_version):
            return None
        root = f"/apis/{owner.api_version}" if "/" in owner.api_version else f"/api/{owner.api_version}"
        if root not in self._plurals:
            self._plurals[root] = _plurals(api, root)
        plural = self._plurals[root].get(owner.kind)
        if plural is None or owner.kind == "Node":
            return None
        # Whoever makes a pod says who owns it: nothing of that may lead elsewhere.
        path = f"{root}/namespaces/{quote(namespace, safe='')}/{plural}/{quote(owner.name, safe='')}"
        content, is_permitted = api.permitted(path)
        if not is_permitted:
            self.refused.add(f"{plural}.{owner.api_version.partition('/')[0]}")
        if content is None:
            return None
        meta = _decoded(content, root)
        # A name is used again: another object of this name owns nothing here.
        return meta if meta.uid == owner.uid else None


def _controller(meta: Meta) -> Owner | None:
    owners = meta.owner_references or ()
    return next((each for each in owners if each.controller), None)


def _plurals(api: Api, root: str) -> dict[str, str]:
    """Return how the server calls each kind of a group in its addresses; nothing where it does not serve the group."""
    content, _ = api.permitted(root)
    if content is None:
        return {}
    try:
        resources = msgspec.json.decode(content, type=_Kinds).resources
    except msgspec.DecodeError as error:
        raise SourceError(f"{root}: found {error}, expected a list of resources") from None
    return {each.kind: each.name for each in resources if "/" not in each.name}


def _decoded(content: bytes, root: str) -> Meta:
    try:
        return msgspec.json.decode(content, type=Described).metadata
    except msgspec.DecodeError as error:
        raise SourceError(f"{root}: found {error}, expected an object") from None
