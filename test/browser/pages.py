"""A real Chromium on the dashboard of a real fleet."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Request, expect, sync_playwright

from drone_orchestrator.bringup.local_fleet import LocalFleet

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDE = {"width": 1440, "height": 900}
PHONE = {"width": 360, "height": 740}
expect.set_options(timeout=30_000)  # ms; a busy machine may take several seconds to draw


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium, headless."""
    with sync_playwright() as playwright:
        # Root cannot use Chromium's sandbox. The browser only opens our page.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


class Dashboard:
    """A page, with its requests and its errors."""

    def __init__(self, browser: Browser, fleet: LocalFleet, *, phone: bool = False, scheme: str = "light") -> None:
        size: Any = PHONE if phone else WIDE
        self.context = browser.new_context(viewport=size, is_mobile=phone, has_touch=phone, color_scheme=scheme)  # type: ignore[arg-type]
        self.context.set_default_timeout(60_000)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("request", self._asked)
        self.page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        self.page.on("console", lambda said: said.type == "error" and self.complaints.append(said.text))
        self.page.goto(fleet.url)
        expect(self.freshness).to_have_text("Live")

    def __enter__(self) -> Dashboard:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def _asked(self, request: Request) -> None:
        self.asked.append(request.url)

    @property
    def freshness(self) -> Locator:
        return self.page.get_by_test_id("freshness")

    @property
    def order_state(self) -> Locator:
        return self.page.get_by_test_id("order-state")

    @property
    def timeline(self) -> Locator:
        return self.page.get_by_role("list", name="History")

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog")

    def panel(self, name: str) -> Locator:
        return self.page.get_by_role("region", name=name, exact=True)

    def show(self, order_id: str) -> None:
        """Click the order in the list."""
        self.panel("Orders").get_by_role("button", name=order_id, exact=True).click()
        expect(self.page.get_by_role("heading", name=f"Order {order_id}")).to_be_visible()

    def tab_to(self, target: Locator, limit: int = 60) -> None:
        """Press Tab until ``target`` has the focus, and check that the focus is visible."""
        for _ in range(limit):
            self.page.keyboard.press("Tab")
            if target.count() == 1 and target.evaluate("element => element === document.activeElement"):
                shows = target.evaluate("element => getComputedStyle(element).outlineStyle !== 'none'")
                assert shows, f"the focus on {target} is not visible"
                return
        raise AssertionError(f"not reached with {limit} × Tab: {target}")

    def barriers(self) -> list[str]:
        """Return axe-core's findings of serious or critical impact, a line each."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']} ({each['impact']}): {node['html'][:120]} {node['failureSummary'][:300]}"
            for each in found
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]

    def too_wide(self) -> list[str]:
        """Return the elements that make the page scroll sideways."""
        return self.page.evaluate(  # type: ignore[no-any-return]
            """() => document.scrollingElement.scrollWidth <= innerWidth ? [] :
            [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
            .map(e => e.outerHTML.slice(0, 100))"""
        )
