"""The page by itself: lobby, call, numbers and rare states, with a real server and staged participants."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import Visit, Visitor
from tests.e2e.staged import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SIZES = {"phone": (390, 844), "laptop": (1366, 768), "wide": (1920, 1080)}

NUMBERS = {
    "kbps_payload": 3.1,
    "kbps_wire": 12.4,
    "fps": 25.0,
    "loss_percent": 0.4,
    "freezes": 0,
    "latency_ms_p95": 96.4,
    "audio_delay_ms": 72.0,
    "state": "live",
    "stages": {
        "capture": 4.0,
        "extract": 7.9,
        "encode": 0.4,
        "network": 11.0,
        "playout": 38.0,
        "queue": 3.1,
        "render": 17.5,
        "video_encode": 2.2,
    },
}

UNNAMED = """() => [...document.querySelectorAll("button, input, select, [role=slider], [role=meter], summary")]
    .filter((control) => !(control.getAttribute("aria-label") || control.textContent.trim() || control.labels?.length))
    .map((control) => control.outerHTML)"""

NO_DEVICES = """
navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("denied", "NotAllowedError"));
"""


CONTROLS = """() => [...document.querySelectorAll(".controls button")].filter((button) => !button.hidden)
    .map((button) => button.getBoundingClientRect()).map(({ left, right, bottom }) => [left, right, bottom])"""


def look(visitor: Visitor, name: str) -> None:
    """Keep screenshots at every size in light and dark, and check that nothing leaves the page at the side."""
    page = visitor.page
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        for shade in ("light", "dark"):
            page.emulate_media(color_scheme="dark" if shade == "dark" else "light", reduced_motion="reduce")
            visitor.evaluate("() => new Promise((done) => setTimeout(() => requestAnimationFrame(done), 200))")
            visitor.screenshot(f"{name}-{size}-{shade}")
        assert visitor.evaluate("document.documentElement.scrollWidth <= innerWidth"), size
        for left, right, bottom in visitor.evaluate(CONTROLS):
            assert 0 <= left < right <= width
            assert bottom <= height


def test_lobby(visit: Visit, stage: Stage) -> None:
    visitor = visit(stage.url)
    page = visitor.page
    assert page.get_by_label("Your name").evaluate("(input) => input === document.activeElement")
    page.get_by_label("Your name").fill("Ada Lovelace")
    for name in ("Microphone", "Camera"):
        assert page.get_by_role("button", name=name, exact=True).get_attribute("aria-pressed") is not None
    visitor.wait_for("() => document.querySelector('.preview.has-picture video')?.videoWidth > 0")
    assert visitor.evaluate(UNNAMED) == []
    look(visitor, "lobby")
    page.locator("summary").click()
    for name in ("Camera", "Microphone", "Speaker"):
        assert page.get_by_role("combobox", name=name).is_visible()
    visitor.screenshot("lobby-devices")
    page.get_by_role("button", name="Camera", exact=True).click()
    visitor.wait_for("() => !document.querySelector('.preview.has-picture')")
    visitor.check_quiet()


def test_without_devices_one_watches(visit: Visit, stage: Stage) -> None:
    visitor = visit(stage.url, script=NO_DEVICES)
    page = visitor.page
    page.get_by_text("Your camera and microphone are blocked").wait_for()
    assert page.get_by_role("button", name="Try again").is_visible()
    look(visitor, "lobby-blocked")
    visitor.join("Ada")
    page.get_by_role("heading", name="Nobody else is here yet").wait_for()
    assert page.get_by_role("button", name="Unmute").is_visible()
    look(visitor, "call-alone")
    page.get_by_role("button", name="Copy the link to this room").click()
    page.get_by_text("Link copied").first.wait_for()
    assert visitor.evaluate("navigator.clipboard.readText()") == f"{stage.url}?room=lobby"
    visitor.check_quiet()


def test_look_of_a_call(visit: Visit, stage: Stage) -> None:
    stage.enter("Eileen Collins", "motion", numbers=NUMBERS, loudness=-20.0)
    visitor = visit(stage.url)
    page = visitor.page
    visitor.join("Ada Lovelace")
    visitor.wait_for("() => document.querySelector('.grid .tile.has-picture.is-speaking .chip-rate:not([hidden])')")
    look(visitor, "call-two")
    page.get_by_role("button", name="Numbers").click()
    visitor.wait_for("() => document.querySelector('.latency-stage.is-viewer')")
    beside = page.get_by_role("region", name="Beside H.264").inner_text()
    assert re.search(r"\d times the payload", beside), beside
    latency = page.get_by_role("region", name="Latency").inner_text()
    assert "Rendering" in latency
    assert "Sum of the stages" in latency, "nobody tells when staged pictures were captured"
    look(visitor, "call-numbers")
    page.keyboard.press("Escape")
    assert not page.get_by_role("complementary", name="Numbers").is_visible()
    stage.enter("Grace Hopper", "motion", avatar=True, numbers=NUMBERS)
    stage.enter("Katherine Johnson", "motion", camera_off=True, muted=True)
    lost = stage.enter("Margaret Hamilton of the Apollo flight software", "camera")
    visitor.wait_for("() => document.querySelectorAll('.grid .tile.has-picture').length >= 4")
    stage.change(lost, media="lost")
    visitor.wait_for("() => document.querySelector('.tile.is-lost')")
    for words in ("Grace Hopper, shown as an avatar", "Katherine Johnson, muted, camera off", "signal lost"):
        assert page.get_by_role("article", name=words).count() == 1
    assert visitor.evaluate(UNNAMED) == []
    look(visitor, "call-five")
    visitor.check_quiet()


def test_roster_changes_are_said(visit: Visit, stage: Stage) -> None:
    visitor = visit(stage.url)
    visitor.join("Ada")
    said = "(words) => document.getElementById('announcements').textContent.includes(words)"
    grace = stage.enter("Grace", "none")
    visitor.wait_for(said, "Grace joined.")
    stage.change(grace, media="lost")
    visitor.wait_for(said, "The signal of Grace is lost.")
    stage.leave(grace)
    visitor.wait_for(said, "Grace left.")
    visitor.wait_for("() => document.querySelectorAll('.tile').length === 1")
    visitor.check_quiet()


def test_free_view_pad(visit: Visit, stage: Stage) -> None:
    grace = stage.enter("Grace", "motion")
    visitor = visit(stage.url)
    visitor.join("Ada")
    page = visitor.page
    pad = page.get_by_role("slider", name="Turn the head of Grace")
    pad.wait_for()
    tile = page.get_by_role("article", name="Grace").bounding_box()
    assert tile is not None
    x, y = tile["x"] + tile["width"] / 2, tile["y"] + tile["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 31):
        page.mouse.move(x + 4 * step, y - 2 * step)
    page.mouse.up()
    views = stage.publications[grace].views
    visitor.wait_for("() => document.querySelector('.pad.is-turned')")
    turned = float(pad.get_attribute("aria-valuenow") or 0)
    assert turned > 5
    assert "right" in (pad.get_attribute("aria-valuetext") or "")
    visitor.until(lambda: bool(views) and views[-1].yaw == pytest.approx(turned, abs=0.5))
    assert len(views) <= 31
    assert views[-1].pitch > 0
    pad.focus()
    page.keyboard.press("Shift+ArrowLeft")
    assert float(pad.get_attribute("aria-valuenow") or 0) == pytest.approx(turned - 10, abs=1)
    page.mouse.dblclick(x, y)
    visitor.wait_for("() => !document.querySelector('.pad.is-turned')")
    visitor.until(lambda: (views[-1].yaw, views[-1].pitch) == (0, 0))
    visitor.check_quiet()


def test_controls_and_leaving(visit: Visit, stage: Stage) -> None:
    visitor = visit(stage.url)
    visitor.join("Ada")
    page = visitor.page
    page.keyboard.press("m")
    page.get_by_role("button", name="Unmute").wait_for()
    page.get_by_role("button", name="Stop camera").click()
    page.get_by_role("button", name="Start camera").wait_for()
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("dialog", name="Settings").wait_for()
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Leave").click()
    page.get_by_role("heading", name="You left the call").wait_for()
    visitor.screenshot("left")
    visitor.until(lambda: stage.names() == [])
    page.get_by_role("button", name="Join again").click()
    page.get_by_role("group", name="Call controls").wait_for()
    assert stage.names() == ["Ada"]
    visitor.check_quiet()


def test_single_keys_can_be_turned_off_and_stay_off(visit: Visit, stage: Stage) -> None:
    visitor = visit(stage.url)
    visitor.join("Ada")
    page = visitor.page
    mute = page.get_by_role("button", name="Mute")
    assert mute.get_attribute("aria-keyshortcuts") == "m"
    page.keyboard.press("n")
    page.get_by_role("complementary", name="Numbers").wait_for()
    page.keyboard.press("n")
    # By keyboard alone: to the button, into the dialog, to the switch, out again.
    page.get_by_role("button", name="Settings").focus()
    page.keyboard.press("Enter")
    switch = page.get_by_role("switch", name="Keyboard shortcuts")
    for _ in range(12):
        if switch.evaluate("(input) => input === document.activeElement"):
            break
        page.keyboard.press("Tab")
    assert switch.is_checked()
    page.keyboard.press("m")
    page.keyboard.press("Space")
    assert not switch.is_checked()
    visitor.screenshot("settings")
    page.keyboard.press("Escape")
    for key in "mvnp":
        page.keyboard.press(key)
    assert mute.get_attribute("aria-keyshortcuts") is None
    assert mute.get_attribute("title") == "Mute"
    page.reload()
    visitor.join("Ada")
    for key in "mvnp":
        page.keyboard.press(key)
    # What a key does is in the page before the next request to it is answered.
    assert mute.is_visible()
    assert not page.get_by_role("complementary", name="Numbers").is_visible()
    assert page.get_by_role("button", name="Stop camera").is_visible()
    visitor.check_quiet()


def test_picture_in_picture(visit: Visit, stage: Stage) -> None:
    stage.enter("Grace", "motion")
    visitor = visit(stage.url)
    visitor.join("Ada")
    page = visitor.page
    pop_out = page.get_by_role("button", name="Picture in picture")
    visitor.wait_for("() => document.querySelector('.grid .tile.has-picture')")
    pop_out.click()
    visitor.wait_for("() => document.pictureInPictureElement?.closest('.tile')?.ariaLabel.startsWith('Grace')")
    pop_out.click()
    visitor.wait_for("() => document.pictureInPictureElement === null")
    page.keyboard.press("p")
    visitor.wait_for("() => document.pictureInPictureElement !== null")
    visitor.check_quiet()


def test_the_page_comes_back_after_a_restart(visit: Visit, stage: Stage) -> None:
    visitor = visit(stage.url)
    visitor.join("Ada")
    stage.restart()
    # The restarted server knows neither the token nor the participant: the page must come back as somebody new.
    visitor.until(lambda: stage.names() == ["Ada"])
    visitor.wait_for("() => document.querySelector('.banner').hidden")
    assert visitor.evaluate("window.recorded.violations") == []


def test_a_server_that_is_gone_is_told(visit: Visit, stage: Stage) -> None:
    visitor, late = visit(stage.url), visit(stage.url)
    visitor.join("Ada")
    visitor.page.get_by_role("heading", name="Nobody else is here yet").wait_for()
    stage.stop()
    visitor.page.get_by_text("Connection lost. Reconnecting…").wait_for()
    # Whether anybody is there cannot be told now.
    assert not visitor.page.get_by_role("heading", name="Nobody else is here yet").is_visible()
    look(visitor, "call-gone")
    late.page.get_by_label("Your name").fill("Grace")
    late.page.get_by_role("button", name="Join the call").click()
    late.page.get_by_role("alert").get_by_text("The server cannot be reached").wait_for()
    look(late, "lobby-gone")


def test_a_refusal_is_told_in_the_lobby(visit: Visit, stage: Stage) -> None:
    visitor = visit(stage.url + "?room=lobby#token=not-a-token")
    visitor.page.get_by_label("Your name").fill("Ada")
    visitor.page.get_by_role("button", name="Join the call").click()
    visitor.page.get_by_role("alert").get_by_text("does not accept this link").wait_for()
