"""The request of a running task: `self.request`.

Every field of Celery's request is an attribute with a default, so that code may read any of them at any time. The stack
of a task is a context variable: threads and coroutines see their own request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

_FIELDS: dict[str, Any] = {
    "id": None,
    "args": None,
    "kwargs": None,
    "task": None,
    "retries": 0,
    "attempt": 1,
    "began": 0.0,
    "eta": None,
    "expires": None,
    "is_eager": False,
    "called_directly": True,
    "hostname": None,
    "origin": None,
    "delivery_info": None,
    "queue": None,
    "enqueued_at": None,
    "time_limit": None,
    "soft_time_limit": None,
    "timelimit": (None, None),
    "root_id": None,
    "parent_id": None,
    "group": None,
    "group_index": None,
    "chord": None,
    "chain": None,
    "callbacks": None,
    "errbacks": None,
    "headers": None,
    "properties": None,
    "correlation_id": None,
    "reply_to": None,
    "shadow": None,
    "utc": True,
    "ignore_result": False,
    "logfile": None,
    "loglevel": 0,
    "stamps": None,
    "stamped_headers": None,
    "replaced_task_nesting": 0,
    "taskset": None,
    "argsrepr": None,
    "kwargsrepr": None,
    "serializer": None,
    "compression": None,
    "priority": 0,
}


_LOOKED_UP = frozenset({"callbacks", "chain", "chord"})


class Context:
    """What is known of the running task; called outside of a worker, every field has its default."""

    def __init__(self, *args: Any, **fields: Any) -> None:
        self.__dict__ = dict(*args, **fields)

    def fill_later(self, make: Callable[[], dict[str, Any]]) -> None:
        """Let `make` give the fields that are not set, when one of them is first asked for: most tasks never ask."""
        self.__dict__["_fill"] = make

    def look_up_later(self, look_up: Callable[[], dict[str, Any]]) -> None:
        """Let `look_up` read `callbacks`, `chain` and `chord` from the file, when one of them is first asked for."""
        self.__dict__["_look_up"] = look_up

    def __getattr__(self, name: str) -> Any:
        if name in _LOOKED_UP and "_look_up" in self.__dict__:
            # Kept apart from what the task sets itself: setting one of them to None changes what comes after it.
            found = self.__dict__.setdefault("_looked_up", None)
            if found is None:
                found = self.__dict__["_looked_up"] = self.__dict__["_look_up"]()
            return found[name]
        fill = self.__dict__.pop("_fill", None)
        if fill is not None:
            self.__dict__ = {**fill(), **self.__dict__}
            return getattr(self, name)
        if name == "children":
            # One list for each request, made when first asked for.
            children: list[Any] = []
            self.__dict__["children"] = children
            return children
        try:
            return _FIELDS[name]
        except KeyError:
            raise AttributeError(f"the task's request has no field {name!r}") from None

    def update(self, *args: Any, **fields: Any) -> None:
        """Set several fields."""
        self.__dict__.update(*args, **fields)

    def clear(self) -> None:
        """Forget every field."""
        self.__dict__.clear()

    def get(self, key: str, default: Any = None) -> Any:
        """The field `key`, or `default` where there is none."""
        return getattr(self, key, default)

    def __iter__(self) -> Iterator[str]:
        return iter(_FIELDS)

    def __repr__(self) -> str:
        fields = {**self.__dict__.get("_fill", dict)(), **self.__dict__}
        fields.pop("_fill", None)
        return f"<Context: {fields!r}>"

    def as_execution_options(self) -> dict[str, Any]:
        """The options with which the same call can be made again."""
        return {
            "task_id": self.id,
            "root_id": self.root_id,
            "parent_id": self.parent_id,
            "group_id": self.group,
            "group_index": self.group_index,
            "shadow": self.shadow,
            "chord": self.chord,
            "chain": self.chain,
            "link": self.callbacks,
            "link_error": self.errbacks,
            "expires": self.expires,
            "soft_time_limit": self.soft_time_limit,
            "time_limit": self.time_limit,
            "headers": self.headers,
            "retries": self.retries,
            "ignore_result": self.ignore_result,
            "priority": self.priority,
        }


class RequestStack:
    """The requests of one task that are on now, innermost last."""

    def __init__(self) -> None:
        self._stack: ContextVar[tuple[Context, ...]] = ContextVar("litequeue_requests", default=())

    def push(self, request: Context) -> None:
        """Make `request` the current one."""
        self._stack.set((*self._stack.get(), request))

    def pop(self) -> Context | None:
        """Take the current request off; None when there is none."""
        stack = self._stack.get()
        if not stack:
            return None
        self._stack.set(stack[:-1])
        return stack[-1]

    @property
    def top(self) -> Context | None:
        """The current request."""
        stack = self._stack.get()
        return stack[-1] if stack else None

    def __len__(self) -> int:
        return len(self._stack.get())


current_tasks: ContextVar[tuple[Any, ...]] = ContextVar("litequeue_tasks", default=())
"""The tasks that run in this context, innermost last: `current_task` is the last one."""
