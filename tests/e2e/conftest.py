"""Fixtures of the browser tests: Chromium, pages that keep a record of their errors, and the stage."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.e2e.staged import Stage

OUT = Path(__file__).resolve().parents[2] / "out" / "e2e"
PATIENCE_MS = 120_000
"""A bound against hanging, not a measure: conditions are polled, and two slow cores may take their time."""

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream=fps=5",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]

OF_THE_BROWSER = {"No available adapters."}
"""What Chromium says by itself of a machine without a GPU."""

RECORDER = """
window.recorded = { connections: [], violations: [], errors: [] };
document.addEventListener("securitypolicyviolation", (event) => {
  window.recorded.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...given) {
    super(...given);
    window.recorded.connections.push(this);
  }
};
"""
"""Runs before the page's own code: keeps its peer connections, for getStats, and what the security policy forbade."""


@dataclass
class Visitor:
    """One page, with what it complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def join(self, name: str, room: str | None = None) -> None:
        """Through the lobby into the call."""
        if room is not None:
            self.page.get_by_label("Room").fill(room)
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_role("button", name="Join the call").click()
        self.page.get_by_role("group", name="Call controls").wait_for()

    def evaluate(self, script: str, argument: Any = None) -> Any:
        """Run a script in the page."""
        return self.page.evaluate(script, argument)

    def wait_for(self, script: str, argument: Any = None) -> None:
        """Until the script gives something true."""
        self.page.wait_for_function(script, arg=argument, timeout=PATIENCE_MS)

    def until(self, condition: Callable[[], bool]) -> None:
        """Poll a condition of the test's own; the page goes on meanwhile."""
        for _ in range(PATIENCE_MS // 100):
            if condition():
                return
            self.page.wait_for_timeout(100)
        raise AssertionError("the condition never came true")

    def screenshot(self, name: str) -> Path:
        """Keep a picture of the page in the ignored folder out/."""
        OUT.mkdir(parents=True, exist_ok=True)
        path = OUT / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    def check_quiet(self) -> None:
        """Nothing was logged as an error, nothing was thrown, nothing broke the security policy."""
        assert self.complaints == []
        assert self.evaluate("window.recorded.violations") == []


Visit = Callable[..., Visitor]


def chromium_path() -> str | None:
    """Where Chromium is, if it is."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def arguments() -> list[str]:
    """Chromium's; a module may have its own."""
    return ARGUMENTS


@pytest.fixture(scope="module")
def browser(arguments: list[str]) -> Iterator[Browser]:
    """One Chromium a module. Not a session's: Playwright's loop must not run while asynchronous tests do."""
    path = chromium_path()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing: .ci/run installs Debian's")
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, headless=True, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens an address in a fresh profile: `visit(url, width=..., height=..., dark=...)`."""
    contexts: list[BrowserContext] = []

    def open_page(
        url: str,
        *,
        width: int = 1366,
        height: int = 768,
        dark: bool = False,
        devices: bool = True,
        script: str = "",
        **options: Any,
    ) -> Visitor:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            permissions=["camera", "microphone", "clipboard-read", "clipboard-write"] if devices else [],
            **options,
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(RECORDER + script)
        page = context.new_page()
        visitor = Visitor(page)

        def on_console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning") and message.text not in OF_THE_BROWSER:
                visitor.complaints.append(f"{message.type}: {message.text}")

        page.on("console", on_console)
        page.on("pageerror", lambda error: visitor.complaints.append(f"thrown: {error}"))
        page.goto(url)
        page.get_by_role("button", name="Join the call").wait_for()
        return visitor

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A server with staged participants."""
    with Stage() as running:
        yield running
