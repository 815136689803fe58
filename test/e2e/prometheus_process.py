"""A real Prometheus that a test starts for itself, with the project's own configuration at a faster pace."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import pytest
import yaml

from drone_orchestrator.bringup.local_fleet import dies_with_parent, free_port

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "observability"
DEADLINE_S = 90.0


def tool(name: str) -> str:
    """Return the path of a program of Debian's package. The test is skipped if it is missing."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian packages prometheus and prometheus-alertmanager)")
    return found


def quick_rules() -> dict[str, Any]:
    """Return the project's alerts, each firing a second after its condition holds."""
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["for"] = "1s"
    return rules


class Prometheus:
    """Prometheus that scrapes ``targets_file`` every second; a context manager."""

    def __init__(self, folder: Path, targets_file: Path) -> None:
        self._folder = folder
        self._port = free_port()
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        del config["alerting"]
        job = next(job for job in config["scrape_configs"] if job["job_name"] == "drone_orchestrator")
        job["file_sd_configs"] = [{"files": [str(targets_file)], "refresh_interval": "1s"}]
        config["scrape_configs"] = [job]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        (folder / "alerts.yml").write_text(yaml.safe_dump(quick_rules()))

    def __enter__(self) -> Prometheus:
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *dies_with_parent(),
                    tool("prometheus"),
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                    "--query.lookback-delta=5s",  # a value that is no longer scraped soon disappears
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(DEADLINE_S)

    def ask(self, path: str, **query: str) -> Any:
        """Return the data of an answer of Prometheus's API, or ``None`` if it is not ready."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self._port}/api/v1/{path}", params=query, timeout=DEADLINE_S)
        except httpx.TransportError:
            assert self._process.poll() is None, (self._folder / "prometheus.log").read_text()
            return None
        if answer.status_code == 503:
            return None  # it listens before it has read what it had stored
        return answer.json().get("data")

    def series(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Evaluate ``expression``. Returns labels and value of each series."""
        data = self.ask("query", query=expression)
        return [(each["metric"], float(each["value"][1])) for each in data["result"]] if data else []

    def value(self, expression: str) -> float | None:
        """Return the only value of ``expression``, or ``None``."""
        found = self.series(expression)
        return found[0][1] if found else None

    def firing(self) -> list[dict[str, str]]:
        """Return the labels of the firing alerts."""
        data = self.ask("alerts")
        return [each["labels"] for each in data["alerts"] if each["state"] == "firing"] if data else []


def eventually(what: Callable[[], Any], says: Callable[[], object], deadline_s: float = DEADLINE_S) -> Any:
    """Return the result of ``what`` once it is true. Fails with ``says()`` after a deadline."""
    end = time.monotonic() + deadline_s
    while not (found := what()):
        assert time.monotonic() < end, says()
        time.sleep(0.2)
    return found
