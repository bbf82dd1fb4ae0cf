"""Every metric of the receiver, behind small verbs; call sites never touch the metrics library.

Names follow Prometheus practice: seconds, bytes, `_total` on counters. Served by `GET /metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

STAGES = ("capture", "extract", "encode", "network", "playout", "queue", "render", "video_encode", "total")
"""The way of one frame, from capture to encoded packet (docs/architecture.md)."""

_LATENCY_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.16, 0.25, 0.5, 1.0, 2.0)
_SLOW_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class _DroppedDatagrams(Collector):
    """Counters that are kept where datagrams are read: nothing is counted twice."""

    def __init__(self, dropped: Callable[[], Mapping[str, int]]) -> None:
        self._dropped = dropped

    def collect(self) -> Iterable[Metric]:
        """Read them."""
        family = CounterMetricFamily(
            "visavis_udp_dropped", "Datagrams that the shared UDP port dropped", labels=["reason"]
        )
        for reason, count in self._dropped().items():
            family.add_metric([reason], count)
        yield family


class _GpuMemory(Collector):
    """Memory of the GPU, read at each scrape."""

    def __init__(self, memory: Callable[[], tuple[int, int]]) -> None:
        self._memory = memory

    def collect(self) -> Iterable[Metric]:
        """Read it."""
        free, total = self._memory()
        for name, text, value in (("used", "that is taken, by anybody", total - free), ("total", "that it has", total)):
            yield GaugeMetricFamily(f"visavis_gpu_memory_{name}_bytes", f"Memory of the GPU {text}", value)


class Metrics:
    """All metrics of one process, in a registry of their own so that tests can hold several."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # CPU time, memory and descriptors, on Linux
        self._rooms = Gauge("visavis_rooms", "Rooms with at least one participant", registry=registry)
        self._participants = Gauge("visavis_participants", "Participants in all rooms", registry=registry)
        self._publications = Gauge("visavis_publications", "Participants that publish", registry=registry)
        self._subscriptions = Gauge("visavis_subscriptions", "Viewer connections", registry=registry)
        self._tasks = Gauge("visavis_tasks", "Tasks of the event loop", registry=registry)
        self._joins = Counter("visavis_joins_total", "Joins", ["client", "resumed"], registry=registry)
        self._leaves = Counter("visavis_leaves_total", "Participants that went", ["reason"], registry=registry)
        self._errors = Counter("visavis_errors_total", "Requests refused, by code", ["code"], registry=registry)
        self._connections = Counter(
            "visavis_connections_total", "Peer connections that ended, by outcome", ["outcome"], registry=registry
        )
        self._traffic = Counter(
            "visavis_media_bytes_total",
            "DTLS, SRTP and SRTCP of all peer connections, without the headers of UDP and IP",
            ["direction"],
            registry=registry,
        )
        self._webhooks = Counter("visavis_webhooks_total", "Events for the webhook", ["outcome"], registry=registry)
        self._requests = Histogram(
            "visavis_request_seconds",
            "Time of one HTTP or WebSocket request",
            ["route"],
            buckets=_SLOW_BUCKETS,
            registry=registry,
        )
        self._stages = Histogram(
            "visavis_stage_seconds",
            "Time of one frame in one stage of the pipeline",
            ["stage"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self._frames = Counter("visavis_frames_total", "Frames, by what became of them", ["outcome"], registry=registry)
        self._render_seconds = Counter(
            "visavis_render_seconds_total", "Busy time of the render engine", registry=registry
        )
        self._promised = Gauge("visavis_promised_views", "Views that are promised to be rendered", registry=registry)
        self._picture_cost = Gauge(
            "visavis_picture_cost_seconds", "What a picture takes of the render engine now", registry=registry
        )
        self._rate_share = Gauge(
            "visavis_rate_share", "Share of the full rate that each promised view gets", registry=registry
        )
        self._load = Gauge(
            "visavis_load", "Views that are promised, as a share of those that can be rendered", registry=registry
        )
        self._overloaded = Gauge("visavis_overloaded", "1 while pictures come slower than promised", registry=registry)
        self._sources = Counter("visavis_sources_total", "Source images", ["outcome"], registry=registry)
        self._enrol = Histogram(
            "visavis_enrol_seconds", "Time to enrol a source image", buckets=_SLOW_BUCKETS, registry=registry
        )

    def tasks(self, count: int) -> None:
        """Tasks of the event loop at present."""
        self._tasks.set(count)

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self._registry)

    # Signalling

    def occupancy(self, rooms: int, participants: int, publications: int, subscriptions: int) -> None:
        """What is there at present."""
        self._rooms.set(rooms)
        self._participants.set(participants)
        self._publications.set(publications)
        self._subscriptions.set(subscriptions)

    def load(self, promised: int, capacity: float, cost: float | None, rate_share: float, overloaded: bool) -> None:
        """How much there is to render: views, of how many, seconds a picture (None: not known), rate for each view."""
        self._promised.set(promised)
        self._load.set(promised / capacity)
        self._picture_cost.set(cost or 0.0)
        self._rate_share.set(rate_share)
        self._overloaded.set(overloaded)

    def joined(self, client: str, resumed: bool) -> None:
        """A participant joined, or came back with a resume token."""
        self._joins.labels(client, str(resumed).lower()).inc()

    def left(self, reason: str) -> None:
        """A participant went; reason: left, silent, closed, replaced, moved, removed, room_closed."""
        self._leaves.labels(reason).inc()

    def refused(self, code: str) -> None:
        """A request was answered with an error."""
        self._errors.labels(code).inc()

    def connection_ended(self, outcome: str) -> None:
        """A peer connection ended; outcome: closed, failed or timeout."""
        self._connections.labels(outcome).inc()

    def traffic(self, received: int, sent: int) -> None:
        """Bytes that went over peer connections since this was said last."""
        self._traffic.labels("received").inc(received)
        self._traffic.labels("sent").inc(sent)

    def watch_gpu(self, memory: Callable[[], tuple[int, int]]) -> None:
        """Read at each scrape: bytes of the GPU's memory that are free, and all of them."""
        self._registry.register(_GpuMemory(memory))

    def webhook(self, outcome: str) -> None:
        """What became of one event: delivered, refused, failed or dropped."""
        self._webhooks.labels(outcome).inc()

    def watch_udp_port(self, connections: Callable[[], int], dropped: Callable[[], Mapping[str, int]]) -> None:
        """Read at each scrape: connections of the shared port, and the datagrams it dropped by reason."""
        gauge = Gauge("visavis_udp_connections", "Connections that share the UDP port", registry=self._registry)
        gauge.set_function(connections)
        self._registry.register(_DroppedDatagrams(dropped))

    def watch_nodes(self, reachable: Callable[[], bool]) -> None:
        """Read at each scrape: whether Redis, in which nodes find each other, answers."""
        gauge = Gauge("visavis_nodes_reachable", "1 while Redis answers", registry=self._registry)
        gauge.set_function(reachable)

    @contextmanager
    def request(self, route: str) -> Iterator[None]:
        """Time one request."""
        begin = perf_counter()
        try:
            yield
        finally:
            self._requests.labels(route).observe(perf_counter() - begin)

    # Pipeline (the verbs of server.receiver.observer)

    def stage(self, name: str, seconds: float) -> None:
        """One frame spent `seconds` in one of `STAGES`."""
        self._stages.labels(name).observe(max(0.0, seconds))

    def frame_rendered(self, seconds: float) -> None:
        """One frame was rendered; `seconds` is its share of the batch's render time."""
        self._frames.labels("rendered").inc()
        self._render_seconds.inc(max(0.0, seconds))

    def frame_dropped(self, reason: str) -> None:
        """One frame was given up: late, stale, busy, slow_viewer or malformed."""
        self._frames.labels(reason).inc()

    # Source images

    def source_enrolled(self, seconds: float) -> None:
        """An uploaded source image was checked and enrolled."""
        self._sources.labels("enrolled").inc()
        self._enrol.observe(seconds)

    def source_cached(self) -> None:
        """A source image was found in the cache: nothing was uploaded."""
        self._sources.labels("cached").inc()

    def source_refused(self) -> None:
        """A source image could not be used."""
        self._sources.labels("refused").inc()
