"""What /metrics says beside the numbers that others hand in."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.media.aiortc_private import close_peer
from server.metrics import Metrics
from tests.server.fakes import until
from tests.server.signalling import accept, connected, offer, peer_connection, running_call


def samples(exposition: str) -> dict[str, float]:
    """Value by name and labels."""
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }


def test_the_process_and_the_gpu_are_measured() -> None:
    metrics = Metrics()
    metrics.watch_gpu(lambda: (30, 80))
    found = samples(metrics.exposition().decode())
    assert found["visavis_gpu_memory_used_bytes[]"] == 50
    assert found["visavis_gpu_memory_total_bytes[]"] == 80
    assert found["process_resident_memory_bytes[]"] > 0
    assert found["process_cpu_seconds_total[]"] > 0
    assert found["process_open_fds[]"] < found["process_max_fds[]"]


@pytest.mark.asyncio
async def test_bytes_of_all_connections_are_counted_once() -> None:
    async with running_call() as call:
        ada, _ = await call.join("Ada")
        sending = peer_connection()
        motion = sending.createDataChannel("motion")
        answer = await ada.request("publish", sdp=await offer(sending))
        await accept(sending, answer["sdp"])
        await connected(sending)
        await until(lambda: motion.readyState == "open")
        for _ in range(20):
            motion.send(bytes(1000))
        conference = call.parts.conference

        def traffic() -> tuple[float, float]:
            found = samples(call.parts.metrics.exposition().decode())
            received, sent = (found.get(f"visavis_media_bytes_total['{way}']", 0.0) for way in ("received", "sent"))
            return received, sent

        def arrived() -> bool:
            conference.tick()
            return traffic()[0] > 20_000

        await until(arrived)
        await asyncio.sleep(0.3)
        conference.tick()
        received, sent = traffic()
        assert received < 40_000, "counted once, not at every tick"
        assert 500 < sent < 20_000
        await close_peer(sending)
    assert traffic()[0] >= received
