"""`python -m server call`: a receiver and a talker on this machine, to try visavis out. What `make call` runs.

It loads nothing before it starts the receiver, which takes longest and reads the settings itself.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
from asyncio.subprocess import Process
from contextlib import suppress
from urllib.parse import urlencode

from model.errors import VisavisError
from server.errors import SettingsError

HELP = "a call on this machine: the receiver and a talker that publishes through the real sender"

READY_SECONDS = 120.0
"""Loading torch and the weights from a cold disk takes a while."""

POLL_SECONDS, READY_POLL_SECONDS = 0.05, 0.5
"""Between two looks at the receiver: the sender waits for its port, nobody for the model."""

STOP_SECONDS = 10.0


class CallError(VisavisError):
    """One of the two processes did not start or ended too early. It has said why itself."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.exit_status = status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `call`."""
    parser.add_argument("--source", default="portrait", help="portrait, camera or a video file (%(default)s)")
    parser.add_argument("--room", default="demo", help="room of the call (%(default)s)")
    parser.add_argument("--name", help="name of the talker")
    parser.add_argument("--port", type=_port, default=8080, help="port of the page (%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Run both until Ctrl-C. The receiver listens on loopback alone, in development mode: nobody else can join."""
    asyncio.run(_call(options))
    return 0


async def _call(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt instead
            loop.add_signal_handler(number, stop.set)
    _check_port(options.port)
    address = f"http://localhost:{options.port}"
    talker = options.name or {"portrait": "Built-in talker", "camera": "Camera"}.get(options.source, "Talker")
    # Each with the signal that ends it. SIGTERM ends a process that is still loading without a traceback; a receiver
    # that runs takes it as a wish to drain, while SIGINT closes its calls at once.
    processes: list[tuple[Process, signal.Signals]] = []
    try:
        receiver = await _start("serve", "--host", "127.0.0.1", "--port", str(options.port))
        processes.append((receiver, signal.SIGTERM))
        await asyncio.to_thread(_check_source, options.source)
        # Once the port is bound the sender loads beside the receiver; it joins when it has something to send.
        await _answers(f"{address}/healthz", receiver, stop)
        if not stop.is_set():
            print(f"\n  Open {address}/?{urlencode({'room': options.room})}   (Ctrl-C ends the call)\n", flush=True)
            arguments = ("--room", options.room, "--source", options.source, "--name", talker, "--loop")
            sender = await _start("send", "--server", address, *arguments)
            processes.append((sender, signal.SIGTERM))
            await _answers(f"{address}/readyz", receiver, stop, sender)
        processes[0] = (receiver, signal.SIGTERM if stop.is_set() else signal.SIGINT)
        if not stop.is_set():
            await _first(stop, receiver, sender)
        if not stop.is_set():
            ended = next(process for process, _ in processes if process.returncode is not None)
            raise CallError(f"the {'receiver' if ended is receiver else 'sender'} stopped", ended.returncode or 1)
    finally:
        # The sender first: it says goodbye, and the receiver has nobody left to wait for.
        for process, number in reversed(processes):
            await _end(process, number)


async def _start(*arguments: str) -> Process:
    # A session of its own: Ctrl-C reaches this process alone, which then ends both in order.
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "server", *arguments, start_new_session=True, stdin=asyncio.subprocess.DEVNULL
    )


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError("a port is 1 to 65535")
    return int(text)


def _check_source(source: str) -> None:
    """Raise InputError for a source that is not there, BitstreamError for a damaged one."""
    from server.sender.media.inputs import check_source, parse_source  # PyAV: while the receiver loads

    check_source(parse_source(source))


def _check_port(port: int) -> None:
    """Raise SettingsError when something listens there already: the sender must not join somebody else's call."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SettingsError(f"cannot listen on 127.0.0.1 port {port}: {error.strerror or error}") from None


async def _answers(address: str, receiver: Process, stop: asyncio.Event, sender: Process | None = None) -> None:
    """Wait until the receiver answers there with 200. Raises CallError when it ends first or takes too long."""
    import aiohttp  # while the receiver loads

    deadline = asyncio.get_running_loop().time() + READY_SECONDS
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0)) as http:
        while not stop.is_set():
            if receiver.returncode is not None:
                raise CallError("the receiver did not start", receiver.returncode or 1)
            if sender is not None and sender.returncode is not None:
                raise CallError("the sender did not start", sender.returncode or 1)
            if asyncio.get_running_loop().time() > deadline:
                raise CallError(f"the receiver is not ready after {READY_SECONDS:.0f} s")
            with suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with http.get(address) as response:
                    if response.status == 200:
                        return
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), POLL_SECONDS if sender is None else READY_POLL_SECONDS)


async def _first(stop: asyncio.Event, *processes: Process) -> None:
    """Wait until one process ended or the user stops the call."""
    waits = [asyncio.create_task(stop.wait()), *(asyncio.create_task(process.wait()) for process in processes)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


async def _end(process: Process, number: signal.Signals) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.send_signal(number)
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        print("a process did not stop; ending it", file=sys.stderr)
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
