"""The image without Docker: the Dockerfile's steps, run one by one in clean Debian root file systems.

    sudo .venv/bin/python -m tests.deploy.image FOLDER

Needs root, debootstrap and 8 GB. Debian's own Python and Node stand in for the base images; all that follows FROM is
the Dockerfile's. What was built is then started as README says, with one UDP port, and a sender from this repository
joins it. `--bind` and `--env` hand in what a build needs on this machine (wheels, an index), `--build-arg` is as in
Docker. FOLDER keeps the base systems, so that a second run is quick.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.deploy.dockerfile import ROOT, Instruction, Stage, in_context, read_dockerfile

BASES = {
    "python": (("python3", "python3-venv", "python3-pip"), "python3 --version"),
    "node": (("nodejs", "npm"), "node --version"),
}
"""By base image: Debian's packages that stand in for it, and what tells their version."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
READY_SECONDS = 180


class Root:
    """One root file system, with what an image keeps beside its files."""

    def __init__(self, folder: Path, binds: Sequence[str], given: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = {"PATH": PATH, "HOME": "/root"}
        self.place = "/"
        self.user = "0"
        self._binds = binds
        self._given = given  # for the build alone

    @contextmanager
    def mounted(self) -> Iterator[Root]:
        """The kernel's file systems and the folders that are handed in, until the block ends."""
        with ExitStack() as mounts:
            for source, kind in (("/proc", "proc"), ("/dev", ""), ("/sys", ""), *((bind, "") for bind in self._binds)):
                target = self.folder / source.lstrip("/")
                if Path(source).is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.touch()
                subprocess.run(
                    ["mount", *(["-t", kind, kind] if kind else ["--rbind", source]), str(target)], check=True
                )
                mounts.callback(subprocess.run, ["umount", "--lazy", str(target)], check=True)
            yield self

    def command(self, *words: str, build: bool = False, user: str | None = None) -> list[str]:
        """The command line that runs `words` inside, as `docker run` or, with `build`, `docker build` would."""
        environment = {**(self._given if build else {}), **self.environment}
        inside = 'cd "$0" && exec "$@"'
        return [
            "chroot",
            f"--userspec={user or self.user}:{user or self.user}",
            str(self.folder),
            *("env", "-i", *(f"{name}={value}" for name, value in environment.items())),
            *("sh", "-c", inside, self.place, *words),
        ]

    def inside(self, path: str) -> Path:
        """A path of this root as this machine sees it."""
        return self.folder / os.path.normpath(os.path.join(self.place, path)).lstrip("/")


def base(image: str, folder: Path) -> Path:
    """A clean Debian with what the base image brings; made once."""
    kind = image.partition(":")[0]
    packages, version = BASES[kind]
    place = folder / f"base-{kind}"
    if not (place / "complete").exists():
        shutil.rmtree(place, ignore_errors=True)
        command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(place)]
        subprocess.run([*command, "http://deb.debian.org/debian"], check=True, stdout=subprocess.DEVNULL)
        shutil.copy("/etc/resolv.conf", place / "etc/resolv.conf")
        install = ["apt-get", "install", "--yes", "-qq", "--no-install-recommends", *packages]
        with Root(place, (), {"DEBIAN_FRONTEND": "noninteractive"}).mounted() as root:
            subprocess.run(root.command(*install, build=True), check=True, stdout=subprocess.DEVNULL)
        if kind == "python":
            # As in the image: `python`, and a pip that installs for the system.
            (place / "usr/local/bin/python").symlink_to("/usr/bin/python3")
            next(place.glob("usr/lib/python3.*/EXTERNALLY-MANAGED")).unlink()
        (place / "complete").touch()
    found = subprocess.run(["chroot", str(place), *version.split()], check=True, capture_output=True, text=True)
    print(f"FROM {image}: Debian with {found.stdout.strip()}", flush=True)
    return place


def build(folder: Path, arguments: Mapping[str, str], binds: Sequence[str], given: Mapping[str, str]) -> Root:
    """Carry out the Dockerfile; the root of its last stage."""
    roots: dict[str | None, Root] = {}
    root: Root | None = None
    for number, stage in enumerate(read_dockerfile()):
        place = folder / f"stage-{number}"
        shutil.rmtree(place, ignore_errors=True)
        # Not shutil: it would read the device files in /dev, which have no end.
        subprocess.run(["cp", "--archive", "--one-file-system", str(base(stage.image, folder)), str(place)], check=True)
        root = roots[stage.name] = Root(place, binds, given)
        with root.mounted():
            for instruction in stage.instructions:
                _carry_out(root, stage, instruction, roots, arguments)
    assert root is not None
    return root


def _carry_out(
    root: Root, stage: Stage, instruction: Instruction, roots: Mapping[str | None, Root], arguments: Mapping[str, str]
) -> None:
    begin = time.monotonic()
    if instruction.name == "ARG":
        root.environment |= {name: arguments.get(name, value) for name, value in instruction.pairs.items()}
    elif instruction.name == "ENV":
        root.environment |= instruction.pairs
    elif instruction.name == "WORKDIR":
        root.place = instruction.value
        root.inside(".").mkdir(parents=True, exist_ok=True)
    elif instruction.name == "USER":
        root.user = instruction.value
    elif instruction.name == "COPY":
        _copy(root, instruction, roots)
    elif instruction.name == "RUN":
        subprocess.run(root.command("sh", "-c", instruction.value, build=True), check=True)
    took = time.monotonic() - begin
    print(f"{instruction.name} {instruction.value[:100]}  ({took:.0f} s)", flush=True)


def _copy(root: Root, instruction: Instruction, roots: Mapping[str | None, Root]) -> None:
    *sources, target = instruction.words
    if sources[0].startswith("--from="):
        origin = roots[sources.pop(0).removeprefix("--from=")]
        for source in sources:
            shutil.copytree(origin.inside(source), root.inside(target), dirs_exist_ok=True)
        return
    ignored = (ROOT / ".dockerignore").read_text()
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    context = [path for path in tracked.splitlines() if in_context(path, ignored)]
    for source in sources:
        below = [path for path in context if path == source or path.startswith(f"{source}/")]
        if not below:
            raise FileNotFoundError(f"COPY {source}: not in the context")
        for path in below:
            # A folder's content goes into the target, a file into a target that ends in a slash.
            name = path[len(source) + 1 :] if (ROOT / source).is_dir() else Path(path).name
            place = root.inside(target) / name if target.endswith("/") or name != path else root.inside(target)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, place)


@contextmanager
def running(root: Root, stage: Stage, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The image's command, as its user, until the block ends; then SIGTERM, and it has to end by itself."""
    root.environment = {**root.environment, "HOME": "/nonexistent", **environment}
    root.environment.pop("TORCH_INDEX", None)  # of the build
    with root.mounted():
        process = subprocess.Popen(root.command(*stage.last("CMD").command))
        try:
            yield process
            process.send_signal(signal.Signals[stage.last("STOPSIGNAL").value])
            status = process.wait(60)
            print(f"stopped by {stage.last('STOPSIGNAL').value}: status {status}", flush=True)
            assert status == 0
        finally:
            process.kill()
            process.wait()


def ask(url: str, token: str = "") -> tuple[int, bytes]:
    """Status and body of a GET; status 0 where nobody answers."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def wait_for(what: str, seconds: float, look: object) -> None:
    """Ask `look()` each half second until it is true."""
    assert callable(look)
    begin = time.monotonic()
    while not look():
        if time.monotonic() - begin > seconds:
            raise TimeoutError(what)
        time.sleep(0.5)
    print(f"{what}: after {time.monotonic() - begin:.1f} s", flush=True)


def udp_ports(process: int) -> list[int]:
    """Local UDP ports of a process, which `/proc` knows."""
    inodes = set()
    for entry in Path(f"/proc/{process}/fd").iterdir():
        link = os.readlink(entry)
        if link.startswith("socket:["):
            inodes.add(link[8:-1])
    lines = [
        line.split()
        for table in ("udp", "udp6")
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]
    ]
    return sorted({int(fields[1].rpartition(":")[2], 16) for fields in lines if fields[9] in inodes})


def try_image(root: Root, stage: Stage, port: int, udp_port: int, address: str) -> None:
    """Start it as README does, let a sender join, look at everything from outside."""
    key = {"VISAVIS_API_KEY": "trial", "VISAVIS_API_SECRET": secrets.token_hex(32)}
    settings = {"VISAVIS_PORT": str(port), "VISAVIS_UDP_PORT": str(udp_port), "VISAVIS_PUBLIC_ADDRESS": address}
    server = f"http://127.0.0.1:{port}"

    def token(*options: str) -> str:
        command = [sys.executable, "-m", "server", "token", *options]
        minted = subprocess.run(command, cwd=ROOT, env=os.environ | key, check=True, capture_output=True, text=True)
        return minted.stdout.strip()

    with running(root, stage, {**settings, **key}) as process:
        wait_for("/healthz answers", 60, lambda: ask(f"{server}/healthz")[0] == 200)
        wait_for("/readyz answers", READY_SECONDS, lambda: ask(f"{server}/readyz")[0] == 200)
        health = subprocess.run(root.command(*stage.last("HEALTHCHECK").command), check=False)
        print(f"HEALTHCHECK: status {health.returncode}")
        assert health.returncode == 0
        assert json.loads(ask(f"{server}/api/config?room=standup")[1])["motion"], "the page can send motion"
        administrator = token("--admin", "--identity", "trial")
        command = [sys.executable, "-m", "server", "send", "--server", server, "--room", "standup"]
        command += ["--source", "portrait", "--token", token("--room", "standup", "--identity", "ada")]
        sender = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        try:

            def live() -> str:
                status, body = ask(f"{server}/api/rooms/standup", administrator)
                people = json.loads(body)["participants"] if status == 200 else []
                return next((str(p["id"]) for p in people if p["rendered"] and p["state"] == "live"), "")

            wait_for("a sender's face is live", READY_SECONDS, live)
            viewer = token("--room", "standup", "--identity", "player")
            answer = asyncio.run(watched(server, "standup", live(), viewer))
            print("a player by WHEP decodes its pictures")
            assert "a=label:rendered" in answer
            assert {line.split()[5] for line in answer.splitlines() if line.startswith("a=candidate")} == {
                str(udp_port)
            }
            ports = udp_ports(process.pid)
            print(f"UDP ports: {ports}")
            assert ports == [udp_port]
        finally:
            sender.terminate()
            sender.wait(30)


async def watched(server: str, room: str, participant: str, token: str, pictures: int = 10) -> str:
    """Watch somebody by WHEP until so many pictures are decoded; the answer's session description."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    for kind in ("video", "audio"):
        peer.addTransceiver(kind, direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    url = f"{server}/whep/{room}/{participant}"
    request = urllib.request.Request(url, peer.localDescription.sdp.encode(), headers)
    answer: str = await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=20).read().decode())
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    (track,) = [receiver.track for receiver in peer.getReceivers() if receiver.track.kind == "video"]
    async with asyncio.timeout(60):
        for _ in range(pictures):
            await track.recv()
    await peer.close()
    return answer


def own_address() -> str:
    """Address of this machine on the way out; nothing is sent."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def main() -> None:
    """Build and try."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bind", action="append", default=[], metavar="PATH")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--udp-port", type=int, default=8443)
    parser.add_argument("--address", default=None)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    given, arguments = (dict(pair.split("=", 1) for pair in pairs) for pairs in (options.env, options.build_arg))
    root = build(options.folder.resolve(), arguments, options.bind, given)
    address = options.address or own_address()
    try_image(root, read_dockerfile()[-1], options.port, options.udp_port, address)
    print("the image builds and runs as README says")


if __name__ == "__main__":
    main()
