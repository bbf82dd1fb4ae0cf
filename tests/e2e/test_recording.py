"""Recording from the page: a button for whoever may, and a mark that everybody sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.recording.manifest import read_manifest
from tests.e2e.conftest import Visit
from tests.e2e.staged import Stage
from tests.e2e.test_invitation import SECRET
from tests.e2e.test_page import look

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_a_recording_is_begun_and_ended_and_seen_by_all(visit: Visit, tmp_path: Path) -> None:
    with Stage(api_key="key", api_secret=SECRET, recordings=tmp_path, recording_min_free_mb=0) as stage:
        stage.enter("Eileen Collins", "motion")
        host = visit(f"{stage.url}?room=lobby#token={stage.token(record=True)}")
        host.join("Host")
        guest = visit(f"{stage.url}?room=lobby#token={stage.token()}")
        guest.join("Guest")
        assert guest.page.get_by_role("button", name="Record this call").is_hidden()
        assert guest.page.locator(".call-recording").is_hidden()
        host.page.get_by_role("button", name="Record this call").click()
        for visitor in (host, guest):
            visitor.page.locator(".call-recording").get_by_text("Recording").wait_for()
        late = visit(f"{stage.url}?room=lobby#token={stage.token()}", width=390, height=844)
        late.join("Late")
        late.page.locator(".call-recording").wait_for()
        late.screenshot("recording-late")
        look(host, "recording")
        host.page.get_by_role("button", name="Stop the recording").click()
        for visitor in (host, guest, late):
            visitor.page.locator(".call-recording").wait_for(state="hidden")
            visitor.check_quiet()
        (folder,) = (tmp_path / "lobby").iterdir()
        host.until(lambda: (manifest := read_manifest(folder)) is not None and manifest.reason == "stopped")
