"""A task with which a test finds out that a worker works."""

from __future__ import annotations

from litequeue import shared_task


@shared_task(name="celery.ping")  # type: ignore[untyped-decorator]
def ping() -> str:
    """Return 'pong'."""
    return "pong"
