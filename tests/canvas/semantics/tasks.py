"""Tasks that write down what they did, so that a canvas can be read from its journal and its values.

`step("a")` returns `"a"`, `step(1, "a")` returns `"a(1)"`, `step([1, "b"], "a")` returns `"a([1,b])"`: a value shows
the whole path that led to it.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from litequeue import LiteQueue, Task, chain, chord, group, signature
from litequeue.exceptions import Ignore, Reject

app = LiteQueue(
    "canvas",
    broker="unused.db",
    durability="normal",
    include=("tests.canvas.semantics.acting",),  # for child processes, which load this module alone
    set_as_current=False,
)


def journal() -> Path:
    """Where the tasks write."""
    return Path(app.store.path + ".journal")


def note(*entry: Any) -> None:
    """Append one entry; every process may."""
    fd = os.open(journal(), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, (json.dumps(entry, default=repr) + "\n").encode())
    finally:
        os.close(fd)


def shown(value: Any) -> str:
    """A value as text: lists in brackets, nothing quoted."""
    return f"[{','.join(map(shown, value))}]" if isinstance(value, (list, tuple)) else str(value)


def call(name: str, *inputs: Any) -> str:
    """What `step` returns."""
    return f"{name}({','.join(map(shown, inputs))})" if inputs else name


# Plain tasks


@app.task
def step(*args: Any, **kwargs: Any) -> str:
    *inputs, name = args
    inputs += [f"{key}={value}" for key, value in sorted(kwargs.items())]
    note("step", name, *inputs)
    return call(name, *inputs)


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def mul(x: int, y: int) -> int:
    return x * y


@app.task
def tsum(numbers: list[int]) -> int:
    return sum(numbers)


@app.task
def same(value: Any) -> Any:
    note("same", value)
    return value


@app.task(bind=True)
def pair(self: Any, *args: Any, **kwargs: Any) -> list[Any]:
    """Its arguments, and how it was sent."""
    request = self.request
    note("pair", args, kwargs, request.queue, request.priority, request.eta, request.expires)
    return [list(args), kwargs]


@app.task(ignore_result=True)
def silent(*args: Any) -> str:
    *inputs, name = args
    note("silent", name, *inputs)
    return call(name, *inputs)


@app.task(bind=True)
def who(self: Any, *args: Any) -> str:
    """Write down the ids of the request."""
    *_, name = args
    request = self.request
    note(
        "who",
        name,
        {
            "id": request.id,
            "root": request.root_id,
            "parent": request.parent_id,
            "group": request.group,
            "index": request.group_index,
        },
    )
    return str(name)


@app.task(bind=True)
def around(self: Any, *args: Any) -> str:
    """Write down what of the canvas the request tells."""
    request = self.request
    listed = {
        key: [_brief(entry) for entry in getattr(request, key) or ()] for key in ("chain", "callbacks", "errbacks")
    }
    note("around", args[-1], {**listed, "chord": _brief(request.chord) if request.chord else None})
    return str(args[-1])


def _brief(entry: Any) -> list[Any]:
    return [entry["task"], *entry["args"]]


# Tasks that do not end well


class Bad(Exception):
    """What `fail` raises."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.args == self.args

    def __hash__(self) -> int:
        return hash(self.args)


@app.task
def fail(*args: Any) -> None:
    note("fail", args[-1])
    raise Bad(args[-1])


def wait_for(path: str) -> None:
    """Return when there is a file `path`, after some seconds at the latest: no worker is to hang with a test."""
    deadline = time.monotonic() + 10
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.002)


@app.task
def fail_when_there(path: str, name: str) -> None:
    """Fail as soon as there is a file `path`."""
    wait_for(path)
    note("fail", name)
    raise Bad(name)


@app.task
def make(path: str) -> str:
    Path(path).touch()
    return "made"


@app.task
def until_there(path: str, value: Any) -> Any:
    """Run until there is a file `path`."""
    note("until", value)
    wait_for(path)
    return value


@app.task(bind=True, max_retries=None)
def flaky(self: Any, *args: Any) -> str:
    """`step`, after as many tries as the last argument says."""
    *inputs, name, failures = args
    note("flaky", name, self.request.retries)
    if self.request.retries < failures:
        raise self.retry(countdown=0)
    return call(name, *inputs)


@app.task(bind=True, max_retries=1)
def hopeless(self: Any, *args: Any) -> None:
    note("hopeless", args[-1], self.request.retries)
    raise self.retry(countdown=0, exc=Bad(args[-1]))


@app.task
def ignored(*args: Any) -> None:
    note("ignored", args[-1])
    raise Ignore()


@app.task
def rejected(*args: Any) -> None:
    note("rejected", args[-1])
    raise Reject("no", requeue=False)


# Callbacks


@app.task(bind=True)
def told(self: Any, *args: Any, **kwargs: Any) -> str:
    """A callback, or an old-style error callback: one that takes any arguments is that because it is bound."""
    note("told", *args, *kwargs.values())
    return "told"


@app.task
def errback(task_id: str) -> str:
    """Old style: it gets the id of what failed."""
    note("errback", task_id)
    return f"errback of {task_id}"


@app.task
def new_errback(request: Any, exc: Any, traceback: Any) -> str:
    """New style."""
    note("new_errback", request.id, repr(exc), isinstance(traceback, str) and "Bad" in traceback)
    return "new"


@app.task(bind=True)
def bound_errback(self: Any, *args: Any) -> str:
    note("bound_errback", *args, self.request.parent_id)
    return "bound"


@app.task
def error_seen(task_id: str) -> None:
    """An old-style errback that reads the result, as programs do."""
    result = app.AsyncResult(task_id)
    note("error_seen", repr(result.get(propagate=False)), result.state, "Bad" in str(result.traceback))


# Tasks that change their canvas


@app.task(bind=True)
def become(self: Any, *args: Any) -> Any:
    """Replace itself by the signature that is the last argument."""
    *inputs, wish = args
    note("become", *inputs)
    raise self.replace(signature(wish, app=self.app))


class Stamping(Task):
    """Stamps what takes its place."""

    abstract = True

    def on_replace(self, sig: Any) -> Any:
        sig.stamp(more=1)
        return super().on_replace(sig)


@app.task(bind=True, base=Stamping)
def stamping(self: Any, wish: Any) -> Any:
    raise self.replace(signature(wish, app=self.app))


@app.task(bind=True)
def become_and_return(self: Any, wish: Any) -> Any:
    return self.replace(signature(wish, app=self.app))


@app.task(bind=True)
def enlarge(self: Any, *args: Any) -> str:
    """Add the signature that is the last argument to its chord."""
    *inputs, name, wish = args
    note("enlarge", name, *inputs)
    self.add_to_chord(signature(wish, app=self.app))
    return call(name, *inputs)


@app.task(bind=True)
def enlarge_and_become(self: Any, more: Any, wish: Any) -> Any:
    self.add_to_chord(signature(more, app=self.app))
    raise self.replace(signature(wish, app=self.app))


@app.task(bind=True)
def drop(self: Any, *args: Any) -> str:
    """Take something off its own request: `drop(..., "callbacks")`."""
    setattr(self.request, args[-1], None)
    note("drop", args[-1])
    return "dropped"


@app.task
def wish() -> Any:
    return step.s("wished")


@app.task
def nested_wish() -> Any:
    """A canvas of nine nestings."""
    canvas: Any = step.s("a")
    for _ in range(3):
        canvas = chord([chain(step.s("b"), group(canvas, step.s("c")))], step.s("d"))
    return canvas


@app.task(bind=True)
def send_group(self: Any) -> Any:
    return group(step.s("a"), step.s("b"))()
