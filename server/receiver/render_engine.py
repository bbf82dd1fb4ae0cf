"""Render engine: the one thread that runs the model, for all senders and views of the process.

Requests wait in a bounded queue ordered by deadline (earliest first). The thread takes as many as a batch holds, gives
up those whose deadline has passed, renders the rest in one call, converts them to YUV on the device and hands the
planes back to the event loop. The loop only ever appends to the queue: it never waits for the model.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import heapq
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.errors import InputError, VisavisError
from model.motion import Motion, View
from model.temporal_filter import FrameTime
from server.media.picture import Planes
from server.receiver.observer import Observer, SilentObserver
from server.receiver.render_capacity import RenderCapacity

if TYPE_CHECKING:
    from model.codec.statistics import MotionStatistics
    from model.description import Profile
    from model.source_state import SourceState
    from model.window import Window

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

ENGINE_THREAD = "render-engine"

_SAME_TIME = 0.005
"""Seconds within which deadlines count as equal."""

_LAST_LOAD_SECONDS = 0.5
"""How long closing waits for a thread that still loads."""

_LAST_BATCH_SECONDS = 5.0
"""How long the end of the interpreter waits for the thread of an engine that was not closed."""


class EngineError(VisavisError):
    """The render engine is not running, or has too much to do."""

    http_status = 503


class Known(Protocol):
    """What is known of a model before it is loaded (`model.description.Description`)."""

    @property
    def profile(self) -> Profile: ...

    @property
    def statistics(self) -> MotionStatistics: ...

    @property
    def weights_hash(self) -> str: ...


class Renderer(Protocol):
    """What the engine's thread drives (`server.receiver.torch_renderer`)."""

    on_gpu: bool
    at_once: int
    """Pictures of one call, beyond which more gain nothing."""

    def enrol(self, image: NDArray[np.uint8]) -> SourceState:
        """A source image uint8 (S, S, 3) RGB."""

    def with_windows(self, state: SourceState, windows: Sequence[Window]) -> SourceState:
        """A source image with windows beside it."""

    def render(
        self,
        states: Sequence[SourceState],
        motions: Sequence[Motion],
        views: Sequence[View],
        frame_times: Sequence[FrameTime],
        size: int | None,
    ) -> NDArray[np.uint8]:
        """Planes (B, 3S/2, S) of pictures of one size."""


@dataclass(frozen=True)
class EngineSettings:
    """Knobs of the render engine."""

    max_batch: int = 0  # frames in one call at most; 0: as many as the renderer gains by
    max_queue: int = 256  # requests that may wait; more are refused
    gather: float = 0.0  # seconds to wait for company when a request arrives at an idle engine


@dataclass(frozen=True)
class RenderedPicture:
    """One picture and what it took."""

    planes: Planes  # (3S/2, S)
    queued: float  # seconds between asking and the start of its batch
    rendering: float  # seconds of its batch, conversion and download included


@dataclass
class EngineStatistics:
    """Counts since the start."""

    rendered: int = 0
    batches: int = 0
    stale: int = 0  # given up because their deadline had passed
    refused: int = 0  # the queue was full
    failed: int = 0
    busy: float = 0.0  # seconds of the thread at work


@dataclass(order=True)
class _Request:
    urgency: int  # deadline in steps of `_SAME_TIME`
    tie_break: float  # random: when there is too much to do, chance decides who is late, not who always asked first
    order: int
    deadline: float = field(compare=False)
    state: SourceState = field(compare=False)
    motion: Motion = field(compare=False)  # of one frame, NumPy arrays
    view: View = field(compare=False)
    frame_time: FrameTime = field(compare=False)
    size: int | None = field(compare=False)
    asked: float = field(compare=False)
    done: Callable[[RenderedPicture | None], None] = field(compare=False)


class RenderEngine:
    """Batches all rendering of one process on one thread.

    `submit` and `enrol` belong to the event loop that `start` ran on.
    """

    def __init__(
        self,
        known: Known,
        load: Callable[[], Renderer],
        settings: EngineSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        metrics: Observer | None = None,
        capacity: RenderCapacity | None = None,
    ) -> None:
        """`load` gives the renderer: called once, on the engine's thread, while what is asked of it waits."""
        self.known = known
        self._load = load
        self._renderer: Renderer | None = None
        self._loaded: asyncio.Future[None] | None = None
        self.capacity = capacity or RenderCapacity(fps=25.0, share=0.0)
        self.statistics = EngineStatistics()
        self._settings = settings or EngineSettings()
        self._clock = clock
        self._metrics: Observer = metrics or SilentObserver()
        self._random = random.Random(0)
        self._order = itertools.count()
        self._requests: list[_Request] = []  # heap
        self._jobs: list[Callable[[Renderer], None]] = []  # enrolments: rare, and a new face is worth one late frame
        self._wake = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides that pictures can have, pixels, ascending."""
        return self.known.profile.sizes

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU renders; False until that is known."""
        return self._renderer is not None and self._renderer.on_gpu

    @property
    def load(self) -> int:
        """Requests that wait at present."""
        return len(self._requests)

    async def start(self) -> None:
        """Start the thread. Raises EngineError when it was started before."""
        if self._thread is not None:
            raise EngineError("the render engine is running already")
        self._loop = asyncio.get_running_loop()
        self._loaded = self._loop.create_future()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=ENGINE_THREAD, daemon=True)
        self._thread.start()
        atexit.register(self._leave)

    async def loaded(self) -> None:
        """Return when the renderer is there. Raises what loading it raised, EngineError when the engine is closed."""
        if self._thread is None or self._loaded is None:
            raise EngineError("the render engine is not running")
        await asyncio.shield(self._loaded)

    async def close(self) -> None:
        """Stop the thread after its present batch; what waits is answered with None. Idempotent.

        A thread that still loads is left behind soon: nothing can interrupt it, and it ends when it has loaded.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        assert self._loaded is not None
        loading = not self._loaded.done()
        if loading:
            self._settle_loaded(EngineError("the render engine is closed"))
        with self._wake:
            self._stopping = True
            self._wake.notify()
        atexit.unregister(self._leave)
        await asyncio.to_thread(thread.join, _LAST_LOAD_SECONDS if loading else None)
        # Answers that the thread left on the loop's queue are delivered before close returns.
        await asyncio.sleep(0)

    def _leave(self) -> None:
        """End the thread at the end of the interpreter: one that is inside the model then would abort the process."""
        with self._wake:
            thread, self._stopping = self._thread, True
            self._wake.notify()
        if thread is not None:
            thread.join(_LAST_BATCH_SECONDS)

    def submit(
        self,
        state: SourceState,
        motion: Motion,
        view: View,
        frame_time: FrameTime,
        deadline: float,
        done: Callable[[RenderedPicture | None], None],
        size: int | None = None,
    ) -> bool:
        """Ask for one picture; returns at once.

        motion: of one frame, NumPy arrays
        frame_time: when the picture is shown, and after which others; no other thread may touch its filter
        deadline: seconds of the engine's clock; a request that has not begun by then is given up.
        size: side of the picture, one of `sizes`; None: the smallest
        `done` is called once on the event loop, with None when the picture was given up or failed.
        False when the engine is closed or its queue is full; `done` is not called then.
        Raises InputError for a motion of another number of keypoints or with values that are not finite: in a batch
        it would spoil the pictures of others.
        """
        keypoints = self.known.profile.keypoints
        if motion.expression.shape != (keypoints, 3) or not np.isfinite(motion.flat()).all():
            raise InputError(f"a motion of {keypoints} keypoints and finite values is needed")
        with self._wake:
            if self._thread is None or self._stopping:
                return False
            if len(self._requests) >= self._settings.max_queue:
                self.statistics.refused += 1
                return False
            urgency = round(min(deadline, 1e9) / _SAME_TIME)
            tie_break, order = self._random.random(), next(self._order)
            request = _Request(
                urgency, tie_break, order, deadline, state, motion, view, frame_time, size, self._clock(), done
            )
            heapq.heappush(self._requests, request)
            self._wake.notify()
        return True

    async def enrol(self, image: NDArray[np.uint8]) -> SourceState:
        """Enrol a source image uint8 (S, S, 3) RGB, S one of `sizes`, on the engine's thread.

        Raises EngineError when it is closed or its renderer cannot be loaded.
        """
        return await self._call(lambda renderer: renderer.enrol(image))

    async def with_windows(self, state: SourceState, windows: Sequence[Window]) -> SourceState:
        """A source image with windows beside it, on the engine's thread. Raises EngineError when it is closed."""
        return await self._call(lambda renderer: renderer.with_windows(state, windows))

    async def _call(self, work: Callable[[Renderer], _T]) -> _T:
        try:
            await self.loaded()
        except Exception as error:
            raise EngineError(f"the render engine is not running: {error}") from None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()

        def settle(value: _T | None, error: Exception | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)  # type: ignore[arg-type]

        def job(renderer: Renderer) -> None:
            try:
                value, error = work(renderer), None
            except Exception as raised:
                value, error = None, raised
            loop.call_soon_threadsafe(settle, value, error)

        with self._wake:
            if self._thread is None or self._stopping:
                raise EngineError("the render engine is not running")
            if len(self._jobs) >= self._settings.max_queue:
                raise EngineError("the render engine has too many source images to enrol")
            self._jobs.append(job)
            self._wake.notify()
        return await future

    def _run(self) -> None:
        try:
            renderer = self._load()
        except BaseException as error:
            with self._wake:
                self._stopping = True
                waiting, self._requests = self._requests, []
            for request in waiting:
                self._answer(request, None)
            self._tell_loaded(error)
            return
        self._renderer = renderer
        self._tell_loaded(None)
        most = self._settings.max_batch or renderer.at_once
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._requests or self._jobs or self._stopping)
                if self._stopping:
                    waiting, self._requests = self._requests, []
                    jobs, self._jobs = self._jobs, []
                    break
                if self._requests and len(self._requests) < most and self._settings.gather:
                    self._wake.wait_for(lambda: self._stopping or len(self._requests) >= most, self._settings.gather)
                jobs, self._jobs = self._jobs, []
                batch, stale = self._take(most)
            for request in stale:
                self.statistics.stale += 1
                self._metrics.frame_dropped("stale")
                self._answer(request, None)
            for job in jobs:
                job(renderer)
            for size in dict.fromkeys(request.size for request in batch):
                self._render(renderer, [request for request in batch if request.size == size])
        for request in waiting:
            self._answer(request, None)
        for job in jobs:
            job(renderer)

    def _tell_loaded(self, error: BaseException | None) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop was closed under the engine
            self._loop.call_soon_threadsafe(self._settle_loaded, error)

    def _settle_loaded(self, error: BaseException | None) -> None:
        loaded = self._loaded
        if loaded is None or loaded.done():
            return
        if error is None:
            loaded.set_result(None)
        else:
            loaded.set_exception(error)
            loaded.exception()  # known, also where nobody waits for it

    def _take(self, most: int) -> tuple[list[_Request], list[_Request]]:
        """The next batch, and what is too late for one."""
        now = self._clock()
        batch: list[_Request] = []
        stale: list[_Request] = []
        while self._requests and len(batch) < most:
            request = heapq.heappop(self._requests)
            (stale if request.deadline < now else batch).append(request)
        return batch, stale

    def _render(self, renderer: Renderer, batch: list[_Request]) -> None:
        """Render requests of one size in one call."""
        begin = self._clock()
        try:
            planes = renderer.render(
                [request.state for request in batch],
                [request.motion for request in batch],
                [request.view for request in batch],
                [request.frame_time for request in batch],
                batch[0].size,
            )
        except Exception:
            # The call must go on for everybody else; the picture of this batch is missing and counted.
            _log.exception("a batch of %d frames could not be rendered", len(batch))
            self.statistics.failed += len(batch)
            for request in batch:
                self._metrics.frame_dropped("failed")
                self._answer(request, None)
            return
        taken = self._clock() - begin
        self.statistics.batches += 1
        self.statistics.rendered += len(batch)
        self.statistics.busy += taken
        assert self._loop is not None
        # As the answers below: the loop may be closed under the engine, and then nobody counts.
        with contextlib.suppress(RuntimeError):
            sharp = batch[0].size is not None and batch[0].size > self.sizes[0]
            self._loop.call_soon_threadsafe(self._measured, taken / len(batch), len(batch), begin + taken, sharp)
        for request, picture in zip(batch, planes, strict=True):
            self._metrics.frame_rendered(taken / len(batch))
            self._answer(request, RenderedPicture(picture, begin - request.asked, taken))

    def _measured(self, seconds: float, pictures: int, now: float, sharp: bool) -> None:
        for _ in range(pictures):
            self.capacity.rendered(seconds, now, sharp)

    def _answer(self, request: _Request, rendered: RenderedPicture | None) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(request.done, rendered)
        except RuntimeError:
            # The loop was closed under the engine (interpreter shutdown): nobody is left to answer.
            _log.debug("answer dropped: the event loop is closed")
