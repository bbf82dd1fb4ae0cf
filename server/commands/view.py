"""`python -m server view`: one participant to a file, a pipe, or a camera that other programs see."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import time

from server.commands.event_loop import loop_factory
from server.logs import set_up_logging
from server.settings import load_settings

HELP = "write what one participant shows to a file, a pipe or a virtual camera"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `view`."""
    parser.add_argument("--server", default="http://localhost:8080", help="address of the receiver (%(default)s)")
    parser.add_argument("--room", default="lobby", help="room to join (%(default)s)")
    parser.add_argument("--participant", required=True, help="whom to watch: an id or a name")
    parser.add_argument(
        "--out",
        required=True,
        help="a film (.mp4, .mkv, .webm), a stream of raw pictures (.y4m, .nut, or - for standard output), "
        "camera or camera:DEVICE for a virtual camera",
    )
    parser.add_argument("--format", choices=("y4m", "nut"), default="y4m", help="of standard output (%(default)s)")
    parser.add_argument("--size", default="512", help="of the pictures, one side or WIDTHxHEIGHT (%(default)s)")
    parser.add_argument("--fps", type=float, default=25.0, help="of streams and virtual cameras (%(default)s)")
    parser.add_argument("--seconds", type=float, help="how long from the first picture; else until interrupted")
    for name in ("yaw", "pitch", "roll"):
        parser.add_argument(f"--{name}", type=float, default=0.0, metavar="DEG", help="turn the head further")
    parser.add_argument("--name", default="viewer", help="name that the others see (%(default)s)")
    parser.add_argument("--token", default=os.environ.get("VISAVIS_TOKEN"), help="token for the room (VISAVIS_TOKEN)")
    parser.add_argument("--verbose", action="store_true", help="log details")


def run(options: argparse.Namespace) -> int:
    """Watch until interrupted, until the time is over, or until nobody reads the pipe."""
    from server.sender.connection.signalling import server_address
    from server.viewer.sink import parse_output

    settings = load_settings()
    set_up_logging(settings.log_format, "debug" if options.verbose else settings.log_level)
    server = server_address(options.server)
    output = parse_output(options.out, options.size, options.fps, options.format)

    async def main() -> None:
        from server.sender.connection.access import Access
        from server.viewer.delivery import Delivery
        from server.viewer.sink import open_sink
        from server.viewer.viewer import Viewer

        delivery = Delivery(open_sink(output), output.size)
        view = {"yaw": options.yaw, "pitch": options.pitch, "roll": options.roll}
        access = Access(server, options.room, options.token, settings)
        viewer = Viewer(server, options.room, options.participant, options.name, access, delivery, view, time.monotonic)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt instead
                loop.add_signal_handler(number, viewer.stop)
        if options.seconds is not None:
            delivery.first.add_done_callback(lambda _: loop.call_later(options.seconds, viewer.stop))
        delivery.start()
        try:
            await viewer.run()
        finally:
            await delivery.close()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())
    return 0
