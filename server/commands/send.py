"""`python -m server send`: publish a face into a room as motion."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable

from server.commands.event_loop import loop_factory
from server.logs import set_up_logging
from server.settings import load_settings

HELP = "publish a camera, a video file or a recording into a room as motion"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `send`."""
    parser.add_argument("--server", default="http://localhost:8080", help="address of the receiver (%(default)s)")
    parser.add_argument("--room", default="lobby", help="room to join (%(default)s)")
    parser.add_argument("--name", help="name that the others see (your login name)")
    parser.add_argument(
        "--source",
        default="camera",
        help="camera, camera:DEVICE, a video file, a .vav recording, or portrait, the built-in talker (%(default)s)",
    )
    parser.add_argument("--loop", action="store_true", help="start a file over when it ends (recordings always do)")
    parser.add_argument("--avatar", metavar="IMAGE", help="send this face instead of yours; everybody sees the mark")
    parser.add_argument(
        "--kbps",
        type=float,
        default=25.0,
        help="budget of the motion with all packet headers, kbit/s: without sound frames share packets "
        "below 40, which costs latency; below 8 frames are left out (%(default)s)",
    )
    parser.add_argument(
        "--voice-kbps",
        type=float,
        default=14.0,
        help="rate of the voice without packet headers, kbit/s; a recording has its own (%(default)s)",
    )
    parser.add_argument("--no-audio", action="store_true", help="send no sound")
    parser.add_argument("--token", default=os.environ.get("VISAVIS_TOKEN"), help="token for the room (VISAVIS_TOKEN)")
    parser.add_argument("--json", action="store_true", help="one JSON object a second on standard output")
    parser.add_argument("--verbose", action="store_true", help="log details")


def run(options: argparse.Namespace) -> int:
    """Run the daemon until it is interrupted or its file ends."""
    # Imported here: `--help` need not wait for torch.
    from server.sender.build import make_daemon, parse_choices

    settings = load_settings()
    set_up_logging(settings.log_format, "debug" if options.verbose else settings.log_level)
    name = options.name or _login_name()
    choices = parse_choices(
        server=options.server,
        room=options.room,
        name=name,
        source=options.source,
        loop=options.loop,
        avatar=options.avatar,
        kbps=options.kbps,
        sound=not options.no_audio,
        voice_kbps=options.voice_kbps,
        token=options.token,
        json=options.json,
    )

    async def main() -> None:
        daemon = make_daemon(choices, settings, sys.stdout if options.json else sys.stderr)
        await _until_interrupted(daemon.run, daemon.stop)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())
    return 0


async def _until_interrupted(work: Callable[[], Awaitable[None]], stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM"):
        try:
            loop.add_signal_handler(getattr(signal, name), stop)
        except NotImplementedError:  # Windows: Ctrl-C raises KeyboardInterrupt instead
            logging.getLogger(__name__).debug("no handler for %s", name)
    await work()


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "visavis"
