"""Logs on stderr: a fixed phrase per event, facts as key-values named as columns."""

import logging
import sys

# Where rich is installed, structlog loads it for pictures of errors, which nothing here draws: 5 MB of an agent's 60.
_IS_LOADED = "rich" in sys.modules
if not _IS_LOADED:
    sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402  see above

if not _IS_LOADED:
    del sys.modules["rich"]


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
