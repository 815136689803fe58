"""A gateway as a real process with a real etcd."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from drone_orchestrator.bringup import dds, fleet_config
from drone_orchestrator.bringup.local_fleet import DomainReservation, dies_with_parent

T = TypeVar("T")

DEADLINE_S = 90.0
DEPOT = fleet_config.load().depot
REGION = fleet_config.load().region


def order_document(order_id: str, **changes: Any) -> dict[str, Any]:
    """Return the body of an order that the packaged fleet can serve, about 500 m from the depot."""
    destination = {"lat": DEPOT.lat_deg + 0.004, "lon": DEPOT.lon_deg + 0.003}
    return {"order_id": order_id, "destination": destination, "package_weight_kg": 0.5} | changes


def eventually(what: str, look: Callable[[], T], deadline_s: float = DEADLINE_S) -> T:
    """Return the first true value of ``look()``. Fails after ``deadline_s``, naming ``what``."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {deadline_s} s: {what}")


class GatewayProcess:
    """``order_gateway`` with ``parameters``, in ``domain`` or in a DDS domain of its own. A context manager."""

    def __init__(self, endpoint: str, *, domain: int | None = None, **parameters: Any) -> None:
        self._reserved = DomainReservation() if domain is None else None
        self.domain = self._reserved.domain if self._reserved is not None else domain
        given = {"etcd_endpoints": endpoint.removeprefix("http://"), "http_port": 0, **parameters}
        pairs = [word for name, value in given.items() for word in ("-p", f"{name}:={value}")]
        self._logs = tempfile.TemporaryDirectory()
        environment = {
            "PYTHONUNBUFFERED": "1",
            "ROS_DOMAIN_ID": str(self.domain),
            **dds.loopback(),
            "ROS_LOG_DIR": self._logs.name,
        }
        self.process = subprocess.Popen(
            [*dies_with_parent(), sys.executable, "-m", "drone_orchestrator.nodes.order_gateway", "--ros-args", *pairs],
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> GatewayProcess:
        self.http = httpx.Client(base_url=self.url, timeout=DEADLINE_S, trust_env=False)
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self.process.kill()
        self.wait()

    @property
    def url(self) -> str:
        """Return the address it listens on, once its log names it."""
        return eventually("the gateway logs its address", self._url)

    def post(self, document: dict[str, Any], **options: Any) -> httpx.Response:
        return self.http.post("/orders", json=document, **options)

    def wait_ready(self) -> None:
        eventually("/readyz is 200", lambda: self.http.get("/readyz").status_code == 200)

    def end(self, signal_number: int = signal.SIGTERM) -> int:
        """Send the signal, wait, and return the exit code."""
        self.process.send_signal(signal_number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        self._logs.cleanup()
        if self._reserved is not None:
            self._reserved.release()
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip())

    def _url(self) -> str:
        assert self.process.poll() is None, f"the gateway ended: {self.said}"
        found = re.search(r"accepting orders at (http://\S+)", "\n".join(self.said))
        return found.group(1) if found else ""
