"""Who may know what: the import rules of the folders, read from the source of every module.

Imports inside functions and under TYPE_CHECKING count like all others: a rule is about knowing, not about loading.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(p.relative_to(ROOT) for folder in ("model", "server") for p in (ROOT / folder).rglob("*.py"))
LONGEST = 450
"""Lines of a module that can still be read in one sitting."""

PRIVATE_MODULE = "server.media.aiortc_private"
PRIVATE_TRANSPORT = "server.media.aiortc_transport_private"
PRIVATE = {
    Path(name.replace(".", "/")).with_suffix(".py")
    for name in (PRIVATE_MODULE, PRIVATE_TRANSPORT, "server.ice.aioice_private")
}

MAY_IMPORT = {
    "model/codec": {"model.codec", "model.errors", "model.window", "model.pixels"},
    "model/face": {"model.face", "model.errors", "model.landmarks", "model.motion"},
    "model/frame_extractor.py": {
        *(
            "model.face.box",
            "model.face.crop",
            "model.face.region",
            "model.landmarks.roi",
            "model.motion",
            "model.networks.small.guided",
            "model.talking_head",
        ),
    },
    "model/graphs": {"model.graphs", "model.errors", "model.media.atomic_file", "model.motion", "model.networks"},
    "model/landmarks": {"model.landmarks", "model.errors", "model.network_weights", "model.weights.manifest"},
    "model/media": {"model.media", "model.errors", "model.pixels"},
    "model/networks": {"model.networks", "model.keypoint_layout", "model.motion", "model.window"},
    "model/perceptual": {"model.perceptual", "model.errors", "model.media.atomic_file"},
    "model/registration": {
        *("model.registration", "model.arrays", "model.keypoint_layout", "model.motion", "model.networks"),
    },
    "model/source": {
        *("model.source", "model.face", "model.motion", "model.window"),
        *("model.networks.small_config", "model.talking_head"),
    },
    "model/weights": {"model.weights", "model.errors", "model.media.atomic_file"},
    "server/ice": {"server.ice"},
    "server/media": {"server.media", "server.wire", "model.errors"},
    "server/nodes": {"server.nodes", "server.errors", "server.metrics", "server.signalling"},
    "server/wire": {"server.wire", "model.errors"},
    "server/receiver": {
        *("server.receiver", "server.errors", "server.media", "server.rate_limit", "server.rate_window", "server.wire"),
        "model",
    },
    "server/recording": {
        *(
            "server.recording",
            "server.errors",
            "server.media",
            "model.codec",
            "model.errors",
            "model.media.atomic_file",
        ),
        *("server.signalling.participant", "server.signalling.ports", "server.signalling.room_events"),
    },
    "server/signalling": {
        *(
            "server.signalling",
            "server.auth",
            "server.awake_clock",
            "server.errors",
            "server.media.recorder",
            "server.metrics",
            "server.settings",
            "server.wire.voice_trailer",
            PRIVATE_MODULE,
            PRIVATE_TRANSPORT,
        ),
        *("model.errors", "model.motion", "model.view_bounds"),
    },
    "server/sender": {
        *("server.sender", "server.wire", "server.auth", "server.awake_clock", "server.errors", "server.settings"),
        *("server.rate_limit", "server.rate_window", "model", PRIVATE_MODULE, PRIVATE_TRANSPORT),
        "server.media.media_packet",
    },
    "server/sender/media": {"server.sender.media", "server.rate_limit", "model"},
    "server/viewer": {
        *("server.viewer", "server.sender.connection.access", "server.sender.connection.loss"),
        *("server.sender.connection.reconnect", "server.sender.connection.signalling"),
        *("server.media.stream_clock", "model.media", "model.errors"),
    },
}
"""All of the project that a folder or module may know."""

CLOCKS_AND_SOCKETS = {"aiohttp", "aiortc", "asyncio", "av", "time"}

MAY_NOT_IMPORT = {
    "model": {"server"},
    "server/receiver": {"aiohttp"},
    "server/recording": {"aiohttp", "aiortc"},
    "server/media/stream_clock.py": CLOCKS_AND_SOCKETS,
    "server/signalling": {"aiohttp"},
    "server/routes": {"aiortc", "av", "server.media", "server.receiver"},
    "server/sender/media": {"aiohttp", "aiortc"},
    "server/signalling/participant.py": CLOCKS_AND_SOCKETS,
    "server/signalling/resumption.py": CLOCKS_AND_SOCKETS,
    "server/signalling/room_events.py": CLOCKS_AND_SOCKETS,
    "server/signalling/rooms.py": CLOCKS_AND_SOCKETS,
    "server/nodes": {"aiohttp", "aiortc", "av"},
    "server/nodes/lease.py": CLOCKS_AND_SOCKETS | {"redis"},
    "server/invitations.py": {"aiortc", "av", "server.media", "server.receiver"},
    "server/webhooks.py": {"aiortc", "av", "server.media", "server.receiver"},
    "server/signalling/speaker.py": CLOCKS_AND_SOCKETS,
    "server/signalling/candidates.py": CLOCKS_AND_SOCKETS,
    "server/signalling/names.py": CLOCKS_AND_SOCKETS,
    "server/awake_clock.py": CLOCKS_AND_SOCKETS,
    "server/quota.py": CLOCKS_AND_SOCKETS,
    "server/turns.py": CLOCKS_AND_SOCKETS,
    "server/rate_limit.py": CLOCKS_AND_SOCKETS,
    "server/receiver/render_capacity.py": CLOCKS_AND_SOCKETS,
    "server/receiver/playout.py": CLOCKS_AND_SOCKETS,
    "server/receiver/playout_delay.py": CLOCKS_AND_SOCKETS,
    "server/receiver/gap_easing.py": CLOCKS_AND_SOCKETS,
    "server/receiver/latency_meter.py": CLOCKS_AND_SOCKETS,
    "server/ice/demultiplexer.py": CLOCKS_AND_SOCKETS | {"socket", "aioice"},
    "server/media/audio_delay.py": CLOCKS_AND_SOCKETS,
    "server/media/media_packet.py": CLOCKS_AND_SOCKETS,
    "server/media/rtp_feedback.py": CLOCKS_AND_SOCKETS,
    "server/media/rtp_numbers.py": CLOCKS_AND_SOCKETS,
    "server/media/rtp_payload.py": CLOCKS_AND_SOCKETS,
    "server/media/streams.py": CLOCKS_AND_SOCKETS,
}
"""Modules and packages that a folder or module may not know. Pure cores are told the time and know no socket."""

TRAINING = ("model.train", "model.evaluate", "model.perceptual", "model.teacher")
TRAINING_MAY_BE_KNOWN_BY = ("model/train", "model/evaluate", "model/perceptual", "model/teacher", "model/commands")


@cache
def tree(module: Path) -> ast.Module:
    """Syntax tree of a module, given relative to the project."""
    return ast.parse((ROOT / module).read_text(), str(module))


@cache
def imports(module: Path) -> frozenset[str]:
    """Dotted names of all that a module imports; of `from a import b` both `a` and `a.b`."""
    names = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{module} imports relative to itself"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def within(name: str, package: str) -> bool:
    """Whether a dotted name is `package` or lies in it."""
    return name == package or name.startswith(package + ".")


def modules_of(place: str) -> Iterator[Path]:
    """The module, or every module in the folder, of that name."""
    found = [m for m in MODULES if m.as_posix() == place or m.as_posix().startswith(place + "/")]
    assert found, f"{place} is gone: adapt the rule"
    yield from found


def closure(start: Path) -> set[Path]:
    """A module and all modules of the project that it loads, directly or not."""
    known = {".".join(m.with_suffix("").parts).removesuffix(".__init__"): m for m in MODULES}
    found, todo = {start}, [start]
    while todo:
        for name in imports(todo.pop()):
            module = known.get(name)
            if module is not None and module not in found:
                found.add(module)
                todo.append(module)
    return found


@pytest.mark.parametrize("place", MAY_IMPORT)
def test_a_closed_folder_knows_nothing_else_of_the_project(place: str) -> None:
    for module in modules_of(place):
        # `from a import b` gives `a` as well, the folder of what is allowed.
        strange = [
            name
            for name in imports(module)
            if name.split(".")[0] in ("model", "server")
            and not any(within(name, allowed) or within(allowed, name) for allowed in MAY_IMPORT[place])
        ]
        assert not strange, f"{module} imports {strange}"


@pytest.mark.parametrize("place", MAY_NOT_IMPORT)
def test_a_folder_does_not_know_what_it_must_not(place: str) -> None:
    for module in modules_of(place):
        strange = [n for n in imports(module) if any(within(n, forbidden) for forbidden in MAY_NOT_IMPORT[place])]
        assert not strange, f"{module} imports {strange}"


def room(module: Path) -> str:
    """The folder that a module lies in; what lies loose in `model/` and `server/` counts each for itself."""
    return module.as_posix() if len(module.parts) == 2 else module.parent.as_posix()


def test_no_folder_is_imported_by_one_that_it_imports() -> None:
    """Neither directly nor by way of others, and none by one below it."""
    known = {".".join(m.with_suffix("").parts).removesuffix(".__init__"): m for m in MODULES}
    graph: dict[str, set[str]] = {}
    for module in MODULES:
        found = {room(known[name]) for name in imports(module) if name in known}
        # `from model.codec import x` names the package `model`, whose own module holds nothing but a docstring.
        graph.setdefault(room(module), set()).update(found - {room(module), "model/__init__.py", "server/__init__.py"})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("folders import each other: " + " < ".join(error.args[1]))


def test_training_and_evaluation_are_not_known_to_a_call() -> None:
    free = {m for place in TRAINING_MAY_BE_KNOWN_BY for m in modules_of(place)}
    for module in set(MODULES) - free:
        strange = [name for name in imports(module) if any(within(name, part) for part in TRAINING)]
        assert not strange, f"{module} imports {strange}"


def test_the_codec_needs_no_torch() -> None:
    for module in {m for start in modules_of("model/codec") for m in closure(start)}:
        assert not any(within(name, "torch") for name in imports(module)), f"the codec loads torch by {module}"


def test_one_module_knows_the_engine_of_graphs() -> None:
    """It imports the package without its telemetry; whoever imports it elsewhere brings that in."""
    knowing = [m.as_posix() for m in MODULES if any(within(n.split("_")[0], "openvino") for n in imports(m))]
    assert knowing == ["model/graphs/runtime.py"]


def test_one_module_of_a_running_server_knows_redis() -> None:
    """It is imported where there are other nodes alone."""
    knowing = {m.as_posix() for m in MODULES if any(within(n, "redis") for n in imports(m))}
    assert knowing == {"server/nodes/registry.py", "server/benchmark/placement.py"}
    registry = [m.as_posix() for m in MODULES if any(within(n, "server.nodes.registry") for n in imports(m))]
    assert registry == ["server/benchmark/placement.py"], "server/app.py imports it by its name"


def test_two_modules_touch_what_is_private_to_others() -> None:
    """Elsewhere an underscore name belongs to `self`, and where aiortc is known the module itself defines it."""
    for module in set(MODULES) - PRIVATE:
        names = imports(module)
        hidden = [name for name in names if name.startswith("aio") and "._" in name]
        assert not hidden, f"{module} imports {hidden}"
        inherits = any(within(name, package) for name in names for package in ("aiortc", "aioice"))
        own = _defined(tree(module))
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
                if node.attr == "_exit":  # of os, documented all the same
                    continue
                place = f"{module}:{node.lineno} touches {node.attr}"
                assert _is_self(node.value), place
                assert node.attr in own or not inherits, place
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and inherits:
                assert not node.value.startswith("_RTC"), f"{module}:{node.lineno} names {node.value}"


def _defined(module: ast.Module) -> set[str]:
    """Names that a module defines: functions, variables, fields, and attributes set on `self`."""
    names = set()
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            names.add(node.attr)
    return names


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_says_what_it_is_and_is_short(module: Path) -> None:
    assert (ast.get_docstring(tree(module)) or "").strip(), f"{module} has no docstring"
    lines = len((ROOT / module).read_text().splitlines())
    assert lines <= LONGEST, f"{module} has {lines} lines"
