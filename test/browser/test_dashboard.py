"""An operator's work at the dashboard of a running fleet: real processes, etcd, DDS and browser."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

pytest.importorskip("playwright")
from pages import CHROMIUM, Dashboard, chromium
from playwright.sync_api import Browser, expect

from drone_orchestrator.bringup.local_fleet import LocalFleet
from drone_orchestrator.bringup.plan import FleetOptions

pytestmark = [
    pytest.mark.ros,
    pytest.mark.etcd,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]

NEAR = {"lat": 37.7605, "lon": -122.4009}
FAR = {"lat": 37.7631, "lon": -122.4586}
SLOW_MS = 120_000


def wait_for(what: Callable[[], Any], why: str, timeout_s: float = 180.0) -> Any:
    """Return the first true value of ``what()``. Polls, because there is no event to wait for."""
    deadline, pause = time.monotonic() + timeout_s, threading.Event()
    while time.monotonic() < deadline:
        if found := what():
            return found
        pause.wait(0.05)
    raise AssertionError(f"not within {timeout_s} s: {why}")


def get(fleet: LocalFleet, path: str) -> Any:
    """Return the JSON at ``path``, or ``None`` while the gateway does not answer."""
    try:
        answer = httpx.get(f"{fleet.url}{path}", timeout=30.0, trust_env=False)
    except httpx.HTTPError:
        return None
    return answer.json() if answer.status_code == 200 else None


def order(fleet: LocalFleet, order_id: str, destination: dict[str, float] = NEAR) -> None:
    """Submit an order as a shop does."""
    document = {"order_id": order_id, "destination": destination, "package_weight_kg": 0.8}
    httpx.post(f"{fleet.url}/orders", json=document, timeout=60.0, trust_env=False).raise_for_status()


@pytest.fixture(scope="module")
def fleet() -> Iterator[LocalFleet]:
    with LocalFleet(FleetOptions(drones=6, time_scale=8.0, drones_per_process=3, http_port=0, monitor=False)) as fleet:
        wait_for(lambda: fleet.check() or get(fleet, "/readyz"), "the gateway is ready")
        wait_for(lambda: (get(fleet, "/fleet") or {}).get("leader"), "a replica leads")
        yield fleet


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def desk(browser: Browser, fleet: LocalFleet) -> Iterator[Dashboard]:
    """Return the page that an operator keeps open."""
    with Dashboard(browser, fleet) as dashboard:
        yield dashboard


def test_an_order_is_followed_until_its_delivery(fleet: LocalFleet, desk: Dashboard) -> None:
    order(fleet, "shop-1")
    desk.show("shop-1")
    expect(desk.order_state).to_contain_text("Delivered", timeout=SLOW_MS)
    for step in ("Accepted", "reserved, attempt 1", "cleared to load", "Package on board", "Delivered by drone_"):
        expect(desk.timeline).to_contain_text(step)
    expect(desk.panel("Orders").get_by_role("row", name="shop-1")).to_contain_text("Delivered")


def test_the_page_shows_that_a_killed_leader_is_replaced(fleet: LocalFleet, desk: Dashboard) -> None:
    leadership = desk.panel("Leadership")
    before = leadership.locator(".in-office b").inner_text()
    assert fleet.kill(before, respawn_delay_s=3.0)
    expect(leadership.locator(".in-office b")).to_have_text(re.compile(f"^orchestrator_(?!{before[-1]}$)"))
    terms = leadership.get_by_role("row")
    expect(terms.nth(2)).to_contain_text(before)
    expect(terms.nth(1).get_by_role("cell").last).to_have_text(re.compile(r"^(≤ )?\d"))


def test_an_order_can_be_cancelled_with_the_keyboard_alone(fleet: LocalFleet, browser: Browser) -> None:
    with Dashboard(browser, fleet) as desk:
        page, orders = desk.page, desk.panel("Orders")
        desk.tab_to(page.get_by_role("link", name="Skip to the fleet"), limit=1)
        page.keyboard.press("Enter")
        desk.tab_to(orders.get_by_role("searchbox"))
        page.keyboard.type("shop-2")
        order(fleet, "shop-2", FAR)
        expect(orders.get_by_role("row")).to_have_count(2)
        desk.tab_to(orders.get_by_role("button", name="shop-2", exact=True))
        page.keyboard.press("Enter")
        desk.tab_to(page.get_by_role("button", name="Cancel order…"))
        page.keyboard.press("Enter")
        expect(desk.dialog.get_by_role("button", name="Keep order")).to_be_focused()
        page.keyboard.press("Escape")
        expect(desk.dialog).to_have_count(0)
        expect(page.get_by_role("button", name="Cancel order…")).to_be_focused()
        page.keyboard.press("Enter")
        expect(desk.dialog.get_by_role("button", name="Keep order")).to_be_focused()
        desk.tab_to(desk.dialog.get_by_role("button", name="Cancel order"), limit=1)
        page.keyboard.press("Enter")
        expect(page.locator(".notice")).to_contain_text("will be cancelled")
        expect(desk.order_state).to_contain_text("Cancelled", timeout=SLOW_MS)
        expect(desk.timeline).to_contain_text("requested by the customer")
        assert desk.complaints == []


def test_a_refusal_shows_its_reason(fleet: LocalFleet, desk: Dashboard) -> None:
    order(fleet, "shop-3")
    desk.show("shop-3")
    desk.page.get_by_role("button", name="Cancel order…").click()
    wait_for(lambda: get(fleet, "/orders/shop-3")["status"] == "DELIVERED", "shop-3 is delivered")
    desk.dialog.get_by_role("button", name="Cancel order").click()
    expect(desk.dialog.get_by_role("alert")).to_contain_text("DELIVERED")
    desk.dialog.get_by_role("button", name="Keep order").click()
    desk.complaints.clear()  # a browser counts an answer of 409 among its errors


def test_leadership_is_handed_over_after_a_confirmation(desk: Dashboard) -> None:
    leader = desk.panel("Leadership").locator(".in-office b")
    before = leader.inner_text()
    desk.page.get_by_role("button", name="Hand over…").click()
    desk.dialog.get_by_role("button", name="Hand over").click()
    expect(desk.page.locator(".notice")).to_contain_text(before)
    expect(leader).to_have_text(re.compile(f"^orchestrator_(?!{before[-1]}$)"))


def test_an_order_can_be_submitted_on_the_page(desk: Dashboard) -> None:
    desk.page.get_by_role("button", name="New order").click()
    form = desk.panel("New order").first
    form.get_by_label("Weight, kg").fill("99")
    desk.page.locator(".map").click(position={"x": 400, "y": 200})
    form.get_by_label("Order id").fill("desk-1")
    form.get_by_role("button", name="Submit").click()
    expect(form.get_by_role("alert")).not_to_be_empty()
    expect(form.get_by_label("Weight, kg")).to_have_attribute("aria-invalid", "true")
    form.get_by_label("Weight, kg").fill("0.5")
    form.get_by_role("button", name="Submit").click()
    expect(desk.page.get_by_role("heading", name="Order desk-1")).to_be_visible()
    desk.complaints.clear()  # the refusal of 99 kg


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("phone", [False, True], ids=["wide", "phone"])
def test_the_page_has_no_accessibility_barriers(fleet: LocalFleet, browser: Browser, phone: bool, scheme: str) -> None:
    order(fleet, "shop-5")
    with Dashboard(browser, fleet, phone=phone, scheme=scheme) as dashboard:
        dashboard.show("shop-5")
        assert dashboard.barriers() == []
        assert dashboard.too_wide() == []
        dashboard.page.get_by_role("button", name="Hand over…").click()
        expect(dashboard.dialog).to_be_visible()
        assert dashboard.barriers() == []
        assert dashboard.complaints == []


def test_data_is_marked_as_old_until_the_gateway_is_back(fleet: LocalFleet, desk: Dashboard) -> None:
    assert desk.complaints == []
    assert fleet.kill("order_gateway", respawn_delay_s=15.0)
    expect(desk.freshness).to_contain_text("Stale")
    expect(desk.freshness).to_contain_text("The gateway cannot be reached.")
    expect(desk.freshness).to_have_text("Live", timeout=SLOW_MS)
    order(fleet, "shop-4")
    desk.show("shop-4")  # the stream has resumed by itself
    assert {url for url in desk.asked if not url.startswith(f"{fleet.url}/")} == set()
