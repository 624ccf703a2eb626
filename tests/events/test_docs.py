"""docs/events.md has every event, every field, and whatever the classes offer."""

from __future__ import annotations

import inspect
from typing import Any

import click
import pytest

from litequeue.cli.events import events
from litequeue.config.table import SETTINGS
from litequeue.events import EventDispatcher, EventReceiver
from litequeue.events.joining import TASK_TYPES, WORKER_TYPES
from litequeue.events.snapshot import Polaroid
from litequeue.events.state import State, Task, Worker
from tests.docs.pages import DOCS, code_words
from tests.events import eventful
from tests.events.conftest import ended, kept

WORDS = code_words(DOCS / "events.md")
TABLES = [line for line in (DOCS / "events.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
INTERNAL = {"heap_multiplier", "merge_rules", "expire_window", "heartbeat_max", "connection", "app", "Worker", "Task"}
INTERNAL |= {"update", "id", "install", "cancel", "capture", "shutter", "cleanup", "timer"}
"""What subclasses may change, or what is as in Celery and seldom asked for."""


@pytest.mark.parametrize("kind", [*TASK_TYPES, *WORKER_TYPES])
def test_every_type_has_a_row(kind: str) -> None:
    assert any(line.startswith(f"| `{kind}` |") for line in TABLES)


def test_every_field_is_explained(app: Any, run_worker: Any) -> None:
    app.conf.task_send_sent_event = True
    with run_worker():
        late = eventful.add.apply_async((1,), expires=-1)
        ended(late, eventful.add.delay(1), eventful.fail.delay(), eventful.reject_once.delay())
    fields = set().union(*kept(app))
    assert {name for name in fields if not any(f"`{name}`" in line.split("|")[1] for line in TABLES)} == set()


@pytest.mark.parametrize("cls", [EventReceiver, EventDispatcher, State, Polaroid, Task, Worker])
def test_whatever_a_class_offers(cls: type) -> None:
    offered = {name for name in vars(cls) if not name.startswith("_")} - INTERNAL
    parameters = set(inspect.signature(cls).parameters) if cls in (EventReceiver, EventDispatcher) else set()
    celerys = {"event", "mutex", "pid", "name"}
    assert (offered | parameters) - WORDS - INTERNAL - celerys == set()


def test_the_settings_are_linked() -> None:
    text = (DOCS / "events.md").read_text(encoding="utf-8")
    ours = {name for name in SETTINGS if name in ("worker_send_task_events", "task_send_sent_event")}
    ours |= {"event_retention", "event_limit"}
    assert all(f"settings.md#{name}" in text for name in ours)


def test_every_option_of_the_command_has_a_row() -> None:
    rows = "\n".join(
        line for line in (DOCS / "command-line.md").read_text(encoding="utf-8").splitlines() if line[:1] == "|"
    )
    options = [param for param in events.params if isinstance(param, click.Option) and not param.hidden]
    assert [flag for option in options for flag in option.opts if f"`{flag}" not in rows] == []
