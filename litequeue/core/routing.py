"""Which queue a task goes to.

A route is what `task_routes` says of a task's name: a mapping of options (`queue`, `priority`, …) or the name of a
queue. What the call itself says always comes before its route.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from litequeue.exceptions import ImproperlyConfigured, QueueNotFound

Route = Mapping[str, Any] | str
RouteFunction = Callable[..., "Route | None"]
"""Called as `route(name, args, kwargs, options, task=None)`."""


def queue_name(queue: Any) -> str:
    """The name of a queue given by its name or as an object with a `name`."""
    name = queue if isinstance(queue, str) else getattr(queue, "name", None)
    if not isinstance(name, str) or not name:
        raise TypeError(f"a queue is its name or an object with a name, not {queue!r}")
    return name


def declared_queues(task_queues: Any) -> dict[str, Any]:
    """The setting `task_queues` as `{name: settings or queue object}`, in its own order."""
    if not task_queues:
        return {}
    if isinstance(task_queues, str):
        return {name.strip(): None for name in task_queues.split(",") if name.strip()}
    if isinstance(task_queues, Mapping):
        return {queue_name(name): settings for name, settings in task_queues.items()}
    return {queue_name(queue): None if isinstance(queue, str) else queue for queue in task_queues}


class MapRoute:
    """Routes by name: an exact name first, then globs (`feeds.*`) and compiled patterns in the order of the table."""

    def __init__(self, table: Mapping[Any, Route] | Iterable[tuple[Any, Route]]) -> None:
        self.exact: dict[str, Route] = {}
        self.patterns: list[tuple[re.Pattern[str], Route]] = []
        for key, route in table.items() if isinstance(table, Mapping) else table:
            if isinstance(key, re.Pattern):
                self.patterns.append((key, route))
            elif "*" in key:
                self.patterns.append((_glob(key), route))
            else:
                self.exact[key] = route

    def check(self, options: Collection[str]) -> None:
        """Raise ImproperlyConfigured for a route that sets what is no option of a call."""
        for name, route in (*self.exact.items(), *((pattern.pattern, route) for pattern, route in self.patterns)):
            for option in route if isinstance(route, Mapping) else ():
                if option not in options:
                    near = difflib.get_close_matches(option, options, n=1)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    raise ImproperlyConfigured(f"task_routes[{name!r}]: a call has no option {option!r}{hint}")

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> Route | None:
        """The route of the task `name`; None when no entry matches."""
        if name in self.exact:
            return self.exact[name]
        for pattern, route in self.patterns:
            if pattern.match(name):
                return route
        return None


def _glob(text: str) -> re.Pattern[str]:
    from fnmatch import translate

    return re.compile(translate(text))


def prepare_routes(
    task_routes: Any, resolve: Callable[[str], Any], options: Collection[str] = ()
) -> list[RouteFunction]:
    """The setting `task_routes` as functions to ask in turn.

    `resolve` finds what a dotted name stands for; `options` are the names that a route may set (none given: any). A
    router may be a function, or an object with Celery's older `route_for_task(name, args, kwargs)`.
    """
    if task_routes is None:
        return []
    if not isinstance(task_routes, (list, tuple)) or _is_table(task_routes):
        task_routes = (task_routes,)
    routes = [_prepare(route, resolve) for route in task_routes]
    for route in routes:
        if options and isinstance(route, MapRoute):
            route.check(options)
    return routes


def _is_table(routes: Sequence[Any]) -> bool:
    """Whether the list itself is one table of (pattern, route) pairs."""
    return bool(routes) and all(
        isinstance(entry, (list, tuple)) and len(entry) == 2 and isinstance(entry[0], (str, re.Pattern))
        for entry in routes
    )


def _prepare(route: Any, resolve: Callable[[str], Any]) -> RouteFunction:
    if isinstance(route, (Mapping, list, tuple)):
        return MapRoute(route)
    if isinstance(route, str):
        try:
            route = resolve(route)
        except (ImportError, AttributeError, KeyError) as error:
            raise ImproperlyConfigured(f"task_routes: {route!r} cannot be imported: {error}") from error
        if isinstance(route, type):
            route = route()
    older = getattr(route, "route_for_task", None)
    if older is not None:
        return lambda name, args=(), kwargs=None, options=None, task=None: older(name, args, kwargs)
    if not callable(route):
        raise ImproperlyConfigured(
            f"task_routes: {route!r} is no router; write a dict of names, a list of dicts, a function or the dotted "
            "name of one"
        )
    return route  # type: ignore[no-any-return]


class Router:
    """Answers for one app which queue, and with which further options, a call goes to."""

    def __init__(
        self,
        routes: Sequence[RouteFunction] = (),
        queues: Mapping[str, Any] | None = None,
        default_queue: str = "celery",
        create_missing: bool = True,
    ) -> None:
        self.routes = routes
        self.queues = {} if queues is None else queues
        self.default_queue = default_queue
        self.create_missing = create_missing
        self.by_name_only = all(isinstance(route, MapRoute) for route in routes)
        """Whether a route depends on nothing but the task's name, so that it may be remembered."""

    def route(
        self, options: Mapping[str, Any], name: str, args: Any = (), kwargs: Any = None, task: Any = None
    ) -> dict[str, Any]:
        """`options` with what the route of the task `name` adds; `queue` is the name of a queue.

        QueueNotFound: it is not in `task_queues`, and `task_create_missing_queues` is off.
        """
        queue = options.get("queue")
        route = self._lookup(name, args, kwargs, options, task)
        merged = dict(options) if route is None else {**route, **{k: v for k, v in options.items() if v is not None}}
        if queue is None:
            queue = merged.get("queue") or self._queue_of(merged.get("routing_key")) or self.default_queue
        merged["queue"] = self.known(queue_name(queue))
        return merged

    def known(self, name: str) -> str:
        """`name`, if a task may be sent there."""
        if self.create_missing or name in self.queues or (not self.queues and name == self.default_queue):
            return name
        there = ", ".join(self.queues) or self.default_queue
        raise QueueNotFound(
            f"queue {name!r} is not in task_queues (there are: {there}); add it, or set task_create_missing_queues to "
            "True"
        )

    def _lookup(
        self, name: str, args: Any, kwargs: Any, options: Mapping[str, Any], task: Any
    ) -> dict[str, Any] | None:
        for ask in self.routes:
            route = ask(name, args, kwargs, options, task=task)
            if route is not None:
                return {"queue": route} if isinstance(route, str) or hasattr(route, "name") else dict(route)
        return None

    def _queue_of(self, routing_key: str | None) -> str | None:
        """The queue that a routing key leads to: the declared one bound with it, else the one of that name."""
        if not routing_key:
            return None
        for name, settings in self.queues.items():
            bound = (
                settings.get("routing_key") if isinstance(settings, Mapping) else getattr(settings, "routing_key", None)
            )
            if bound and _topic_matches(bound.split("."), routing_key.split(".")):
                return name
        return routing_key


def _topic_matches(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """Whether a topic binding matches: `*` stands for one word, `#` for any number of them."""
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_topic_matches(pattern[1:], words[skip:]) for skip in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _topic_matches(pattern[1:], words[1:])
