"""Tasks with short names, for tests of what signatures are and not of what they do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from litequeue import LiteQueue


def letters(app: LiteQueue) -> SimpleNamespace:
    """Tasks `a` to `f`, which return their arguments."""

    def returned(*args: Any, **kwargs: Any) -> Any:
        return [*args, *kwargs.values()]

    return SimpleNamespace(**{name: app.task(returned, name=name) for name in "abcdef"})


def plain(value: Any) -> Any:
    """A signature as JSON would give it back."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value
