"""The page sends motion: a portrait before a fake camera, the real page, the server's side of the wire."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import av
import numpy as np
import pytest

from model.codec.decoder import MotionDecoder
from model.motion import Motion
from model.talking_head import load_trained
from server.wire.control import Ping, SenderStages, SenderState, SourceAnnouncement
from tests.e2e.conftest import Visit, Visitor
from tests.e2e.fake_camera import with_camera
from tests.e2e.staged import Stage, StagedPublication
from tests.e2e.test_page import look

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BUILT = Path(__file__).resolve().parents[2] / "client_web" / "built"
FRAMES, FPS = 40, 5


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """What `make web` makes."""
    if not (BUILT / "runtime.json").is_file():
        if os.environ.get("CI"):
            pytest.fail("client_web/built is missing: make web")
        pytest.skip("client_web/built is missing: make web")


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Chromium's, with a camera before which a portrait moves from side to side."""
    return with_camera(tmp_path_factory.mktemp("camera") / "portrait.y4m", FRAMES, FPS)


def previewed(visitor: Visitor) -> None:
    """Wait until the lobby shows the face as others see it."""
    visitor.wait_for("() => document.querySelector('.face:not([hidden]) video')?.videoWidth > 0")


def publication_of(stage: Stage, visitor: Visitor, name: str) -> StagedPublication:
    """What the participant of that name publishes."""

    def found() -> list[StagedPublication]:
        return [one for key, one in list(stage.publications.items()) if stage.name_of(key) == name]

    visitor.until(lambda: len(found()) == 1)
    return found()[0]


def test_the_page_sends_motion_and_no_picture(visit: Visit, stage: Stage) -> None:
    visitor = visit(stage.url)
    previewed(visitor)
    page = visitor.page
    assert page.get_by_role("radio", name="Motion").is_checked()
    page.get_by_text("Face found.", exact=True).wait_for()
    assert stage.names() == [], "a preview is in no roster"
    look(visitor, "lobby-motion")
    visitor.join("Ada")
    publication = publication_of(stage, visitor, "Ada")
    visitor.until(lambda: len(publication.messages) >= 40)
    assert publication.kind == "motion"
    assert publication.cameras == 0
    assert len(stage.offers) == 2, "the preview's and the call's"
    assert stage.weights == [load_trained().weights_hash] * 2
    for offer in stage.offers:
        assert "m=application" in offer
        assert "m=video" not in offer
    # The picture of the preview was attached by its name, not sent again.
    assert list(publication.sources.values())[:1] == list(stage.pictures.values())[:1]
    assert publication.sources[0][:4] == b"RIFF", "WebP"
    said = publication.control
    assert SourceAnnouncement(0, hashlib.sha256(publication.sources[0]).hexdigest()) in said
    assert SenderState(paused=False) in said
    visitor.until(lambda: any(isinstance(message, SenderStages) for message in said))
    pings = [message for message in said if isinstance(message, Ping)]
    assert [ping.n for ping in pings] == list(range(1, len(pings) + 1))
    decoder = MotionDecoder(load_trained().statistics)
    frames = [frame for message in publication.messages for frame in decoder.decode(message)]
    assert len(frames) >= 40
    motion = Motion.stack([Motion.from_vector(frame.vector) for frame in frames])
    assert 0.5 < float(np.median(motion.scale)) < 1.5
    # The portrait goes to and fro by 16 of 256 pixels, of a crop that is about as wide.
    assert 0.03 < float(np.ptp(motion.translation[:, 0] - motion.background[:, 0])) < 0.5
    # The voice leaves every 60 ms, and motion behind it: none of 40 messages needs another way once it has begun.
    visitor.until(lambda: publication.behind_voice >= 40)
    steps = np.diff([packet.timestamp for packet in publication.voice[-40:]]) % (1 << 32)
    assert set(steps) == {2880}
    assert max(len(packet.payload) for packet in publication.voice) < 255
    opus = av.CodecContext.create("libopus", "r")
    decoded = [frame.samples for packet in publication.voice[:40] for frame in opus.decode(av.Packet(packet.payload))]
    assert decoded[1:] == [2880] * 39, "what is left are Opus packets of 60 ms"
    sent_behind, sent = publication.behind_voice, len(publication.messages)
    assert sent - sent_behind < 40, "before the voice began"
    visitor.screenshot("call-motion")
    page.get_by_role("button", name="Stop camera").click()
    visitor.until(lambda: SenderState(paused=True) in said)
    sent = len(publication.messages)
    page.get_by_role("button", name="Start camera").click()
    visitor.until(lambda: len(publication.messages) >= sent + 5)
    assert len(stage.offers) == 2, "the connection stays"
    visitor.check_quiet()


def test_a_person_may_send_the_cameras_picture(visit: Visit, stage: Stage) -> None:
    visitor = visit(stage.url)
    page = visitor.page
    page.get_by_role("radio", name="Picture").check()
    visitor.join("Ada")
    publication = publication_of(stage, visitor, "Ada")
    visitor.until(lambda: publication.cameras == 1)
    assert publication.messages == []
    assert "m=video" in stage.offers[-1]
    assert stage.weights[-1] is None
    page.reload()
    assert page.get_by_role("radio", name="Picture").is_checked(), "remembered"
    visitor.check_quiet()


def test_a_picture_is_taken_anew(visit: Visit, stage: Stage) -> None:
    visitor = visit(stage.url)
    previewed(visitor)
    before = len(stage.pictures)
    (preview,) = stage.publications.values()
    assert set(preview.scenes.values()) == {0}
    visitor.page.get_by_role("button", name="New picture").click()
    visitor.until(lambda: len(stage.pictures) > before)
    assert preview.scenes[0] == 1, "windows of the picture before do not stand beside this one"
    visitor.page.get_by_text("Face found.", exact=True).wait_for()
    visitor.check_quiet()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("delete globalThis.VideoFrame;", "This browser cannot read the camera's frames."),
        (
            "const { json } = Response.prototype;"
            "Response.prototype.json = async function () { return { ...(await json.call(this)), motion: false }; };",
            "This server was set up without what a browser needs to send motion.",
        ),
    ],
    ids=["a browser without frames", "a server without npm"],
)
def test_what_does_not_run_is_told_and_the_picture_sent(visit: Visit, stage: Stage, script: str, words: str) -> None:
    visitor = visit(stage.url, script=script)
    visitor.page.get_by_text(f"{words} Others get your camera's picture.").first.wait_for()
    look(visitor, "lobby-fallen-back")
    visitor.join("Ada")
    publication = publication_of(stage, visitor, "Ada")
    visitor.until(lambda: publication.cameras == 1)
    visitor.check_quiet()


def test_a_server_without_time_for_a_face_gets_the_cameras_picture(visit: Visit, stage: Stage) -> None:
    visitor = visit(stage.url)
    previewed(visitor)
    with stage.full():
        visitor.join("Ada")
        publication = publication_of(stage, visitor, "Ada")
        visitor.until(lambda: publication.cameras == 1)
    words = "The server has no time to render one more face. Others get your camera's picture."
    visitor.page.get_by_text(words).first.wait_for(state="attached")


def test_a_server_of_other_weights_gets_the_cameras_picture(visit: Visit, stage: Stage) -> None:
    visitor = visit(stage.url)
    previewed(visitor)
    with stage.rendering_with("00" * 32):  # started again with these since the page was loaded
        visitor.join("Ada")
        publication = publication_of(stage, visitor, "Ada")
        visitor.until(lambda: publication.cameras == 1)
        words = "The server has another model than this page. Load the page again. Others get your camera's picture."
        visitor.page.get_by_text(words).first.wait_for(state="attached")
        assert publication.messages == []
        visitor.page.reload()
        words = "This server was set up without what a browser needs to send motion. Others get your camera's picture."
        visitor.page.get_by_text(words).first.wait_for()
    visitor.check_quiet()


def test_one_changes_between_motion_and_picture_in_a_call(visit: Visit, stage: Stage) -> None:
    visitor = visit(stage.url)
    page = visitor.page
    previewed(visitor)
    visitor.join("Ada")
    publication = publication_of(stage, visitor, "Ada")
    visitor.until(lambda: len(publication.messages) > 5)
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("radio", name="Picture").check()
    visitor.until(lambda: publication_of(stage, visitor, "Ada").cameras == 1)
    visitor.screenshot("settings-picture")
    page.get_by_role("radio", name="Motion").check()
    visitor.until(lambda: "m=video" not in stage.offers[-1])
    visitor.until(lambda: len(publication_of(stage, visitor, "Ada").messages) > 5)
    visitor.check_quiet()
