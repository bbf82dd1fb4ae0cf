"""Recordings of a room: begun, ended, listed, fetched and deleted."""

from __future__ import annotations

from typing import Literal

from aiohttp import web
from pydantic import Field

from server.errors import NodesUnavailableError
from server.recording.manifest import Reason
from server.recording.recordings import Recorded, node_of
from server.routes.api.operation import ADMINISTER, Model, Operation
from server.routes.parts import bearer_claims, parts_of, room_here
from server.signalling.protocol import parse_room


class RecordedFileModel(Model):
    """One file: what one participant sent between two changes of what it sends."""

    file: str
    participant: str
    identity: str
    name: str
    kind: Literal["motion", "camera", "screen"]
    avatar: bool
    offset: float
    problem: str | None
    bytes: int


class RecordingModel(Model):
    """A recording. Times are Unix seconds."""

    recording: str
    room: str
    state: Literal["recording", "ended", "interrupted"]
    started: float
    ended: float | None
    reason: Reason | None
    files: list[RecordedFileModel]

    @classmethod
    def of(cls, recorded: Recorded) -> RecordingModel:
        """As it is now."""
        manifest = recorded.manifest
        return cls(
            recording=manifest.recording,
            room=manifest.room,
            state=recorded.state,
            started=manifest.started,
            ended=manifest.ended,
            reason=manifest.reason,
            files=[
                RecordedFileModel(**file.model_dump(), bytes=recorded.sizes.get(file.file, 0))
                for file in manifest.files
            ],
        )


class RecordingList(Model):
    """Recordings of a room that the node which answers has, the newest first."""

    recordings: list[RecordingModel]
    elsewhere: list[str] | None = Field(
        description="Addresses of the other nodes: each lists its own at the same path below. None: not known now."
    )


def _recorded_room(request: web.Request) -> str:
    """The room that is named, where the token permits recording it. Raises ForbiddenError, UnauthorizedError."""
    claims = bearer_claims(request)
    room = parse_room(request.match_info["room"])
    claims.may_record(room)
    return room


async def _recording_here(request: web.Request) -> str:
    """The recording that the path names, which its node has. Raises MovedError where that is another that lives.

    To be asked for once it is known what the token permits.
    """
    recording = request.match_info["recording"]
    await parts_of(request).nodes.find_kept(node_of(recording))
    return recording


async def start_recording(request: web.Request, _body: None) -> RecordingModel:
    """Everybody in the room sees that it is recorded."""
    _recorded_room(request)
    room = await room_here(request)
    return RecordingModel.of(await parts_of(request).recordings.start(room))


async def list_recordings(request: web.Request, _body: None) -> RecordingList:
    """Those that run, those that ended, and those that a crash interrupted."""
    room = _recorded_room(request)
    parts = parts_of(request)
    try:
        others = await parts.nodes.others()
    except NodesUnavailableError:
        others = None  # what runs here can be found and stopped all the same
    # Where nodes share a directory, only the node that records knows what runs.
    found = await parts.recordings.of_room(room, {other.mark for other in others or ()})
    return RecordingList(
        recordings=[RecordingModel.of(one) for one in found],
        elsewhere=None if others is None else [other.address for other in others],
    )


async def get_recording(request: web.Request, _body: None) -> RecordingModel:
    """One of them."""
    room = _recorded_room(request)
    return RecordingModel.of(await parts_of(request).recordings.get(room, await _recording_here(request)))


async def stop_recording(request: web.Request, _body: None) -> None:
    """Answered when its files are whole."""
    room = _recorded_room(request)
    await parts_of(request).recordings.stop(room, await _recording_here(request))


async def remove_recording(request: web.Request, _body: None) -> None:
    """Its files are deleted."""
    claims = bearer_claims(request)
    room = parse_room(request.match_info["room"])
    claims.may_administer(room)
    await parts_of(request).recordings.remove(room, await _recording_here(request))


async def get_file(request: web.Request, _body: None) -> web.FileResponse:
    """A running recording's files can be fetched, too: they are good up to the last second."""
    room = _recorded_room(request)
    recording = await _recording_here(request)
    path = await parts_of(request).recordings.file(room, recording, request.match_info["file"])
    headers = {
        "Cache-Control": "no-store",
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f'attachment; filename="{path.parent.name}-{path.name}"',
    }
    return web.FileResponse(path, headers=headers)


_RECORDINGS = "/api/rooms/{room}/recordings"
_RECORDING = _RECORDINGS + "/{recording}"
_GRANT = "roomRecord for the room, or administer it"

OPERATIONS = (
    Operation(
        method="POST",
        path=_RECORDINGS,
        name="startRecording",
        summary="Record everybody in a room.",
        handle=start_recording,
        grant=_GRANT,
        gives=RecordingModel,
        errors=(307, 400, 403, 404, 409, 501, 503),
    ),
    Operation(
        method="GET",
        path=_RECORDINGS,
        name="listRecordings",
        summary="The recordings of a room that this node has, the newest first.",
        handle=list_recordings,
        grant=_GRANT,
        gives=RecordingList,
        errors=(400, 403, 501),
    ),
    Operation(
        method="GET",
        path=_RECORDING,
        name="getRecording",
        summary="One recording and its files.",
        handle=get_recording,
        grant=_GRANT,
        gives=RecordingModel,
        errors=(307, 400, 403, 404, 501, 503),
    ),
    Operation(
        method="POST",
        path=_RECORDING + "/stop",
        name="stopRecording",
        summary="End a recording, and wait until its files are whole.",
        handle=stop_recording,
        grant=_GRANT,
        errors=(307, 400, 403, 404, 501, 503),
    ),
    Operation(
        method="DELETE",
        path=_RECORDING,
        name="removeRecording",
        summary="Delete a recording that has ended.",
        handle=remove_recording,
        grant=ADMINISTER,
        errors=(307, 400, 403, 404, 409, 501, 503),
    ),
    Operation(
        method="GET",
        path=_RECORDING + "/files/{file}",
        name="getRecordedFile",
        summary="A file of a recording.",
        handle=get_file,
        grant=_GRANT,
        file=True,
        errors=(307, 400, 403, 404, 501, 503),
    ),
)
