"""The device setting of every command."""

from __future__ import annotations

import pytest
import torch

from model.device import choose_device
from model.errors import InputError


def test_device_setting() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("setting", ["nonsense", "", "meta", "cuda:99"])
def test_a_device_that_cannot_be_used_is_one_clear_error(setting: str) -> None:
    with pytest.raises(InputError, match=f"device '{setting}'") as error:
        choose_device(setting)
    assert "\n" not in str(error.value)
