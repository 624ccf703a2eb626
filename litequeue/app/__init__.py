"""The app: `LiteQueue`, and what belongs to it, loaded when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue as LiteQueue


def __getattr__(name: str) -> Any:
    # Rooms below the app use `app.current`; that must not bring the whole app in.
    if name == "LiteQueue":
        from litequeue.app.base import LiteQueue

        return LiteQueue
    raise AttributeError(f"module 'litequeue.app' has no attribute {name!r}")
