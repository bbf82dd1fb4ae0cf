"""What commands that sign with the server's own key begin with."""

from __future__ import annotations

import time
from typing import Any

from server.auth import Authority
from server.errors import SettingsError
from server.settings import Settings, load_settings


def load_authority(without: str, **options: Any) -> tuple[Settings, Authority]:
    """The settings, and the key that signs what a server of the same settings takes.

    without: what the error says of a machine that has no key
    options: settings that the command line gives, as of `load_settings`
    Raises SettingsError.
    """
    settings = load_settings(**options)
    if settings.development:
        raise SettingsError(f"set VISAVIS_API_KEY and VISAVIS_API_SECRET{without}")
    return settings, Authority.from_settings(settings, time.time)
