"""What the tests of evaluation share."""

from __future__ import annotations

import pytest

from model.evaluate.clips import Clip
from model.talking_head import TalkingHead
from tests.model.evaluate.portrait_clip import extracted, moving_portrait


@pytest.fixture(scope="module")
def head() -> TalkingHead:
    return TalkingHead.random("small")


@pytest.fixture(scope="module")
def clip(head: TalkingHead) -> Clip:
    return extracted(head, "portrait", moving_portrait())
