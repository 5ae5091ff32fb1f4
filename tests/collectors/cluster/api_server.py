"""A server that answers as Kubernetes' API does, with objects that its published schemas accept."""

import base64
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate

VERSION = "1.34"
TOKEN = "ey.token"

Object = dict[str, Any]

KINDS = {
    "Pod": ("v1", "pods"),
    "Node": ("v1", "nodes"),
    "ReplicaSet": ("apps/v1", "replicasets"),
    "Deployment": ("apps/v1", "deployments"),
    "Job": ("batch/v1", "jobs"),
    "CronJob": ("batch/v1", "cronjobs"),
    "PyTorchJob": ("kubeflow.org/v1", "pytorchjobs"),
    "RayJob": ("ray.io/v1", "rayjobs"),
    "RayCluster": ("ray.io/v1", "rayclusters"),
    "ResourceClaim": ("resource.k8s.io/v1", "resourceclaims"),
    "ResourceSlice": ("resource.k8s.io/v1", "resourceslices"),
    "Workload": ("kueue.x-k8s.io/v1beta1", "workloads"),
}
CUSTOM = {"PyTorchJob", "RayJob", "RayCluster", "Workload"}


class ApiServer:
    """What the server holds and how it misbehaves; it notes what it was asked."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.version = 1000
        self.asked: list[str] = []
        self.expire_lists = 0
        self.busy = 0
        self.forbidden: set[str] = set()
        self.allowed: set[tuple[str, str, str]] | None = None
        self.broken: dict[str, Any] = {}
        self.without: set[str] = set()
        self.url = ""

    def put(self, kind: str, thing: Object, *, is_valid: bool = True) -> Object:
        """Keep an object; it must be one of its kind."""
        api_version, _ = KINDS[kind]
        whole = {"apiVersion": api_version, "kind": kind, **thing}
        if is_valid and kind not in CUSTOM:
            kubernetes_validate.validate(whole, VERSION, strict=True)
        self.version += 1
        meta = {**thing["metadata"], "resourceVersion": str(self.version)}
        self.objects[kind, meta.get("namespace", ""), meta["name"]] = {**whole, "metadata": meta}
        return thing

    def drop(self, kind: str, name: str, namespace: str = "") -> None:
        self.version += 1
        del self.objects[kind, namespace, name]

    def answer(self, path: str, query: Mapping[str, list[str]], token: str) -> tuple[int, Object, dict[str, str]]:
        """Return status, body and headers."""
        self.asked.append(path)
        if token != f"Bearer {TOKEN}":
            return self.refusal(401, "Unauthorized", "Unauthorized")
        return (200, self.broken[path], {}) if path in self.broken else self.served(path, query)

    def served(self, path: str, query: Mapping[str, list[str]]) -> tuple[int, Object, dict[str, str]]:
        if self.busy:
            self.busy -= 1
            return (
                *self.refusal(429, "TooManyRequests", "too many requests, please try again later")[:2],
                {"Retry-After": "0"},
            )
        parts = path.strip("/").split("/")
        group = parts[1] if parts[0] == "api" else "/".join(parts[1:3])
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        name = group.partition("/")[0]
        served = {kind: plural for kind, (each, plural) in KINDS.items() if each == group}
        versions = sorted({each for each, _ in KINDS.values() if each.startswith(f"{path.removeprefix('/apis/')}/")})
        if name not in self.without and path.startswith("/apis/") and versions:
            told = [{"groupVersion": each, "version": each.partition("/")[2]} for each in versions]
            return 200, {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": told}, {}
        if not served or name in self.without:
            return self.refusal(404, "NotFound", "the server could not find the requested resource")
        if not rest:
            return 200, resource_list(group, served), {}
        return self.resource(served, rest, query)

    def resource(
        self, served: Mapping[str, str], rest: list[str], query: Mapping[str, list[str]]
    ) -> tuple[int, Object, dict[str, str]]:
        namespace, rest = (rest[1], rest[2:]) if rest[0] == "namespaces" else ("", rest)
        kind = next(kind for kind, plural in served.items() if plural == rest[0])
        verb = "get" if len(rest) > 1 else "list"
        group = KINDS[kind][0].rpartition("/")[0]
        is_allowed = self.allowed is None or (group, rest[0], verb) in self.allowed
        if rest[0] in self.forbidden or not is_allowed:
            account = "system:serviceaccount:clusterledger:clusterledger"
            told = f'{rest[0]} is forbidden: User "{account}" cannot {verb} resource "{rest[0]}" in API group "{group}"'
            return self.refusal(403, "Forbidden", told)
        if len(rest) > 1:
            found = self.objects.get((kind, namespace, rest[1]))
            if found is None:
                return self.refusal(404, "NotFound", f'{rest[0]} "{rest[1]}" not found')
            return 200, found, {}
        return self.page(kind, namespace, query)

    def page(self, kind: str, namespace: str, query: Mapping[str, list[str]]) -> tuple[int, Object, dict[str, str]]:
        """Return one page of a list; its items do not repeat what they are."""
        items = [
            each for (of, space, _), each in sorted(self.objects.items()) if of == kind and namespace in {"", space}
        ]
        start, version = 0, self.version
        if "continue" in query:
            token = json.loads(base64.b64decode(query["continue"][0]))
            start, version = token["start"], token["rv"]
            if self.expire_lists:
                self.expire_lists -= 1
                return self.refusal(
                    410, "Expired", "The provided continue parameter is too old to display a consistent list result."
                )
        limit = int(query.get("limit", ["0"])[0]) or len(items)
        rest = len(items) - start - limit
        meta: Object = {"resourceVersion": str(version)}
        if rest > 0:
            token = {"v": "meta.k8s.io/v1", "rv": version, "start": start + limit}
            meta |= {"continue": base64.b64encode(json.dumps(token).encode()).decode(), "remainingItemCount": rest}
        bare = [{key: value for key, value in each.items() if key not in {"kind", "apiVersion"}} for each in items]
        api_version, _ = KINDS[kind]
        return (
            200,
            {
                "kind": f"{kind}List",
                "apiVersion": api_version,
                "metadata": meta,
                "items": bare[start : start + limit] or None,
            },
            {},
        )

    def refusal(self, code: int, reason: str, message: str) -> tuple[int, Object, dict[str, str]]:
        told = {"status": "Failure", "message": message, "reason": reason, "code": code}
        return code, {"kind": "Status", "apiVersion": "v1", "metadata": {}, **told}, {}


def resource_list(group: str, served: Mapping[str, str]) -> Object:
    resources = [
        {
            "name": name,
            "singularName": kind.lower(),
            "namespaced": kind != "Node",
            "kind": kind,
            "verbs": ["get", "list"],
        }
        for kind, plural in served.items()
        for name in (plural, f"{plural}/status")
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": resources}


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[ApiServer]:
    """Serve on a free port of the loopback."""
    api = ApiServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body in one packet: else each answer waits for the peer's acknowledgement.
        wbufsize = -1

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            code, body, headers = api.answer(parts.path, parse_qs(parts.query), self.headers.get("Authorization", ""))
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(code)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(content)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        api.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join(60)
