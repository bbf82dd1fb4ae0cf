"""`python -m server rooms`: see and administer the rooms of a running server over its API."""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any
from urllib.parse import quote

import aiohttp

from model.errors import VisavisError
from server.commands.authority import load_authority
from server.errors import SettingsError
from server.signalling.protocol import parse_room

HELP = "List the rooms of a server or its nodes, or who is in a room; mute or remove somebody, or close a room."

TOKEN_HOURS = 1 / 60
MOST_MOVES = 4
ANSWER_SECONDS = 10.0


class AnswerError(VisavisError):
    """The server refused, or did not answer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("room", nargs="?", help="room; without one all rooms are listed")
    parser.add_argument("--server", default="http://localhost:8080", help="address of the server (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print what the API answers")
    parser.add_argument("--nodes", action="store_true", help="list the nodes and how loaded each is")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--mute", metavar="ID", help="let nobody hear this participant until it unmutes itself")
    action.add_argument("--unmute", metavar="ID", help="let this participant be heard again")
    action.add_argument("--remove", metavar="ID", help="make this participant leave")
    action.add_argument("--close", action="store_true", help="make everybody leave the room")


def run(options: argparse.Namespace) -> int:
    """Ask the server, with a token that is good for a minute."""
    _, authority = load_authority(", the server's own")
    token = authority.mint("", "rooms", hours=TOKEN_HOURS, admin=True)
    method, path, body = _request(options)
    address = options.server.rstrip("/")
    everywhere = path == "/api/rooms"
    answer = asyncio.run(_rooms_of_all(address, token) if everywhere else _ask(address + path, method, token, body))
    if answer is not None:
        print(json.dumps(answer) if options.json else _table(answer))
    return 0


def _request(options: argparse.Namespace) -> tuple[str, str, dict[str, Any] | None]:
    """Method, path and body of what the options ask for. Raises SettingsError, ProtocolError."""
    chosen = options.mute or options.unmute or options.remove
    if options.nodes:
        return "GET", "/api/nodes", None
    if options.room is None:
        if chosen or options.close:
            raise SettingsError("name the room, too")
        return "GET", "/api/rooms", None
    room = f"/api/rooms/{parse_room(options.room)}"
    if options.close:
        return "DELETE", room, None
    if not chosen:
        return "GET", room, None
    participant = f"{room}/participants/{quote(chosen, safe='')}"
    if options.remove:
        return "DELETE", participant, None
    return "POST", f"{participant}/mute", {"muted": options.mute is not None}


async def _rooms_of_all(server: str, token: str) -> dict[str, Any]:
    """The rooms of every node. Raises AnswerError."""
    nodes = (await _ask(f"{server}/api/nodes", "GET", token, None) or {}).get("nodes", [])
    addresses = [node["address"] for node in nodes] if len(nodes) > 1 else [server]
    answers = await asyncio.gather(*(_ask(f"{address}/api/rooms", "GET", token, None) for address in addresses))
    rooms = [room for answer in answers if answer for room in answer["rooms"]]
    return {"rooms": sorted(rooms, key=lambda room: str(room["name"]))}


async def _ask(url: str, method: str, token: str, body: dict[str, Any] | None) -> dict[str, Any] | None:
    """The answer's object, None where it has none; of the node that has the room. Raises AnswerError."""
    headers = {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
            for _ in range(MOST_MOVES):
                # Not by aiohttp, which keeps the token to itself where a node has another origin.
                async with http.request(method, url, json=body, allow_redirects=False) as response:
                    answer = await response.json() if response.content_type == "application/json" else {}
                if response.status != 307:
                    break
                url = response.headers["Location"]
            if response.status >= 300:
                raise AnswerError(str(answer.get("message") or f"the server answered {response.status}"))
            return answer or None
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise AnswerError(f"no answer from {url} ({type(error).__name__})") from None


def _table(answer: dict[str, Any]) -> str:
    if "rooms" in answer:
        lines = [f"{r['name']:<32} {r['participants']:>3} there, {r['publishing']} publishing" for r in answer["rooms"]]
        return "\n".join(lines) or "no room has anybody in it"
    if "nodes" in answer:
        return "\n".join(
            f"{n['name']:<24} {n['load']:>5.0%} of {n['capacity']:.0f} faces, {n['rooms']:>4} rooms"
            f"{' draining' if n['draining'] else '' if n['open'] else ' takes no rooms'}  {n['address']}"
            for n in answer["nodes"]
        )
    return "\n".join(
        f"{p['id']:<14} {p['name']:<24} {p['kind']:<7} {p['state']:<8}"
        f"{' muted' if p['muted'] else ''}{' avatar' if p['avatar'] else ''}"
        for p in answer["participants"]
    )
