"""Logs on stderr: a fixed phrase per event, facts as key-values named as columns."""

import logging
import sys

# Where they are installed structlog loads rich, for pictures of errors, and greenlet, for threads that nobody has here:
# 6 MB of an agent's 60.
_UNUSED = [name for name in ("rich", "greenlet") if name not in sys.modules]
sys.modules.update(dict.fromkeys(_UNUSED))  # type: ignore[arg-type]
import structlog  # noqa: E402  see above

for _name in _UNUSED:
    del sys.modules[_name]


def configure(*, json: bool = False, level: str = "info") -> None:
    """Send structured logs to stderr; stdout carries data only."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        # Looked up at each call: stderr may be another stream by then.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
