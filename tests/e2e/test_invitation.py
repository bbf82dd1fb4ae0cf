"""A server with a key, in a browser: the share button's link lets others in, and an administrator's acts are seen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Visit, Visitor
from tests.e2e.staged import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def locked() -> Iterator[Stage]:
    """A stage whose server asks for tokens."""
    with Stage(api_key="key", api_secret=SECRET) as stage:
        yield stage


def shared_link(visitor: Visitor) -> str:
    visitor.page.get_by_role("button", name="Copy the link to this room").click()
    visitor.page.locator("#toasts").get_by_text("Link copied").wait_for()
    return str(visitor.evaluate("navigator.clipboard.readText()"))


def test_a_shared_link_lets_others_in_opened_or_pasted(visit: Visit, locked: Stage) -> None:
    host = visit(f"{locked.url}?room=lobby#token={locked.token(invite=True)}")
    host.join("Host")
    link = shared_link(host)
    assert link.startswith(f"{locked.url}?room=lobby#invitation=")

    opened = visit(link)
    assert opened.page.get_by_label("Invitation").is_hidden()
    opened.join("Opened")
    assert shared_link(opened) == link, "who was invited hands on what it got"

    pasted = visit(locked.url)
    field = pasted.page.get_by_label("Invitation")
    pasted.page.get_by_text("This server lets in whoever was invited.").wait_for()
    pasted.screenshot("invitation")
    pasted.page.get_by_label("Your name").fill("Pasted")
    pasted.page.get_by_role("button", name="Join the call").click()
    assert field.evaluate("(input) => input === document.activeElement"), "the lobby says what is missing"
    field.fill("hello")
    pasted.page.get_by_text("This is not an invitation.").wait_for()
    field.fill(link)
    pasted.page.get_by_text("The invitation is taken.").wait_for()
    pasted.join("Pasted")
    host.until(lambda: sorted(locked.names()) == ["Host", "Opened", "Pasted"])
    for visitor in (host, opened, pasted):
        visitor.check_quiet()


def test_who_may_not_invite_is_told_so(visit: Visit, locked: Stage) -> None:
    guest = visit(f"{locked.url}?room=lobby#token={locked.token()}")
    guest.join("Guest")
    assert shared_link(guest) == f"{locked.url}?room=lobby"
    guest.page.locator("#toasts").get_by_text("You may not invite others").wait_for()


def test_a_spoilt_invitation_says_what_is_wrong(visit: Visit, locked: Stage) -> None:
    guest = visit(f"{locked.url}?room=lobby#invitation=eyJh.eyJp.c2ln")
    guest.page.get_by_label("Your name").fill("Guest")
    guest.page.get_by_role("button", name="Join the call").click()
    guest.page.locator(".problem").get_by_text("the invitation is malformed").wait_for()


def test_muted_removed_and_closed_are_seen(visit: Visit, locked: Stage) -> None:
    visitors = {}
    for name in ("Ada", "Bob"):
        visitors[name] = visit(f"{locked.url}?room=lobby#token={locked.token()}")
        visitors[name].join(name)
    ada, bob = visitors["Ada"], visitors["Bob"]
    ada.page.get_by_role("button", name="Mute", exact=True).wait_for()
    locked.administer("mute", "Ada")
    ada.page.locator("#toasts").get_by_text("You were muted.").wait_for()
    ada.page.get_by_role("button", name="Unmute", exact=True).wait_for()
    locked.administer("remove", "Ada")
    ada.page.locator(".left").get_by_text("You were removed from the call.").wait_for()
    locked.administer("close")
    bob.page.locator(".left").get_by_text("The call was closed.").wait_for()
    assert locked.names() == []
