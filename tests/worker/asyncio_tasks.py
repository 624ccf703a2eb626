"""Coroutines, and what runs beside them, for tests of the asyncio pool."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from litequeue import current_task
from litequeue.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from tests.worker.exercise import add, app, note

color: contextvars.ContextVar[str] = contextvars.ContextVar("color", default="none")
background: set[asyncio.Task[Any]] = set()
_barriers: dict[str, Any] = {}


async def exists(path: str) -> None:
    """Wait for a file, and let the loop go on."""
    while not os.path.exists(path):
        await asyncio.sleep(0.002)


@app.task
async def meet(name: str, parties: int) -> int:
    """Go on once so many coroutines are here at the same time; they share the barrier, as they do the loop."""
    barrier = _barriers.setdefault(name, asyncio.Barrier(parties))
    async with asyncio.timeout(20), barrier:
        return id(asyncio.get_running_loop())


@app.task
def meet_in_threads(name: str, parties: int) -> int:
    _barriers.setdefault(name, threading.Barrier(parties)).wait(20)
    return threading.get_ident()


@app.task
async def loop_thread() -> int:
    return threading.get_ident()


@app.task(bind=True)
async def wait_here(self: Any, path: str, log: str) -> str:
    """Wait for `path`; a cancellation is noted, and cleaned up behind."""
    note(log, f"start {self.request.id}")
    try:
        await exists(path)
    except BaseException as error:
        note(log, f"{type(error).__name__} {isinstance(error, asyncio.CancelledError)}")
        raise
    return "waited"


@app.task(bind=True)
async def stubborn(self: Any, path: str, log: str) -> str:
    """Take no notice of being cancelled."""
    note(log, f"start {self.request.id}")
    while not os.path.exists(path):
        try:
            await exists(path)
        except asyncio.CancelledError:
            note(log, "cancelled")
    return "stayed"


@app.task(bind=True)
async def who_am_i(self: Any, number: int) -> bool:
    """Whether everything that is known of the running task stays its own while others run in between."""
    before = (self.request.id, self.request.args, color.get())
    color.set(f"color {number}")
    for _ in range(5):
        await asyncio.sleep(0.001)
    inside = await asyncio.create_task(_request_id())
    after = (self.request.id, current_task.request.id, inside, color.get())
    own = before[0]
    return before == (own, [number], "none") and after == (own, own, own, f"color {number}")


async def _request_id() -> Any:
    return current_task.request.id


@app.task
def colour_in_thread(value: str) -> str:
    before = color.get()
    color.set(value)
    return before


@app.task
async def caught(path: str) -> str:
    try:
        await exists(path)
    except SoftTimeLimitExceeded as error:
        task = asyncio.current_task()
        assert task is not None
        return f"{type(error).__name__} {task.cancelling()}"
    return "in time"


@app.task
async def caught_twice(path: str) -> str:
    """Interrupted while it cleans up after an interrupt."""
    try:
        await exists(path)
    except SoftTimeLimitExceeded:
        await exists(path)
    return "in time"


@app.task
async def in_task_group(path: str, log: str) -> str:
    """Interrupted while its children run: they are cancelled first."""

    async def child(number: int) -> None:
        try:
            await exists(path)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            note(log, f"child {number} cleaned up")
            raise

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(child(number))
    except SoftTimeLimitExceeded:
        note(log, "parent")
        return "caught"
    return "in time"


@app.task
async def in_wait_for(path: str, log: str) -> str:
    async def child() -> None:
        try:
            await exists(path)
        finally:
            note(log, "child")

    try:
        await asyncio.wait_for(child(), 30)
    except SoftTimeLimitExceeded:
        note(log, "parent")
        return "caught"
    return "in time"


@app.task
async def deaf_child(path: str) -> str:
    """Interrupted while it waits for something that swallows its cancellation."""

    async def child() -> str:
        try:
            await exists(path)
        except asyncio.CancelledError:
            return "swallowed"
        return "in time"

    try:
        return await asyncio.create_task(child())
    except SoftTimeLimitExceeded:
        return "caught"


@app.task
async def own_timeout() -> str:
    """asyncio's own time-outs work as anywhere, also after an interrupt."""
    try:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(30)
    except TimeoutError:
        pass
    try:
        await asyncio.sleep(30)
    except SoftTimeLimitExceeded:
        pass
    try:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(30)
    except TimeoutError:
        return "timed out twice"
    return "not timed out"


@app.task
async def cancel_self(wait: bool) -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    if wait:
        await asyncio.sleep(30)
    return "returned"


@app.task
async def cancel_the_others() -> int:
    """What no task should do: cancel everything on the loop but itself."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    return len(others)


@app.task
async def leave_behind(path: str, log: str) -> str:
    """Start something on the loop that goes on after the task has ended."""

    async def go_on() -> None:
        try:
            await exists(path)
            note(log, f"went on {current_task.request.id}")
        except asyncio.CancelledError:
            note(log, "cancelled")
            raise

    background.add(asyncio.create_task(go_on()))
    return "left"


@app.task
async def exit_in_background() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    background.add(asyncio.create_task(leave()))


@app.task
async def group_of_errors() -> None:
    async def fail(error: Exception) -> None:
        raise error

    async with asyncio.TaskGroup() as group:
        group.create_task(fail(ValueError("one")))
        group.create_task(fail(KeyError("two")))


@app.task
async def fail_soon(kind: str) -> None:
    await asyncio.sleep(0)
    raise {"error": ValueError, "exit": SystemExit, "keyboard": KeyboardInterrupt, "generator": GeneratorExit}[kind](
        "because"
    )


@app.task(bind=True, max_retries=3)
async def retry_soon(self: Any, times: int) -> int:
    await asyncio.sleep(0)
    if self.request.retries < times:
        raise self.retry(countdown=0.01)
    return int(self.request.retries)


@app.task(autoretry_for=(ValueError,), retry_backoff=False, default_retry_delay=0.01, max_retries=2)
async def retried_for_it(path: str) -> str:
    await asyncio.sleep(0)
    if not os.path.exists(path):
        note(path, "there")
        raise ValueError("not there")
    return "there"


@app.task
async def ignored() -> None:
    await asyncio.sleep(0)
    raise Ignore


@app.task(bind=True)
async def rejected(self: Any) -> int:
    await asyncio.sleep(0)
    if self.request.delivery_info["redelivered"]:
        return int(self.request.attempt)
    raise Reject("no", requeue=True)


@app.task(bind=True)
async def replaced(self: Any, x: int) -> Any:
    await asyncio.sleep(0)
    raise self.replace(add.s(x, 1))


@app.task
async def increase(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


@app.task
async def total(numbers: list[int]) -> int:
    await asyncio.sleep(0)
    return sum(numbers)


@app.task
async def ask_another(x: int) -> int:
    """Wait for a task that the same worker runs, and let the loop go on meanwhile."""
    return int(await increase.delay(x)) + 10


@app.task
async def apply_in_place(x: int) -> int:
    return int(increase.apply((x,)).result)


@app.task
async def block(path: str) -> str:
    """Keep the loop from going on."""
    while not os.path.exists(path):
        time.sleep(0.01)
    return "blocked"


@app.task
async def block_in_child(path: str) -> None:
    async def child() -> None:
        while not os.path.exists(path):
            time.sleep(0.01)

    await asyncio.create_task(child())


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that knows nothing of coroutines."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


@app.task
@wrapped
async def hidden(path: str = "") -> tuple[int, bool]:
    """A coroutine that only shows when the function has been called."""
    if path:
        await exists(path)
    return threading.get_ident(), current_task.request.id is not None


class Handled(app.Task):
    """Notes the steps around its coroutine."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        note(args[0], "call")
        return super().__call__(*args, **kwargs)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        note(args[0], "before_start")

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        note(args[0], f"on_success {retval} {self.request.id == task_id}")

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(args[0], f"on_failure {exc}")

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(args[0], f"after_return {status}")


@app.task(base=Handled)
async def handled(log: str, fail: bool = False) -> str:
    await asyncio.sleep(0)
    note(log, "run")
    if fail:
        raise ValueError("no")
    return "value"


@app.task(acks_late=False)
async def once(path: str) -> None:
    await exists(path)


@app.task(bind=True)
def cleaning_up(self: Any, path: str, log: str) -> str:
    """A task in a thread that is interrupted."""
    note(log, f"start {self.request.id}")
    try:
        while not os.path.exists(path):
            time.sleep(0.002)
    except BaseException as error:
        note(log, type(error).__name__)
        raise
    return "waited"
