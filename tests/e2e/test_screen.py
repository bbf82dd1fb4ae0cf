"""Screens shared from the page: large for everybody else, one of each, ended by either button."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Visit
from tests.e2e.staged import Stage
from tests.e2e.test_page import look

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

A_SCREEN = """
navigator.mediaDevices.getDisplayMedia = async (wanted) => {
  window.wanted = wanted;
  const canvas = Object.assign(document.createElement("canvas"), { width: 1280, height: 720 });
  const paint = canvas.getContext("2d");
  setInterval(() => {
    paint.fillStyle = `hsl(${performance.now() / 50} 60% 50%)`;
    paint.fillRect(0, 0, 1280, 720);
  }, 100);
  window.shared = canvas.captureStream(10);
  return window.shared;
};
"""
"""In place of the browser's own dialogue, which a headless one does not show."""

NOTHING_CHOSEN = """
navigator.mediaDevices.getDisplayMedia = () => Promise.reject(new DOMException("denied", "NotAllowedError"));
"""


def test_a_screen_is_large_for_the_others_and_ends_by_either_button(visit: Visit, stage: Stage) -> None:
    ada = visit(stage.url, script=A_SCREEN)
    ada.join("Ada")
    assert ada.evaluate("document.featurePolicy.allowsFeature('display-capture')")
    bob = visit(stage.url)
    bob.join("Bob")
    ada.page.get_by_role("button", name="Share your screen").click()
    screen = bob.page.get_by_role("article", name="Screen of Ada")
    screen.wait_for()
    bob.wait_for("() => document.querySelector('.spotlight .is-screen.has-picture video')?.videoWidth > 2")
    assert ada.evaluate("window.wanted.video.width.max") == 1920
    assert ada.page.locator(".is-screen").count() == 0, "one does not watch one's own"
    assert bob.page.locator(".call-people").inner_text() == "2 people"
    assert "Ada shares a screen." in bob.page.locator("#announcements").inner_text()
    look(bob, "screen")
    bob.page.set_viewport_size({"width": 1366, "height": 768})
    large, small = (
        bob.evaluate("(which) => document.querySelector(which).getBoundingClientRect().width", which)
        for which in (".spotlight .tile", ".grid .tile")
    )
    assert large > 2 * small

    ada.page.get_by_role("button", name="Stop sharing your screen").click()
    screen.wait_for(state="detached")
    assert ada.evaluate("window.shared.getTracks().every((track) => track.readyState === 'ended')")

    ada.page.get_by_role("button", name="Share your screen").click()
    screen.wait_for()
    # The browser's own button ends the track and says so; a script's `stop` says nothing.
    ada.evaluate("() => window.shared.getVideoTracks()[0].dispatchEvent(new Event('ended'))")
    screen.wait_for(state="detached")
    ada.page.get_by_role("button", name="Share your screen").wait_for()
    for visitor in (ada, bob):
        visitor.check_quiet()


def test_a_screen_comes_back_with_the_connection_and_leaves_with_its_owner(visit: Visit, stage: Stage) -> None:
    ada = visit(stage.url, script=A_SCREEN)
    ada.join("Ada")
    bob = visit(stage.url)
    bob.join("Bob")
    ada.page.get_by_role("button", name="Share your screen").click()
    screen = bob.page.get_by_role("article", name="Screen of Ada")
    screen.wait_for()
    stage.restart()
    bob.wait_for("() => document.querySelector('.spotlight .is-screen.has-picture')")
    ada.page.get_by_role("button", name="Leave").click()
    screen.wait_for(state="detached")
    assert ada.evaluate("window.shared.getTracks().every((track) => track.readyState === 'ended')")


def test_nothing_chosen_is_no_error(visit: Visit, stage: Stage) -> None:
    ada = visit(stage.url, script=NOTHING_CHOSEN)
    ada.join("Ada")
    ada.page.get_by_role("button", name="Share your screen").click()
    ada.page.wait_for_timeout(300)
    assert ada.page.get_by_role("button", name="Share your screen").is_visible()
    assert ada.page.locator("#toasts").inner_text() == ""
    ada.check_quiet()
