"""A store whose idle incidents a test decides, under a clock that it moves."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from app.context import Context
from app.notify import notify
from app.services import named
from ledger.config import Settings
from ledger.frames import to_frame
from ledger.sections import HubSettings, Receiver, StoreSettings
from ledger.tables import IdleIncident, IncidentNotice

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Estate:
    """A hub's context over a file; `again` is what a restart gives."""

    def __init__(self, path: Path, *receivers: Receiver) -> None:
        self.path, self.receivers = path, receivers
        self.now = NOW
        self.rows: dict[tuple[str, datetime], dict[str, Any]] = {}
        self.context = self._opened()

    def _opened(self) -> Context:
        settings = Settings(
            store=StoreSettings(url=f"duckdb:{self.path}"),
            hub=HubSettings(url="https://ledger.example.org"),
            notify=self.receivers,
        )
        return Context(settings, now=lambda: self.now)

    def again(self) -> None:
        """Restart."""
        self.context.close()
        self.context = self._opened()

    def idles(self, gpu: str, *, since: datetime, **more: Any) -> None:
        """Let a device idle, or say more of it."""
        row = {
            "cluster": "alpha",
            "node": "gpu-07",
            "gpu_uuid": gpu,
            "opened_at": since,
            "closed_at": None,
            "state": "held_idle",
            "job_id": "4711",
            "restart_count": 0,
            "job_name": "jupyter",
            "model": "llama-3-70b",
            "user": "ann",
            "team": "vision",
            "idle_seconds": Decimal(2400),
            "effective_cost": Decimal("12.345678901234567891"),
            "billing_currency": "USD",
            "is_estimated": False,
            "status": "open",
        }
        self.rows[gpu, since] = {**row, **more}
        self._keep()

    def idle_together(self, gpus: list[str], *, since: datetime) -> None:
        """Let devices of one job idle."""
        self.idles(gpus[0], since=since)
        row = self.rows[gpus[0], since]
        self.rows |= {(gpu, since): {**row, "gpu_uuid": gpu} for gpu in gpus}
        self._keep()

    def ends(self, gpu: str, *, since: datetime, at: datetime | None = None) -> None:
        """Let it be over."""
        self.rows[gpu, since] |= {"closed_at": at or self.now, "status": "closed"}
        self._keep()

    def vanishes(self, gpu: str, *, since: datetime) -> None:
        """Let it never have been."""
        del self.rows[gpu, since]
        self._keep()

    def _keep(self) -> None:
        self.context.store.replace(IdleIncident, to_frame(IdleIncident, list(self.rows.values())), partitions=["*"])

    def passes(self, times: int = 1, *, minutes: float = 1) -> str:
        """Let time go by, and receivers be told; return what the last pass said."""
        said = ""
        for _ in range(times):
            self.now += minutes * MINUTE
            said = notify(self.context)
        return said

    def decide(self, service: str = "incidents", **params: Any) -> Any:
        """Let a person decide."""
        found = named(service)
        return found.run(self.context, found.asked(params))

    def notices(self) -> list[dict[str, Any]]:
        return [each for each in self.context.store.read(IncidentNotice).to_dicts() if each["gpu_uuid"]]
