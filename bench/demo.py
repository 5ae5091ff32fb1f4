"""The demo: how long 96 GPUs and 30 days take to write and roll up, and with how much memory."""

import json
import sys
import time

from app.context import Context
from app.services import named
from bench._measure import peak_bytes
from ledger.config import load


def main(url: str, gpus: int, days: int) -> None:
    """Write the demo and print the figures."""
    context = Context(load(store={"url": url}))
    demo = named("demo")
    began = time.perf_counter()
    demo.run(context, demo.asked({"gpus": gpus, "days": days}))
    taken = time.perf_counter() - began
    context.close()
    print(json.dumps({"demo_seconds": taken, "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
