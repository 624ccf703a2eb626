"""Chords: a group, and the task that is called with all its results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from litequeue.canvas.composed import Composed, members
from litequeue.canvas.groups import group
from litequeue.canvas.lazy import LazyList
from litequeue.canvas.signature import Signature
from litequeue.canvas.tree import as_member, text_of, without_repeats

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue

ON_HEADER_ERROR = (None, "fail", "run_body")
"""What becomes of the body when a task of the header fails; None is "fail"."""


@Signature.register_type()
class chord(Composed):
    """A header of tasks side by side, and a body that is called with the list of their results when all have ended.

    The header is a list, a tuple, a group, a generator or one signature; of a chain, its steps. The body may be given
    later: `chord(header)(body)`. With `on_header_error="run_body"` the body also runs when tasks of the header failed,
    with the exceptions in their places.
    """

    KIND = "chord"
    TASK_NAME = "litequeue.chord"
    PARTS = ("header", "body")

    def __init__(
        self,
        header: Any,
        body: Any = None,
        task: Any = None,
        args: Any = None,
        kwargs: Any = None,
        app: LiteQueue | None = None,
        **options: Any,
    ) -> None:
        if options.get("on_header_error") not in ON_HEADER_ERROR:
            raise ValueError(f"on_header_error is 'fail' or 'run_body', not {options['on_header_error']!r}")
        options.pop("subtask_type", None)
        parts = {
            "kwargs": {},
            **(kwargs or {}),
            "header": _header(header, app),
            "body": None if body is None else as_member(body, app),
        }
        super().__init__(self.TASK_NAME, args, parts, subtask_type=self.KIND, app=app, **options)

    @property
    def tasks(self) -> Any:
        """The header: a list of tasks, or a group once the chord is frozen or stamped."""
        return self["kwargs"]["header"]

    @tasks.setter
    def tasks(self, header: Any) -> None:
        self["kwargs"]["header"] = header if isinstance(header, group) else members(header)

    header = tasks

    @property
    def header_tasks(self) -> list[Any]:
        """The tasks of the header."""
        header = self.tasks
        return header.tasks if isinstance(header, group) else header

    def header_group(self) -> group:
        """The header as a group, which it is from now on."""
        header = self.tasks
        if not isinstance(header, group):
            header = self["kwargs"]["header"] = group(header, app=self._app)
        return header

    def iter_header(self) -> Iterator[Any]:
        """The tasks of the header, one by one, for sending: those of a generator are not kept."""
        tasks = self.header_tasks
        return tasks.drain() if isinstance(tasks, LazyList) else iter(tasks)

    @property
    def body(self) -> Any:
        """What is called with the results of the header; None: not given yet."""
        return self["kwargs"].get("body")

    @body.setter
    def body(self, body: Any) -> None:
        self["kwargs"]["body"] = None if body is None else as_member(body)

    def needed_body(self) -> Any:
        """The body. ValueError: the chord has none."""
        if self.body is None:
            raise ValueError(f"a chord needs a body, chord(header, body) or chord(header)(body): {self._brief()}")
        return self.body

    def _brief(self) -> str:
        text = text_of(self)
        return text if len(text) <= 200 else f"{text[:197]}..."

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Enqueue it; `body` takes the place of its own."""
        return self.apply_async((), {} if body is None else {"body": body}, **options)

    def apply_async(self, args: Any = None, kwargs: Any = None, route_name: str | None = None, **options: Any) -> Any:
        """Enqueue header and body in one transaction; returns the result of the body, whose parent is the header's.

        Arguments go before those of every task of the header. ValueError: it has no body.
        """
        whole, kwargs = self._with_body(kwargs)
        return super(chord, whole).apply_async(args, kwargs, route_name, **options)

    def apply(
        self, args: Any = None, kwargs: Any = None, propagate: bool = True, body: Any = None, **options: Any
    ) -> Any:
        """Run header and body here and now; the result is the body's. ValueError: it has no body."""
        whole, kwargs = self._with_body(kwargs if body is None else {**(kwargs or {}), "body": body})
        return super(chord, whole).apply(args, kwargs, **options)

    def run(
        self,
        header: Any,
        body: Any,
        partial_args: Any = None,
        app: LiteQueue | None = None,
        interval: float | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        kwargs: Any = None,
        **options: Any,
    ) -> Any:
        """Enqueue this header and this body.

        `interval`, `countdown` and `max_retries` say in Celery how to ask again whether the header has ended; nobody
        has to ask here, and they change nothing.
        """
        whole = chord(header, body, app=app or self._app, **self.options)
        return whole.apply_async(partial_args, kwargs, **options)

    def _with_body(self, kwargs: Mapping[str, Any] | None) -> tuple[chord, Mapping[str, Any] | None]:
        """The chord with the body that stands in the keyword arguments of a call, and the others of these."""
        if not kwargs or kwargs.get("body") is None:
            self.needed_body()
            return self, kwargs
        whole: chord = dict.__new__(type(self))
        dict.update(whole, self)
        whole.__dict__.update(self.__dict__)
        whole["kwargs"] = {**self["kwargs"], "body": as_member(kwargs["body"])}
        return whole, {name: value for name, value in kwargs.items() if name != "body"}

    def link(self, callback: Any) -> Any:
        """Run `callback` when the body has succeeded."""
        self.needed_body().link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Run `errback` when the body fails, which it does when the header fails; returns the errback.

        With `task_allow_error_cb_on_chord_header`, also for each task of the header that fails. A chord in the header
        that fails makes this one fail: the errback need not be linked to it as well, as Celery does.
        """
        self.needed_body().link_error(as_member(errback))
        if self.app.conf.task_allow_error_cb_on_chord_header:
            self._each(lambda task: task.link_error(as_member(errback).clone()))
        return errback

    def _each(self, tell: Callable[[Any], Any]) -> None:
        """Call `tell` with each task of the header, now or when it is taken from a generator."""

        def told(task: Any) -> Any:
            task = as_member(task)
            tell(task)
            return task

        tasks = self.header_tasks
        if isinstance(tasks, LazyList):
            tasks.change_each(told)
        else:
            tasks[:] = map(told, tasks)

    def set_immutable(self, immutable: bool) -> None:
        """Take no further arguments, or take them again: every task of the header. The body stays as it is."""
        self._each(lambda task: task.set_immutable(immutable))

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> None:
        """Stamp every task of the header, and the body."""
        from litequeue.canvas.stamping import stamp_chord

        stamp_chord(self, visitor, append_stamps, headers)

    def _first(self) -> Signature | None:
        tasks = self.header_tasks
        first = tasks[0] if tasks else self.body
        return None if first is None else as_member(first)

    def _text(self, show: Callable[[Any], str]) -> str:
        body, header = self.body, self.tasks
        if body is None:
            return f"<chord without body: {show(header)}>"
        if body.KIND == "chain" and body.tasks:
            first, *rest = body.tasks
            text = _with_header(first, header, show)
            tail = f" | {' | '.join(map(show, rest))}" if rest else ""
            return without_repeats(first["task"], f"%({text}{tail})")
        return without_repeats(body["task"], f"%{_with_header(body, header, show)}")


_chord = chord


def _header(header: Any, app: LiteQueue | None) -> Any:
    """What is given as a header: a list of tasks, or a group with options of its own."""
    if isinstance(header, dict) and not isinstance(header, Signature):
        header = as_member(header, app)
    if isinstance(header, group):
        if header.options:
            return header
        return members(header.tasks)
    if isinstance(header, Signature):
        return members(header.tasks if header.KIND == "chain" else [header])  # type: ignore[attr-defined]
    if hasattr(header, "apply_async"):
        header = [header]
    return members(header, app)


def _with_header(body: Signature, header: Any, show: Callable[[Any], str]) -> str:
    """The call of the body as text, with the header before its arguments."""
    if isinstance(body, Composed):
        return body._call_text((header, *body.args), body.kwargs, show)
    shown = [show(header), *map(repr, body.args), *(f"{name}={value!r}" for name, value in body.kwargs.items())]
    return f"{body['task']}({', '.join(shown)})"
