"""libtpu's metric service: a real gRPC server on loopback."""

from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

METHOD = "/tpu.monitoring.runtime.RuntimeMetricService/GetRuntimeMetric"
DUTY_CYCLE = "tpu.runtime.tensorcore.dutycycle.percent"
MEMORY_USED = "tpu.runtime.hbm.memory.usage.bytes"
MEMORY_TOTAL = "tpu.runtime.hbm.memory.total.bytes"

_LABEL = descriptor_pb2.FieldDescriptorProto
_MESSAGES = {
    "Gauge": {1: ("as_double", "double"), 2: ("as_int", "int64"), 3: ("as_string", "string")},
    "AttrValue": {1: ("string_attr", "string"), 3: ("int_attr", "int64")},
    "Attribute": {1: ("key", "string"), 2: ("value", "AttrValue")},
    "Timestamp": {1: ("seconds", "int64"), 2: ("nanos", "int32")},
    "Metric": {1: ("attribute", "Attribute"), 2: ("timestamp", "Timestamp"), 3: ("gauge", "Gauge")},
    "TPUMetric": {1: ("name", "string"), 2: ("description", "string"), 3: ("metrics", "Metric")},
    "MetricResponse": {1: ("metric", "TPUMetric")},
    "MetricRequest": {1: ("metric_name", "string"), 2: ("skip_node_aggregation", "bool")},
}


def _classes() -> dict[str, Any]:
    """Return the classes of the messages, as a compiler would make them from the service's interface."""
    file = descriptor_pb2.FileDescriptorProto(name="tpu_test.proto", package="t", syntax="proto3")
    for name, parts in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if name in {"Gauge", "AttrValue"}:
            message.oneof_decl.add(name="value")
        for number, (word, kind) in parts.items():
            made = message.field.add(name=word, number=number)
            is_many = (name, word) == ("TPUMetric", "metrics")
            made.label = _LABEL.LABEL_REPEATED if is_many else _LABEL.LABEL_OPTIONAL
            if name in {"Gauge", "AttrValue"}:
                made.oneof_index = 0
            if kind in _MESSAGES:
                made.type, made.type_name = _LABEL.TYPE_MESSAGE, f".t.{kind}"
            else:
                made.type = getattr(_LABEL, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{name}")) for name in _MESSAGES}


CLASSES = _classes()


def response(values: dict[int, float]) -> bytes:
    """Return the answer with a value by device: whole numbers as such, others in double precision."""
    metrics = [
        {
            "attribute": {"key": "device-id", "value": {"int_attr": device}},
            "timestamp": {"seconds": 1_760_000_000, "nanos": 5},
            "gauge": {"as_int": value} if isinstance(value, int) else {"as_double": value},
        }
        for device, value in values.items()
    ]
    answer = CLASSES["MetricResponse"](metric={"name": "m", "description": "text", "metrics": metrics})
    return bytes(answer.SerializeToString())


@dataclass
class Libtpu:
    """A program's library, which answers `values` by the name of a metric; bytes go out as they are."""

    values: dict[str, dict[int, float] | bytes] = field(default_factory=dict)
    late_seconds: float = 0.0
    host: str = "127.0.0.1"
    port: int = 0

    def start(self) -> Any:
        """Serve on a free port; stop what is returned."""
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
        server.add_generic_rpc_handlers((_Handler(self),))
        self.port = server.add_insecure_port(f"{self.host}:0")
        server.start()
        return server

    def answer(self, request: bytes, context: Any) -> bytes:
        """Answer one call."""
        name = CLASSES["MetricRequest"].FromString(request).metric_name
        if name not in self.values:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no metric {name}")
        found = self.values[name]
        return found if isinstance(found, bytes) else response(found)


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, library: Libtpu) -> None:
        self._library = library

    def service(self, handler_call_details: Any) -> Any:
        if handler_call_details.method != METHOD:
            return None
        return grpc.unary_unary_rpc_method_handler(self._library.answer)
