"""`python -m server invite`: a link that lets others into a room."""

from __future__ import annotations

import argparse
import json

from server.commands.authority import load_authority
from server.invitations import Invitations, invitation_link
from server.signalling.protocol import parse_room

HELP = "Print a link that lets others into a room, signed with VISAVIS_API_KEY and VISAVIS_API_SECRET."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--room", required=True, help="room that the link opens")
    parser.add_argument("--server", default="http://localhost:8080", help="address of the page (%(default)s)")
    parser.add_argument("--hours", type=float, help="validity, hours (default: VISAVIS_INVITATION_HOURS, 24)")
    parser.add_argument("--no-publish", action="store_true", help="who is invited may only watch")
    parser.add_argument("--json", action="store_true", help="print an object with link, invitation, room and expiry")


def run(options: argparse.Namespace) -> int:
    """Print the link. Nothing is asked of the server: it knows its own signature."""
    settings, authority = load_authority(
        "; without them this machine alone can join, uninvited", invitation_hours=options.hours
    )
    invitations = Invitations(authority)
    room = parse_room(options.room)
    text = invitations.issue(room, hours=settings.invitation_hours, publish=not options.no_publish)
    link = invitation_link(options.server, room, text)
    if options.json:
        expires = int(invitations.redeem(text).exp)
        print(json.dumps({"link": link, "invitation": text, "room": room, "expires": expires}))
    else:
        print(link)
    return 0
