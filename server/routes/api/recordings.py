"""Recordings of a room: begun, ended, listed, fetched and deleted."""

from __future__ import annotations

from typing import Literal

from aiohttp import web

from server.recording.manifest import Reason
from server.recording.recordings import Recorded
from server.routes.api.operation import ADMINISTER, Model, Operation
from server.routes.parts import bearer_claims, parts_of
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
    """Recordings of a room, the newest first."""

    recordings: list[RecordingModel]


def _recorded_room(request: web.Request) -> str:
    """The room that is named, where the token permits recording it. Raises ForbiddenError, UnauthorizedError."""
    claims = bearer_claims(request)
    room = parse_room(request.match_info["room"])
    claims.may_record(room)
    return room


async def start_recording(request: web.Request, _body: None) -> RecordingModel:
    """Everybody in the room sees that it is recorded."""
    room = _recorded_room(request)
    return RecordingModel.of(await parts_of(request).recordings.start(room))


async def list_recordings(request: web.Request, _body: None) -> RecordingList:
    """Those that run, those that ended, and those that a crash interrupted."""
    room = _recorded_room(request)
    return RecordingList(
        recordings=[RecordingModel.of(one) for one in await parts_of(request).recordings.of_room(room)]
    )


async def get_recording(request: web.Request, _body: None) -> RecordingModel:
    """One of them."""
    room = _recorded_room(request)
    return RecordingModel.of(await parts_of(request).recordings.get(room, request.match_info["recording"]))


async def stop_recording(request: web.Request, _body: None) -> None:
    """Answered when its files are whole."""
    room = _recorded_room(request)
    await parts_of(request).recordings.stop(room, request.match_info["recording"])


async def remove_recording(request: web.Request, _body: None) -> None:
    """Its files are deleted."""
    claims = bearer_claims(request)
    room = parse_room(request.match_info["room"])
    claims.may_administer(room)
    await parts_of(request).recordings.remove(room, request.match_info["recording"])


async def get_file(request: web.Request, _body: None) -> web.FileResponse:
    """A running recording's files can be fetched, too: they are good up to the last second."""
    room = _recorded_room(request)
    info = request.match_info
    path = await parts_of(request).recordings.file(room, info["recording"], info["file"])
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
        errors=(400, 403, 404, 409, 501, 503),
    ),
    Operation(
        method="GET",
        path=_RECORDINGS,
        name="listRecordings",
        summary="The recordings of a room, the newest first.",
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
        errors=(400, 403, 404, 501),
    ),
    Operation(
        method="POST",
        path=_RECORDING + "/stop",
        name="stopRecording",
        summary="End a recording, and wait until its files are whole.",
        handle=stop_recording,
        grant=_GRANT,
        errors=(400, 403, 404, 501),
    ),
    Operation(
        method="DELETE",
        path=_RECORDING,
        name="removeRecording",
        summary="Delete a recording that has ended.",
        handle=remove_recording,
        grant=ADMINISTER,
        errors=(400, 403, 404, 409, 501),
    ),
    Operation(
        method="GET",
        path=_RECORDING + "/files/{file}",
        name="getRecordedFile",
        summary="A file of a recording.",
        handle=get_file,
        grant=_GRANT,
        file=True,
        errors=(400, 403, 404, 501),
    ),
)
