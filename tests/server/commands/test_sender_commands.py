"""The commands around the sender: `call` starts and stops its two processes, `doctor` finds what is missing, `send`
refuses bad input with one line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import sys
from asyncio.subprocess import Process
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model.errors import InputError
from server.commands import call, doctor, send
from server.commands.call import CallError
from tests import child_process
from tests.server.fakes import until

RECEIVER = """
import http.server, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *arguments): pass
def stop(*arguments):
    open(sys.argv[2], "a").write("receiver stopped\\n"); sys.exit(0)
signal.signal(signal.SIGINT, stop)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

SENDER = """
import signal, sys, time
def stop(*arguments):
    open(sys.argv[1], "a").write("sender stopped\\n"); sys.exit(0)
signal.signal(signal.SIGTERM, stop)
open(sys.argv[1], "a").write("sender started\\n")
while True: time.sleep(60)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Stage:
    """Stands in for the two processes: small scripts that answer, wait and note how they end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, sender: str = SENDER) -> None:
        self.diary = folder / "diary"
        self.diary.touch()
        self.port = free_port()
        self.arguments: list[tuple[str, ...]] = []
        self.processes: list[Process] = []
        self.receiver, self.sender = RECEIVER, sender
        monkeypatch.setattr(call, "_start", self._start)

    async def _start(self, *arguments: str) -> Process:
        self.arguments.append(arguments)
        if arguments[0] == "serve":
            command = [sys.executable, "-c", self.receiver, str(self.port), str(self.diary)]
        else:
            command = [sys.executable, "-c", self.sender, str(self.diary)]
        process = await asyncio.create_subprocess_exec(*command, start_new_session=True)
        self.processes.append(process)
        return process

    def options(self, **more: Any) -> argparse.Namespace:
        given: dict[str, Any] = {"source": "portrait", "room": "demo", "name": None, "port": self.port}
        return argparse.Namespace(**given | more)


CALL = """
import asyncio, json, sys
from pathlib import Path
import pytest
from server.commands import call
from tests.server.commands.test_sender_commands import Stage

stage = Stage(pytest.MonkeyPatch(), Path(sys.argv[1]))
asyncio.run(call._call(stage.options()))
ended = all(process.returncode is not None for process in stage.processes)
print(json.dumps({"port": stage.port, "arguments": stage.arguments, "ended": ended}))
"""


@pytest.mark.asyncio
async def test_call_starts_both_and_ctrl_c_ends_the_sender_first(tmp_path: Path) -> None:
    """In a process of its own: Ctrl-C is a signal to all of a process, and this one is the test's."""
    with child_process.start(CALL, str(tmp_path)) as process:
        diary, output = tmp_path / "diary", process.stdout
        assert output is not None
        page = await asyncio.to_thread(lambda: next(line for line in output if line.strip()))  # the call is up
        await until(lambda: diary.exists() and "sender started" in diary.read_text(), seconds=60)
        process.send_signal(signal.SIGINT)
        (report,) = (line for line in child_process.finish(process).splitlines() if line)
    assert diary.read_text().splitlines() == ["sender started", "sender stopped", "receiver stopped"]
    found = json.loads(report)
    assert f"http://localhost:{found['port']}/?room=demo" in page
    serve, sent = found["arguments"]
    assert serve == ["serve", "--host", "127.0.0.1", "--port", str(found["port"])]
    assert sent[sent.index("--source") + 1] == "portrait"
    assert sent[sent.index("--name") + 1] == "Built-in talker"
    assert "--loop" in sent
    assert found["ended"]


@pytest.mark.asyncio
async def test_a_sender_that_ends_ends_the_call_with_its_status(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stage = Stage(monkeypatch, tmp_path, sender="import sys; sys.exit(2)")
    with pytest.raises(CallError, match="the sender stopped") as caught:
        await call._call(stage.options())
    assert caught.value.exit_status == 2
    assert stage.diary.read_text() == "receiver stopped\n"


@pytest.mark.asyncio
async def test_a_source_that_is_not_there_ends_the_receiver_that_loads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stage = Stage(monkeypatch, tmp_path)
    with pytest.raises(InputError, match="no such source"):
        await call._call(stage.options(source=str(tmp_path / "none.mp4")))
    (receiver,) = stage.processes
    assert receiver.returncode is not None


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_is_a_number_that_a_port_can_have(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    call.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--port", port])
    assert "--port" in capsys.readouterr().err


@pytest.mark.asyncio
async def test_a_receiver_that_does_not_start_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stage = Stage(monkeypatch, tmp_path)
    stage.receiver = "import sys; sys.exit(2)"
    with pytest.raises(CallError, match="the receiver did not start"):
        await call._call(stage.options())
    assert len(stage.processes) == 1


# doctor


def test_doctor_says_what_is_missing_and_how_to_cure_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VISAVIS_WEIGHTS", str(tmp_path / "none.safetensors"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert doctor.run(argparse.Namespace(port=port, json=True)) == 1
    report = json.loads(capsys.readouterr().out)
    checks = {entry["check"]: entry for entry in report["checks"]}
    assert not report["healthy"]
    assert checks["weights"]["verdict"] == "fail"
    assert checks["port"]["verdict"] == "fail"
    assert "VISAVIS_PORT" in checks["port"]["detail"]
    assert checks["python"]["verdict"] == checks["encoders"]["verdict"] == "ok"
    assert checks["camera"]["verdict"] in ("ok", "note")
    assert set(checks) >= {"torch", "gpu", "engine", "uvloop", "microphone"}


def test_doctor_prints_a_table() -> None:
    findings = [doctor.Finding("python", "ok", "3.11"), doctor.Finding("microphone", "note", "none")]
    assert doctor.table(findings).splitlines() == ["ok    python        3.11", "note  microphone    none"]


def test_doctor_notices_a_damaged_weights_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from model.talking_head import TalkingHead

    weights = tmp_path / "small.safetensors"
    weights.write_bytes(b"weights")
    (tmp_path / "manifest.json").write_text(json.dumps([{"name": "small.safetensors", "sha256": "ab" * 32}]))
    model = SimpleNamespace(profile=SimpleNamespace(name="small"), weights_hash="cd" * 32)
    monkeypatch.setattr(TalkingHead, "load", staticmethod(lambda path: model))
    verdict, detail = doctor.check_weights(weights)
    assert verdict == "fail"
    assert "manifest" in detail


def test_doctor_knows_what_runs_the_networks() -> None:
    """The package of compiled graphs is not to be found in a test's process (tests/conftest.py)."""
    assert doctor.check_engine("torch")[0] == "ok"
    assert doctor.check_engine("auto")[0] == "note"
    assert doctor.check_engine("graphs")[0] == "fail"


def test_doctor_misses_a_gpu_only_when_one_is_asked_for() -> None:
    import torch

    if not torch.cuda.is_available():
        assert doctor.check_gpu("auto")[0] == "note"
        assert doctor.check_gpu("cuda")[0] == "fail"


# send


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    send.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--source", "nothing.mp4"), "no such source"),
        (("--source", "camera", "--kbps", "0"), "--kbps"),
        (("--source", "camera", "--kbps", "nan"), "--kbps"),
        (("--source", "camera", "--server", "ftp://host"), "--server"),
        (("--source", "camera", "--server", "http://host:port"), "--server"),
        (("--source", "camera", "--avatar", "none.png"), "no such picture"),
    ],
)
def test_bad_input_to_send_is_one_clear_line(
    arguments: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model.errors import VisavisError

    monkeypatch.setenv("VISAVIS_RANDOM_WEIGHTS", "1")
    with pytest.raises(VisavisError, match=says) as caught:
        send.run(parsed(*arguments))
    assert caught.value.exit_status == 2
    assert "\n" not in str(caught.value)


def test_an_avatar_does_not_go_with_a_recording(tmp_path: Path) -> None:
    from model.errors import InputError
    from server.sender.build import parse_choices

    picture, recording = tmp_path / "face.png", tmp_path / "a.vav"
    picture.touch()
    recording.touch()
    with pytest.raises(InputError, match="--avatar"):
        parse_choices(server="localhost", room="r", name="n", source=str(recording), kbps=25.0, avatar=str(picture))
