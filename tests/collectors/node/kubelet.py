"""A kubelet's pod-resources service: a real gRPC server on a unix socket."""

from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_LABEL = descriptor_pb2.FieldDescriptorProto
_MESSAGES = {
    "Topology": {1: ("nodes", "int64", True)},
    "ContainerDevices": {
        1: ("resource_name", "string", False),
        2: ("device_ids", "string", True),
        3: ("topology", "Topology", False),
    },
    "ClaimResource": {
        1: ("cdi_devices", "string", True),
        2: ("driver_name", "string", False),
        3: ("pool_name", "string", False),
        4: ("device_name", "string", False),
    },
    "DynamicResource": {2: ("claim_name", "string", False), 4: ("claim_resources", "ClaimResource", True)},
    "ContainerResources": {
        1: ("name", "string", False),
        2: ("devices", "ContainerDevices", True),
        3: ("cpu_ids", "int64", True),
        5: ("dynamic_resources", "DynamicResource", True),
        9: ("share", "double", False),
        10: ("weight", "float", False),
    },
    "PodResources": {
        1: ("name", "string", False),
        2: ("namespace", "string", False),
        3: ("containers", "ContainerResources", True),
    },
    "ListPodResourcesResponse": {1: ("pod_resources", "PodResources", True)},
}


def _messages() -> Any:
    """Return the response's class, as a compiler would make it from the kubelet's interface."""
    file = descriptor_pb2.FileDescriptorProto(name="podresources_test.proto", package="v1", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (word, kind, is_repeated) in fields.items():
            made = message.field.add(name=word, number=number)
            made.label = _LABEL.LABEL_REPEATED if is_repeated else _LABEL.LABEL_OPTIONAL
            if kind in _MESSAGES:
                made.type, made.type_name = _LABEL.TYPE_MESSAGE, f".v1.{kind}"
            else:
                made.type = getattr(_LABEL, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("v1.ListPodResourcesResponse"))


Response = _messages()


@dataclass
class Kubelet:
    """A kubelet that answers `pods`, or with an error; `asked` are the methods and metadata that it saw."""

    pods: list[dict[str, Any]] = field(default_factory=list)
    error: tuple[Any, str] | None = None
    late: bool = False
    raw: bytes | None = None
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def service(self, details: Any) -> Any:
        """Return how a method is answered."""
        self.asked.append((details.method, {each.key: each.value for each in details.invocation_metadata}))
        if details.method != "/v1.PodResourcesLister/List":
            return None
        return grpc.unary_unary_rpc_method_handler(self._list)

    def _list(self, request: bytes, context: Any) -> bytes:
        assert request == b""
        if self.late:
            context.send_initial_metadata((("seen", "yes"),))
        if self.error is not None:
            context.abort(*self.error)
        if self.raw is not None:
            return self.raw
        return bytes(Response(pod_resources=self.pods).SerializeToString())


def serve(kubelet: Kubelet, root: Path) -> Any:
    """Start a kubelet below a root; stop what is returned."""
    folder = root / "var/lib/kubelet/pod-resources"
    folder.mkdir(parents=True, exist_ok=True)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    server.add_generic_rpc_handlers((_Handler(kubelet),))
    server.add_insecure_port(f"unix:{folder}/kubelet.sock")
    server.start()
    return server


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet

    def service(self, handler_call_details: Any) -> Any:
        return self._kubelet.service(handler_call_details)


def container(name: str, resource: str, *ids: str) -> dict[str, Any]:
    """Return a container that holds devices of one resource, on one NUMA node, with a processor of its own."""
    devices = [{"resource_name": resource, "device_ids": list(ids), "topology": {"nodes": [1]}}]
    return {"name": name, "devices": devices, "cpu_ids": [3, 300], "share": 0.5, "weight": 2.0}
