"""`python -m server token`: mint a token for a room, or for administration."""

from __future__ import annotations

import argparse
import json

from server.commands.authority import load_authority
from server.errors import SettingsError
from server.signalling.protocol import parse_room

HELP = "Mint a token for a room with VISAVIS_API_KEY and VISAVIS_API_SECRET."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--room", help="room that the token opens; needed without --admin")
    parser.add_argument("--identity", help="who holds it (the claim sub); a random one by default")
    parser.add_argument("--name", default="", help="name shown in the call when the client gives none (WHIP)")
    parser.add_argument("--hours", type=float, help="validity, hours (default: VISAVIS_TOKEN_HOURS, 6)")
    parser.add_argument("--no-publish", action="store_true", help="the holder may only watch")
    parser.add_argument("--no-subscribe", action="store_true", help="the holder may only publish")
    parser.add_argument("--no-invite", action="store_true", help="the holder may not invite others")
    parser.add_argument("--record", action="store_true", help="the holder may record the room")
    parser.add_argument("--room-admin", action="store_true", help="the holder administers the room")
    parser.add_argument("--admin", action="store_true", help="the holder administers all rooms")
    parser.add_argument("--json", action="store_true", help="print an object with token, room, identity and expiry")


def run(options: argparse.Namespace) -> int:
    """Print the token."""
    settings, authority = load_authority(
        "; without them the server mints tokens for its own page only", token_hours=options.hours
    )
    if options.room is None and not options.admin:
        raise SettingsError("name the --room that the token opens")
    token = authority.mint(
        "" if options.room is None else parse_room(options.room),
        options.identity,
        hours=settings.token_hours,
        name=options.name,
        publish=not options.no_publish,
        subscribe=not options.no_subscribe,
        invite=not options.no_invite and options.room is not None,
        record=options.record and options.room is not None,
        room_admin=options.room_admin and options.room is not None,
        admin=options.admin,
    )
    if options.json:
        claims = authority.verify(token)
        print(json.dumps({"token": token, "room": options.room, "identity": claims.sub, "expires": int(claims.exp)}))
    else:
        print(token)
    return 0
