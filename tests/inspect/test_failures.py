"""What fails, by exception and place; what is slow, by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from litequeue.core import clock
from litequeue.inspect.failures import failures, place_of, slow
from tests.inspect.conftest import NAME
from tests.inspect.looked_at import add, boom, wrong


def test_they_are_grouped(app: Any, ended: Any) -> None:
    results = [boom.delay("a"), boom.delay("b"), wrong.delay(), (boom.s("c") | add.s(1)).apply_async()]
    ended(*results)
    report = failures(app)
    assert (report.count, report.complete) == (4, True)
    first, second = report.groups
    assert (first.error, first.count, first.names) == ("ValueError", 3, (f"{NAME}boom",))
    assert first.place is not None
    assert first.place.startswith("inspect/looked_at.py:")
    assert first.place.endswith(" in fail")
    assert first.example == "ValueError: no c"
    assert (first.first_at or 0) <= (first.last_at or 0) <= clock.now()
    assert (second.error, second.count, second.example_id) == ("KeyError", 1, results[2].id)
    assert len(failures(app, limit=1).groups) == 1
    assert failures(app, since=clock.now() + 60).groups == ()
    assert not failures(app, most=2).complete
    json.dumps(report.as_dict())


def test_nothing_failed(app: Any) -> None:
    report = failures(app)
    assert (report.groups, report.count, report.complete) == ((), 0, True)


@pytest.mark.parametrize(
    ("traceback", "place"),
    [
        (None, None),
        ("no traceback at all", None),
        ('  File "/srv/proj/tasks.py", line 3, in run\n    x()\n', "proj/tasks.py:3 in run"),
        (
            '  File "/srv/proj/tasks.py", line 3, in run\n'
            '  File "/srv/venv/lib/site-packages/requests/api.py", line 9, in get\n',
            "proj/tasks.py:3 in run",
        ),
        ('  File "<frozen runpy>", line 9, in get\n', "<frozen runpy>:9 in get"),
        ('  File "C:\\proj\\tasks.py", line 3, in run\n', "proj/tasks.py:3 in run"),
        (f'  File "/srv/own.py", line 1, in a\n  File "{json.__file__}", line 5, in loads\n', "srv/own.py:1 in a"),
    ],
)
def test_the_place_is_ones_own_code(traceback: str | None, place: str | None) -> None:
    assert place_of(traceback) == place


def test_slow(app: Any, worker: Any, held: Callable[..., Any]) -> None:
    results = [add.delay(number, 1) for number in range(5)]
    for result in results:
        result.get(timeout=20)
    running = held()
    report = slow(app)
    (shown,) = report.names
    assert (shown.name, shown.count, report.count) == (f"{NAME}add", 5, 5)
    assert 0 <= shown.run.p50 <= shown.run.p95 <= shown.run.max
    assert shown.wait is not None
    assert shown.wait.mean >= 0
    assert shown.slowest_id in {result.id for result in results}
    assert [task.id for task in report.running] == [running.id]
    assert slow(app, scan=2).count == 2
    assert slow(app, since=clock.now() + 60).names == ()
