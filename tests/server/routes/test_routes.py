"""HTTP: page, health, configuration, source images, WHIP and WHEP; each refusal with its status and code."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from model.codec.window import WINDOW_TYPE
from model.window import MAX_WINDOW_BYTES, MAX_WINDOWS
from server.routes.page import warn_of_other_weights
from server.routes.pools import WINDOWS_AT_ONCE
from tests.server.signalling import DAMAGED, JPEG, NO_FACE, FakePublication, offer, peer_connection, running_call

SECRET = "0123456789abcdef0123456789abcdef"

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


@pytest.mark.asyncio
async def test_health_and_metrics() -> None:
    async with running_call() as call:
        assert (await call.client.get("/healthz")).status == 200
        assert (await call.client.get("/readyz")).status == 200
        text = await (await call.client.get("/metrics")).text()
        assert "visavis_stage_seconds" in text
        call.parts.conference.draining = True
        assert (await call.client.get("/readyz")).status == 503
        assert (await call.client.get("/healthz")).status == 200


@pytest.mark.asyncio
async def test_config_mints_a_token_in_development_only() -> None:
    async with running_call() as call:
        config = await (await call.client.get("/api/config?room=studio")).json()
        assert config["development"] is True
        claims = call.parts.authority.verify(config["token"])
        claims.may_join("studio")
        assert (await call.client.get("/api/config?room=a%20b")).status == 400
        rebound = await call.client.get("/api/config", headers={"Host": "evil.example"})
        assert rebound.status == 403
    async with running_call(api_key="k", api_secret=SECRET) as call:
        config = await (await call.client.get("/api/config")).json()
        assert config["development"] is False
        assert "token" not in config


@pytest.mark.asyncio
async def test_page(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html>")
    (folder / "a.js").write_text("export {};")
    (tmp_path / "secret").write_text("no")
    async with running_call(client_folder=folder) as call:
        page = await call.client.get("/")
        assert page.status == 200
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        policy = page.headers["Content-Security-Policy"].replace("'wasm-unsafe-eval'", "")
        assert "unsafe" not in policy
        assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert page.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        script = await call.client.get("/client/a.js")
        assert script.content_type.endswith("/javascript")
        again = await call.client.get("/client/a.js", headers={"If-None-Match": script.headers["ETag"]})
        assert again.status == 304
        for path in ("/client/../secret", "/client/%2e%2e/secret", "/client/%2e%2e%2fsecret", "/client/", "/no"):
            answer = await call.client.get(path)
            assert answer.status == 404
            assert (await answer.json())["code"] == "not_found"


@pytest.mark.asyncio
async def test_files_named_by_their_content_are_kept_for_ever(tmp_path: Path) -> None:
    built = tmp_path / "built"
    (built / "onnxruntime-1.30.0").mkdir(parents=True)
    (tmp_path / "node_modules").mkdir()
    named = ("built/motion-0123456789abcdef.onnx", "built/onnxruntime-1.30.0/ort.mjs")
    others = ("built/manifest.json", "built/runtime.json", "main.js")
    hidden = ("node_modules/a.js", "built/.weights", "package.json", "package-lock.json", ".npmrc", "vendor.mjs")
    for path in (*named, *others, *hidden):
        (tmp_path / path).write_text("{}")
    async with running_call(client_folder=tmp_path) as call:
        for path in named:
            answer = await call.client.get(f"/client/{path}")
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable", path
        for path in others:
            assert (await call.client.get(f"/client/{path}")).headers["Cache-Control"] == "no-cache", path
        for path in hidden:
            assert (await call.client.get(f"/client/{path}")).status == 404, path
        assert (await (await call.client.get("/api/config")).json())["motion"] is True
        (built / "runtime.json").unlink()
        assert (await (await call.client.get("/api/config")).json())["motion"] is False


PAGE_MADE_WITH = json.dumps({"weights": "ab" * 32})


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("manifest", "receiver", "motion", "warned"),
    [
        (PAGE_MADE_WITH, "ab" * 32, True, False),
        (PAGE_MADE_WITH, "cd" * 32, False, True),
        (PAGE_MADE_WITH, None, True, False),  # the server is starting
        (None, "ab" * 32, False, False),
        ("[]", "ab" * 32, False, False),
        ('{"weights": 7}', "ab" * 32, False, False),
        ("not json", "ab" * 32, False, False),
    ],
)
async def test_the_page_sends_motion_of_the_receivers_weights_alone(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    manifest: str | None,
    receiver: str | None,
    motion: bool,
    warned: bool,
) -> None:
    built = tmp_path / "built"
    built.mkdir()
    (built / "runtime.json").write_text("{}")
    if manifest is not None:
        (built / "manifest.json").write_text(manifest)
    async with running_call(client_folder=tmp_path) as call:
        call.parts.conference.open(FakePublication, receiver)
        warn_of_other_weights(call.parts)
        for _ in range(2):
            assert (await (await call.client.get("/api/config")).json())["motion"] is motion
    lines = [record.getMessage() for record in caplog.records if record.name == "server.routes.page"]
    assert len(lines) == warned
    for words in ("ab" * 6, "cd" * 6, "VISAVIS_WEIGHTS", "make web"):
        assert all(words in line for line in lines)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "image"),
    [
        ("jpeg", JPEG),
        ("png", PNG),
        ("webp", b"RIFF\0\0\0\0WEBPVP8 "),
        ("avif", b"\0\0\0 ftypavif"),
    ],
)
async def test_source_upload(kind: str, image: bytes) -> None:
    async with running_call() as call:
        _, me = await call.join(identity="ada")
        path = f"/rooms/lobby/participants/{me['participant']}/source"
        headers = call.bearer(identity="ada") | {"Content-Type": f"image/{kind}"}
        uploaded = await call.client.put(f"{path}?index=1", data=image, headers=headers)
        assert uploaded.status == 201
        answer = await uploaded.json()
        assert answer["index"] == 1
        cached = await call.client.put(f"{path}?index=0&sha256={answer['sha256']}", headers=headers)
        assert cached.status == 201
        unknown = await call.client.put(f"{path}?sha256={'0' * 64}", headers=headers)
        assert unknown.status == 404


@pytest.mark.asyncio
async def test_mouth_windows_are_taken_and_refused_with_a_reason() -> None:
    async with running_call(uploads_per_minute=1) as call:
        _, me = await call.join(identity="ada")
        path = f"/rooms/lobby/participants/{me['participant']}/mouth"
        ada = call.bearer(identity="ada") | {"Content-Type": WINDOW_TYPE}

        async def put(path: str, body: bytes, headers: dict[str, str]) -> tuple[int, str | None]:
            answer = await call.client.put(path, data=body, headers=headers)
            return answer.status, (await answer.json()).get("code")

        assert await put(f"{path}?slot=7", b"teeth", ada) == (201, None)
        (publication,) = FakePublication.alive
        assert publication.windows == {7: b"teeth"}
        assert await put(f"{path}?slot=7&scene=255", b"teeth", ada) == (201, None)
        assert publication.scenes == {7: 255}
        assert await put(f"{path}?scene=256", b"teeth", ada) == (400, "protocol")
        assert await put(path, b"teeth", {"Content-Type": WINDOW_TYPE}) == (401, "unauthorized")
        assert await put(path, b"teeth", call.bearer(identity="eve")) == (403, "forbidden")
        assert await put(f"{path}?slot={MAX_WINDOWS}", b"teeth", ada) == (400, "protocol")
        assert await put(path, b"teeth", ada | {"Content-Type": "image/avif"}) == (415, "unsupported_media")
        assert await put(path, bytes(MAX_WINDOW_BYTES + 1), ada) == (413, "too_large")
        assert await put(path, DAMAGED, ada) == (422, "unusable_image")
        for _ in range(WINDOWS_AT_ONCE - 5):
            assert await put(path, b"teeth", ada) == (201, None)
        assert await put(path, b"teeth", ada) == (429, "too_many_requests")


@pytest.mark.asyncio
async def test_source_refusals() -> None:
    async with running_call(source_max_bytes=4096) as call:
        _, me = await call.join(identity="ada")
        path = f"/rooms/lobby/participants/{me['participant']}/source"
        ada = call.bearer(identity="ada")
        jpeg = {"Content-Type": "image/jpeg"}

        async def put(path: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
            answer = await call.client.put(path, data=body, headers=headers)
            return answer.status, (await answer.json())["code"]

        assert await put(path, JPEG, jpeg) == (401, "unauthorized")
        assert await put(path, JPEG, {"Authorization": "Bearer x"} | jpeg) == (401, "unauthorized")
        assert await put(path, JPEG, call.bearer(identity="eve") | jpeg) == (403, "forbidden")
        assert await put(path, JPEG, call.bearer("other", identity="ada") | jpeg) == (403, "forbidden")
        assert await put(path, JPEG, call.bearer(identity="ada", publish=False) | jpeg) == (403, "forbidden")
        assert await put("/rooms/lobby/participants/x/source", JPEG, ada | jpeg) == (404, "not_found")
        assert await put(f"{path}?index=4", JPEG, ada | jpeg) == (400, "protocol")
        assert await put(f"{path}?index=-1", JPEG, ada | jpeg) == (400, "protocol")
        assert await put(f"{path}?sha256=zz", b"", ada) == (400, "protocol")
        assert await put(path, JPEG + b"x" * 5000, ada | jpeg) == (413, "too_large")
        assert await put(path, JPEG, ada | {"Content-Type": "image/png"}) == (415, "unsupported_media")
        assert await put(path, PNG, ada | jpeg) == (415, "unsupported_media")
        assert await put(path, b"GIF89a", ada | jpeg) == (415, "unsupported_media")
        assert await put(path, NO_FACE, ada | jpeg) == (422, "no_face")
        assert await put(path, DAMAGED, ada | jpeg) == (422, "unusable_image")
        answer = await call.client.put(path, data=_chunks(), headers=ada | jpeg)
        assert answer.status == 413


async def _chunks() -> AsyncIterator[bytes]:
    """A body that is sent without its length."""
    for _ in range(10):
        yield JPEG * 20


@pytest.mark.asyncio
async def test_whip_and_whep() -> None:
    async with running_call(stun_urls=("stun:stun.example:3478",)) as call:
        publisher = peer_connection()
        publisher.addTransceiver("video", direction="sendonly")
        sdp_type = {"Content-Type": "application/sdp"}
        obs = call.bearer(identity="obs", name="OBS")
        created = await call.client.post("/whip/lobby", data=await offer(publisher), headers=obs | sdp_type)
        assert created.status == 201
        assert created.content_type == "application/sdp"
        assert (await created.text()).startswith("v=0")
        assert created.headers["Link"] == '<stun:stun.example:3478>; rel="ice-server"'
        session = urljoin("/whip/lobby", created.headers["Location"])
        participant = session.rsplit("/", 1)[1]
        (entry,) = [p.entry() for p in call.parts.conference.rooms.roster("lobby")]
        assert (entry["name"], entry["kind"]) == ("OBS", "camera")

        player = peer_connection()
        player.addTransceiver("video", direction="recvonly")
        player.addTransceiver("audio", direction="recvonly")
        viewer = call.bearer(identity="v")
        path = f"/whep/lobby/{participant}"
        watching = await call.client.post(path, data=await offer(player), headers=viewer | sdp_type)
        assert watching.status == 201
        location = urljoin(path, watching.headers["Location"])

        assert (await call.client.delete(session, headers=viewer)).status == 403
        assert (await call.client.delete(session)).status == 401
        assert (await call.client.delete(location, headers=viewer)).status == 200
        assert (await call.client.delete(location, headers=viewer)).status == 404
        assert (await call.client.delete(session, headers=obs)).status == 200
        assert (await call.client.delete(session, headers=obs)).status == 404
        assert call.parts.conference.rooms.roster("lobby") == []
        await publisher.close()
        await player.close()


@pytest.mark.asyncio
async def test_whip_refusals_leave_the_room_empty() -> None:
    async with running_call() as call:
        sdp_type = {"Content-Type": "application/sdp"}
        bearer = call.bearer()
        cases = [
            (bearer | sdp_type, "nonsense", 400),
            (bearer | sdp_type, "v=0\r\nx\r\n" * 10_000, 413),
            (bearer | {"Content-Type": "text/plain"}, "v=0", 415),
            (sdp_type, "v=0", 401),
            (call.bearer("other") | sdp_type, "v=0", 403),
            (call.bearer(publish=False) | sdp_type, "v=0", 403),
        ]
        for headers, body, status in cases:
            answer = await call.client.post("/whip/lobby", data=body, headers=headers)
            assert answer.status == status
        assert (await call.client.get("/whip/lobby")).status == 405
        preflight = await call.client.options("/whip/lobby")
        assert preflight.headers["Accept-Post"] == "application/sdp"
        assert (await call.client.post("/whep/lobby/x", data="v=0", headers=bearer | sdp_type)).status == 404
        assert call.parts.conference.rooms.names() == []
