"""Render engine: batching by deadline, bounds, failures, closing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from model.description import Profile
from model.errors import InputError, WeightsError
from model.keypoint_layout import KeypointLayout
from model.motion import View
from server.receiver.render_engine import ENGINE_THREAD, EngineError, EngineSettings, RenderedPicture, RenderEngine
from server.receiver.torch_renderer import TorchRenderer
from tests.server.fakes import SIZE, FakeClock, K, PaintingModel, frame_time, motion, render_engine, until

GREY = np.full((SIZE, SIZE, 3), 100, np.uint8)


async def ask(
    engine: RenderEngine, state: Any, yaw: float, deadline: float, size: int | None = None
) -> RenderedPicture | None:
    future: asyncio.Future[RenderedPicture | None] = asyncio.get_running_loop().create_future()
    assert engine.submit(state, motion(yaw), View(), frame_time(), deadline, future.set_result, size)
    return await asyncio.wait_for(future, 10)


@pytest.mark.asyncio
async def test_renders_to_yuv_planes() -> None:
    engine = render_engine(PaintingModel())
    await engine.start()
    state = await engine.enrol(GREY)
    rendered = await ask(engine, state, 10.0, float("inf"))
    await engine.close()
    assert rendered is not None
    assert rendered.planes.shape == (SIZE * 3 // 2, SIZE)
    assert rendered.planes.dtype == np.uint8
    assert abs(int(rendered.planes[0, 0]) - (16 + 110 * 219 / 255)) <= 1


@pytest.mark.asyncio
async def test_each_picture_has_the_size_that_it_was_asked_for_with() -> None:
    """In one batch: pictures of one size are rendered in one call."""
    model = PaintingModel(Profile("fake", KeypointLayout(K), SIZE, sharp_size=2 * SIZE), gate=threading.Event())
    engine = render_engine(model)
    assert engine.sizes == (SIZE, 2 * SIZE)
    await engine.start()
    state = await engine.enrol(GREY)
    waiting = [asyncio.create_task(ask(engine, state, 0.0, float("inf")))]
    await until(lambda: model.entered == 1)
    sizes = [None, 2 * SIZE, SIZE, 2 * SIZE]
    waiting += [asyncio.create_task(ask(engine, state, 0.0, float("inf"), size)) for size in sizes]
    await until(lambda: engine.load == 4)
    assert model.gate is not None
    model.gate.set()
    rendered = await asyncio.gather(*waiting)
    await engine.close()
    assert [None if one is None else one.planes.shape[1] for one in rendered] == [SIZE, SIZE, 2 * SIZE, SIZE, 2 * SIZE]
    assert sorted(model.batches) == [1, 1, 1, 2]


class PaintingGraphs(PaintingModel):
    engine = "graphs"


@pytest.mark.asyncio
async def test_graphs_take_one_frame_at_a_time() -> None:
    model = PaintingGraphs(gate=threading.Event())
    engine = render_engine(model)
    await engine.start()
    state = await engine.enrol(GREY)
    waiting = [asyncio.create_task(ask(engine, state, 0.0, float("inf"))) for _ in range(3)]
    await until(lambda: engine.load >= 2)
    assert model.gate is not None
    model.gate.set()
    await asyncio.gather(*waiting)
    await engine.close()
    assert model.batches == [1, 1, 1]


@pytest.mark.asyncio
async def test_waiting_requests_share_batches_earliest_deadline_first() -> None:
    model = PaintingModel(gate=threading.Event())
    clock = FakeClock()
    engine = render_engine(model, EngineSettings(max_batch=4), clock)
    await engine.start()
    state = await engine.enrol(GREY)
    order: list[int] = []
    done = asyncio.Event()

    def note(i: int) -> None:
        order.append(i)
        if len(order) == 7:
            done.set()

    assert engine.submit(state, motion(), View(), frame_time(), 200.0, lambda _: note(0))
    await until(lambda: engine.load == 0)  # the thread holds the first
    for i in range(1, 7):
        assert engine.submit(state, motion(), View(), frame_time(), 300.0 - i, lambda _, i=i: note(i))  # type: ignore[misc]
    assert model.gate is not None
    model.gate.set()
    await asyncio.wait_for(done.wait(), 10)
    await engine.close()
    assert model.batches == [1, 4, 2]
    assert order == [0, 6, 5, 4, 3, 2, 1]
    assert engine.statistics.rendered == 7


@pytest.mark.asyncio
async def test_stale_requests_are_given_up() -> None:
    clock = FakeClock()
    engine = render_engine(PaintingModel(), clock=clock)
    await engine.start()
    state = await engine.enrol(GREY)
    assert await ask(engine, state, 0.0, clock.now - 0.1) is None
    assert engine.statistics.stale == 1
    assert await ask(engine, state, 0.0, clock.now + 0.1) is not None
    await engine.close()


@pytest.mark.asyncio
async def test_full_queue_refuses_and_closing_answers_all() -> None:
    model = PaintingModel(gate=threading.Event())
    engine = render_engine(model, EngineSettings(max_queue=3))
    await engine.start()
    state = await engine.enrol(GREY)
    answers: list[RenderedPicture | None] = []
    assert engine.submit(state, motion(), View(), frame_time(), float("inf"), answers.append)
    await until(lambda: engine.load == 0)
    accepted = [engine.submit(state, motion(), View(), frame_time(), float("inf"), answers.append) for _ in range(5)]
    assert accepted == [True] * 3 + [False] * 2
    assert engine.statistics.refused == 2
    assert model.gate is not None
    closing = asyncio.create_task(engine.close())
    await asyncio.sleep(0)
    model.gate.set()
    await asyncio.wait_for(closing, 10)
    assert len(answers) == 4
    assert answers[0] is not None
    assert answers[1:] == [None] * 3


@pytest.mark.asyncio
async def test_wrong_motion_is_refused_before_it_reaches_a_batch() -> None:
    engine = render_engine(PaintingModel())
    await engine.start()
    state = await engine.enrol(GREY)
    with pytest.raises(InputError):
        engine.submit(state, motion(keypoints=5), View(), frame_time(), float("inf"), lambda _: None)
    with pytest.raises(InputError):
        engine.submit(state, motion(float("nan")), View(), frame_time(), float("inf"), lambda _: None)
    await engine.close()


@pytest.mark.asyncio
async def test_a_failed_batch_does_not_stop_the_engine(caplog: pytest.LogCaptureFixture) -> None:
    model = PaintingModel()
    engine = render_engine(model)
    await engine.start()
    state = await engine.enrol(GREY)
    model.fail = True
    assert await ask(engine, state, 0.0, float("inf")) is None
    model.fail = False
    assert await ask(engine, state, 0.0, float("inf")) is not None
    assert engine.statistics.failed == 1
    assert "could not be rendered" in caplog.text
    await engine.close()


@pytest.mark.asyncio
async def test_closing_is_idempotent_and_leaves_no_thread() -> None:
    before = threading.active_count()
    engine = render_engine(PaintingModel())
    await engine.start()
    with pytest.raises(EngineError):
        await engine.start()
    await engine.close()
    await engine.close()
    # The pool thread of to_thread belongs to the loop; the engine's own is gone.
    assert not [t for t in threading.enumerate() if t.name == "render-engine"]
    assert threading.active_count() <= before + 1
    assert not engine.submit(None, motion(), View(), frame_time(), 0.0, lambda _: None)  # type: ignore[arg-type]
    with pytest.raises(EngineError):
        await engine.enrol(GREY)


@pytest.mark.asyncio
async def test_too_much_to_do_starves_nobody() -> None:
    """Eight streams ask at the same instants, and only half of what they ask can be rendered."""
    clock = FakeClock()
    model = PaintingModel()
    engine = render_engine(model, EngineSettings(max_batch=4), clock)
    await engine.start()
    state = await engine.enrol(GREY)
    served = [0] * 8
    for turn in range(12):
        model.gate = threading.Event()
        answers: list[tuple[int, bool]] = []
        assert engine.submit(state, motion(), View(), frame_time(), clock.now, lambda _: None)
        await until(lambda n=2 * turn + 1: bool(model.entered == n))  # type: ignore[misc]
        for stream in range(8):

            def note(rendered: RenderedPicture | None, stream: int = stream, answers: list[Any] = answers) -> None:
                answers.append((stream, rendered is not None))

            engine.submit(state, motion(), View(), frame_time(), clock.now + 0.05, note)
        gate, model.gate = model.gate, threading.Event()
        gate.set()  # the next batch of four is taken now and waits at the new gate
        await until(lambda n=2 * turn + 2: bool(model.entered == n))  # type: ignore[misc]
        clock.now += 0.1  # the other four are too late
        model.gate.set()
        await until(lambda a=answers: len(a) == 8)  # type: ignore[misc]
        for stream, rendered in answers:
            served[stream] += rendered
    await engine.close()
    assert sum(served) == 48
    assert min(served) >= 3


def slowly(gate: threading.Event, error: Exception | None = None) -> Callable[[], TorchRenderer]:
    def load() -> TorchRenderer:
        assert gate.wait(10)
        if error is not None:
            raise error
        return TorchRenderer(PaintingModel())

    return load


@pytest.mark.asyncio
async def test_what_is_asked_while_the_model_loads_waits_for_it() -> None:
    gate = threading.Event()
    engine = RenderEngine(PaintingModel(), slowly(gate))
    await engine.start()
    assert engine.sizes == (SIZE,)
    assert not engine.on_gpu
    loaded, enrolled = asyncio.create_task(engine.loaded()), asyncio.create_task(engine.enrol(GREY))
    await asyncio.sleep(0.05)
    assert not loaded.done()
    assert not enrolled.done()
    gate.set()
    state = await enrolled
    await loaded
    rendered = await ask(engine, state, 0.0, float("inf"))
    await engine.close()
    assert rendered is not None


@pytest.mark.asyncio
async def test_an_engine_that_still_loads_is_closed_at_once() -> None:
    gate = threading.Event()
    engine = RenderEngine(PaintingModel(), slowly(gate))
    await engine.start()
    enrolled = asyncio.create_task(engine.enrol(GREY))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        await engine.close()
        with pytest.raises(EngineError):
            await enrolled
    gate.set()
    await until(lambda: not any(thread.name == ENGINE_THREAD for thread in threading.enumerate()))


@pytest.mark.asyncio
async def test_a_model_that_cannot_be_loaded_is_told_to_all_who_wait() -> None:
    gate = threading.Event()
    engine = RenderEngine(PaintingModel(), slowly(gate, WeightsError("damaged")))
    await engine.start()
    answer: asyncio.Future[RenderedPicture | None] = asyncio.get_running_loop().create_future()
    state: Any = None
    assert engine.submit(state, motion(), View(), frame_time(), float("inf"), answer.set_result)
    enrolled = asyncio.create_task(engine.enrol(GREY))
    gate.set()
    with pytest.raises(WeightsError):
        await engine.loaded()
    with pytest.raises(EngineError, match="damaged"):
        await enrolled
    assert await asyncio.wait_for(answer, 10) is None
    assert not engine.submit(state, motion(), View(), frame_time(), float("inf"), answer.set_result)
    await engine.close()
    with pytest.raises(EngineError):
        await engine.loaded()
