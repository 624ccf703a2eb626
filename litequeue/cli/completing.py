"""What a shell is told when somebody presses Tab after an option or argument: names of queues and tasks, and ids.

They are read from the app and its file. Whatever goes wrong there offers nothing.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from litequeue.cli.invocation import Invocation

if TYPE_CHECKING:
    import click

_NEWEST: Final = 50
"""Ids that are offered: the newest."""
_FAILED: Final = ("FAILURE",)
_Completer = Callable[["click.Context", "click.Parameter", str], list[str]]


def _completer(find: Callable[[Any], Iterable[str]]) -> _Completer:
    """A completer of click's that offers what `find(app)` gives; after a comma, for the name behind it."""

    def complete(ctx: click.Context, _param: click.Parameter, text: str) -> list[str]:
        before, comma, begun = text.rpartition(",")
        call = ctx.find_object(Invocation)
        # What the app's modules print is not an offer.
        with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
            names = find(_app(call if call is not None else Invocation()))
            return [before + comma + name for name in sorted(set(names)) if name.startswith(begun)]
        return []

    return complete


def _app(call: Invocation) -> Any:
    """The app, if its file is there: to complete is not to make one."""
    from litequeue.app.broker import broker_path

    app = call.load_app()
    if not os.path.exists(broker_path(app.conf.broker_url)):
        raise FileNotFoundError
    return app


def _queues(app: Any) -> Iterable[str]:
    from litequeue.core.routing import declared_queues

    declared = tuple(declared_queues(app.conf.task_queues)) or (app.conf.task_default_queue,)
    return (*declared, *app.store.known_queues())


def _names(app: Any) -> Iterable[str]:
    from litequeue.app.loading import import_default_modules

    with contextlib.suppress(Exception):  # the file may know more than what cannot be imported
        import_default_modules(app)
    return (name for name in (*app.tasks, *app.store.known_names()) if not name.startswith(("celery.", "litequeue.")))


def _ids(app: Any) -> Iterable[str]:
    from litequeue.core.viewing import TaskFilter

    return (task.id for task in app.store.find(TaskFilter(), _NEWEST).tasks)


def _dead_ids(app: Any) -> Iterable[str]:
    return (letter.id for letter in app.control.dead(states=_FAILED, limit=_NEWEST))


def _nodes(app: Any) -> Iterable[str]:
    return (record.worker for record in app.store.processes() if record.role == "worker")


queues = _completer(_queues)
task_names = _completer(_names)
task_ids = _completer(_ids)
dead_ids = _completer(_dead_ids)
nodes = _completer(_nodes)
