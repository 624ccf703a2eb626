"""Apps for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from litequeue.app import current as local
from litequeue.app.base import LiteQueue

DEFAULT_TEST_CONFIG: dict[str, Any] = {
    "worker_hijack_root_logger": False,
    "worker_log_color": False,
    "accept_content": {"json"},
    "enable_utc": True,
    "timezone": "UTC",
    "broker_url": "memory://",
}
"""The settings of a test app, unless it is given others."""


class Trap:
    """Stands in for the current app where a test must not depend on it."""

    def __getattr__(self, name: str) -> Any:
        if name in ("_is_coroutine", "__func__"):
            return None  # unittest.mock looks for them
        raise RuntimeError(f"the test depends on current_app (for {name!r}); pass the app instead")


def TestApp(
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    enable_logging: bool = False,
    set_as_current: bool = False,
    log: Any = None,
    backend: Any = None,
    broker: Any = None,
    **kwargs: Any,
) -> LiteQueue:
    """An app with a queue in memory, or in the file `broker`; `config` are defaults of its settings."""
    from litequeue.contrib.testing import tasks as tasks

    defaults = {**DEFAULT_TEST_CONFIG, **(config or {})}
    if broker is not None:
        defaults.pop("broker_url", None)
    app = LiteQueue(name or "litequeue.tests", set_as_current=set_as_current, broker=broker, backend=backend, **kwargs)
    app.add_defaults(defaults)
    return app


TestApp.__test__ = False  # type: ignore[attr-defined]  # pytest must not take it for a test


@contextmanager
def set_trap(app: LiteQueue) -> Iterator[None]:
    """Make every use of the current or default app a RuntimeError inside the block."""
    current, default = local.saved_apps()
    trap: Any = Trap()
    local.restore_apps((trap, trap))
    try:
        yield
    finally:
        local.restore_apps((current, default))


@contextmanager
def setup_default_app(app: LiteQueue, use_trap: bool = False) -> Iterator[None]:
    """Restore the current and the default app, and what is shared between apps, at the end of the block."""
    before = local.saved_apps()
    shared = local.finalize_callbacks()
    try:
        if use_trap:
            with set_trap(app):
                yield
        else:
            yield
    finally:
        local.restore_apps(before)
        local.restore_finalize_callbacks(shared)
        if app is not before[0]:
            app.close()
