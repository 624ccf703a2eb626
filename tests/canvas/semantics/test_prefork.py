"""Every shape of canvas, and random ones, in child processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from litequeue import chain, chord
from tests.canvas.semantics import tasks
from tests.canvas.semantics.canvases import batches
from tests.canvas.semantics.conftest import end, quiet, read_journal
from tests.canvas.semantics.tasks import Bad, become, errback, fail, flaky, new_errback, step
from tests.canvas.semantics.test_random import check, run_examples
from tests.canvas.semantics.test_replace import plain
from tests.canvas.semantics.test_shapes import SHAPES

s = step.s


@pytest.fixture(scope="module")
def worker(app: Any) -> Iterator[Any]:
    with app.start_worker(pool="prefork", concurrency=2) as worker:
        yield worker


@pytest.fixture(autouse=True)
def _fresh_journal(worker: Any) -> None:
    tasks.journal().unlink(missing_ok=True)


def test_every_shape(app: Any) -> None:
    results = [make().apply_async() for _, make, _, _ in SHAPES]
    for result, (name, _, value, _) in zip(results, SHAPES, strict=True):
        assert (name, result.get(timeout=30)) == (name, value)
    quiet(app)


def test_errors_and_error_callbacks() -> None:
    header = [fail.s("x").set(task_id="x"), s("a")]
    run = end(chord(header, s("b").set(task_id="b")).on_error(errback.s()).on_error(new_errback.s()).apply_async())
    assert run.error == Bad("x")
    assert run.of("errback") == [["b"]]
    assert run.of("new_errback") == [["b", "ChordError(\"Dependency x raised Bad('x')\")", False]]


def test_retries_and_replacements() -> None:
    canvas = chain(flaky.s("a", 2), become.s(plain(chord([s("b"), flaky.s("c", 1)], s("d")))), s("e"))
    assert end(canvas.apply_async()).value == "e(d([b,c]))"
    assert sorted(entry[1] for entry in read_journal() if entry[0] == "step") == ["b", "d", "e"]


def test_random_canvases(app: Any) -> None:
    run_examples(batches(), app, check, times=10)
