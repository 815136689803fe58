"""Take the documentation's pictures of the dashboard, from a real fleet in a real browser.

    .venv/bin/python tools/screenshots.py [--out docs/images]

A fleet flies seeded orders at twelve times the speed of life; its leader is killed, an order is cancelled. The pictures
are taken when enough is to be seen. Needs Chromium, and what `make setup-dev` installs.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from drone_orchestrator.bringup import town
from drone_orchestrator.bringup.local_fleet import LocalFleet
from drone_orchestrator.bringup.plan import FleetOptions

DRONES = 9
ORDERS = 400
SEED = 7
MOST_BYTES = 300_000
THEMES = ("light", "dark")
#: Time for the drones to fly a trail.
TRAIL_MS = 4000
#: kind of picture: the browser's window
KINDS: dict[str, dict[str, Any]] = {
    "wide": {"viewport": {"width": 1440, "height": 900}, "device_scale_factor": 1.25},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5, "has_touch": True},
}


class Scene:
    """Running fleet, seen through its gateway."""

    def __init__(self, fleet: LocalFleet) -> None:
        self._fleet = fleet
        self._http = httpx.Client(base_url=fleet.url, timeout=10.0, trust_env=False)

    def read(self) -> dict[str, Any]:
        """Return the body of ``GET /fleet``; empty while the gateway does not answer."""
        try:
            answer = self._http.get("/fleet")
        except httpx.HTTPError:
            return {}
        return answer.json() if answer.status_code == 200 else {}

    def until(self, what: str, true: Callable[[dict[str, Any]], object], timeout_s: float = 120.0) -> dict[str, Any]:
        """Wait for and return the first body for which ``true`` holds."""
        deadline, pause = time.monotonic() + timeout_s, threading.Event()
        while time.monotonic() < deadline:
            self._fleet.check()
            if (body := self.read()) and true(body):
                return body
            pause.wait(0.1)
        raise SystemExit(f"not within {timeout_s:.0f} s: {what}")

    def hand_in(self, documents: Iterator[dict[str, object]], count: int) -> list[str]:
        """Submit this many orders and return the message ids of those that were accepted."""
        taken: list[str] = []
        while len(taken) < count:
            answer = self._http.post("/orders", json=next(documents))
            if answer.is_success:
                taken.append(answer.json()["message_id"])
        return taken

    def cancel(self, message_id: str) -> None:
        self._http.delete(f"/orders/{message_id}").raise_for_status()

    def kill_leader(self) -> None:
        """Kill the leader and wait for its successor."""
        old = self.until("somebody leads", lambda body: body["leader"])["leader"]
        self._fleet.kill(old["holder"])
        self.until("another leads", lambda body: (body["leader"] or old)["epoch"] > old["epoch"])


def flying(body: dict[str, Any], *phases: str) -> list[dict[str, Any]]:
    """Return the drones in one of ``phases``."""
    return [drone for drone in body["drones"] if drone["phase"] in phases]


def play(scene: Scene) -> str:
    """Set the scene. Return the message id of an order that a drone carries when it is worth a picture."""
    documents = iter(town.orders(ORDERS, SEED))
    scene.hand_in(documents, 6)
    scene.until("four orders under way", lambda body: len(flying(body, "TO_DESTINATION")) >= 4)
    scene.kill_leader()
    scene.cancel(scene.hand_in(documents, 8)[-1])
    scene.until("some are delivered", lambda body: body["orders"]["DELIVERED"] >= 4)
    scene.hand_in(documents, 10)
    body = scene.until(
        "drones come and go",
        lambda body: len(flying(body, "TO_DESTINATION")) >= 3 and len(flying(body, "RETURNING", "TO_PICKUP")) >= 2,
    )
    return str(flying(body, "TO_DESTINATION")[-1]["message_id"])


def open_page(browser: Browser, url: str, kind: str) -> Page:
    """Open a page that follows the fleet."""
    page = browser.new_context(**KINDS[kind], reduced_motion="reduce").new_page()
    page.goto(url)
    expect(page.get_by_test_id("freshness")).to_have_text("Live", timeout=30_000)
    return page


def photograph(page: Page, message_id: str, theme: str, path: Path) -> None:
    """Take one picture with an order selected. Refuse a file too large for the documentation."""
    page.emulate_media(color_scheme="light" if theme == "light" else "dark")
    page.evaluate("id => { location.hash = `order=${id}` }", message_id)
    expect(page.get_by_role("list", name="History")).to_be_visible(timeout=30_000)
    picture = Image.open(io.BytesIO(page.screenshot(timeout=60_000))).convert("RGB")
    data = io.BytesIO()
    # Not the default method, which gives small marks the colours of large areas.
    picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(data, "PNG", optimize=True)
    if data.tell() > MOST_BYTES:
        raise SystemExit(f"{path.name}: {data.tell()} bytes, more than {MOST_BYTES}")
    path.write_bytes(data.getvalue())
    print(f"{path.name}: {data.tell() / 1000:.0f} kB", flush=True)


def main() -> int:
    """Take all pictures. Return 2 if a program is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("chromium is not installed", file=sys.stderr)
        return 2
    options = FleetOptions(drones=DRONES, time_scale=12.0, drones_per_process=3, http_port=0, monitor=False)
    with LocalFleet(options) as fleet, sync_playwright() as playwright:
        scene = Scene(fleet)
        scene.until("the fleet is there", lambda body: body["leader"] and len(body["drones"]) == DRONES)
        message_id = play(scene)
        for kind in KINDS:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = open_page(browser, fleet.url, kind)
            page.wait_for_timeout(TRAIL_MS)
            for theme in THEMES:
                photograph(page, message_id, theme, arguments.out / f"dashboard_{kind}_{theme}.png")
            browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
