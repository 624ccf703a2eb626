"""Tasks declared with `pydantic=True`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

import pytest

from litequeue import LiteQueue
from litequeue.exceptions import EncodeError, ImproperlyConfigured

pydantic = pytest.importorskip("pydantic")

if TYPE_CHECKING:
    from pydantic import BaseModel
else:
    BaseModel = pydantic.BaseModel


class Point(BaseModel):
    x: int
    y: int = 0


class Line(BaseModel):
    length: float


def measure(a: Point, b: Point | None = None, factor: int = 1) -> Line:
    assert isinstance(a, Point)
    assert b is None or isinstance(b, Point)
    return Line(length=factor * (a.x + a.y + (b.x if b else 0)))


@pytest.fixture
def task(app: LiteQueue) -> Any:
    return app.task(measure, pydantic=True, name="measure")


def test_dicts_in_models_inside_dict_out(task: Any, worker: Any) -> None:
    worker()
    assert task.delay({"x": 1, "y": 2}).get(timeout=10) == {"length": 3}
    assert task.delay({"x": 1}, b={"x": 5}, factor=2).get(timeout=10) == {"length": 12}


def test_models_may_be_given(task: Any, worker: Any) -> None:
    worker()
    result = task.delay(Point(x=1), b=Point(x=2))
    assert result.args == [{"x": 1, "y": 0}]
    assert result.get(timeout=10) == {"length": 3}


def test_what_does_not_fit_fails_the_task(task: Any, worker: Any) -> None:
    worker()
    result = task.delay({"x": "no number"})
    result.get(timeout=10, propagate=False)
    assert result.state == "FAILURE"
    assert "ValidationError" in (result.traceback or "")


def test_a_bound_task_and_a_coroutine(app: LiteQueue, worker: Any) -> None:
    @app.task(bind=True, pydantic=True)
    def bound(self: Any, a: Point) -> Any:
        return [self.name, a.x]

    @app.task(pydantic=True)
    async def later(a: Optional[Point] = None) -> Line:  # noqa: UP045 - both spellings are meant
        return Line(length=a.x if a else 0)

    worker()
    assert bound.delay(Point(x=3)).get(timeout=10) == [bound.name, 3]
    assert later.delay({"x": 3}).get(timeout=10) == {"length": 3}
    assert later.delay().get(timeout=10) == {"length": 0}


def test_strictness_context_and_dump_options(app: LiteQueue) -> None:
    class Aware(BaseModel):
        x: int

        @pydantic.model_validator(mode="after")
        def look(self, info: Any) -> Any:
            assert info.context["tenant"] == "t1"
            assert info.context["celery_task_name"] == "aware"
            return self

    def aware(a: Aware) -> Aware:
        return a

    aware.__annotations__ = {"a": Aware, "return": Aware}
    task = app.task(
        aware,
        name="aware",
        pydantic=True,
        pydantic_strict=True,
        pydantic_context={"tenant": "t1"},
        pydantic_dump_kwargs={"exclude": {"x"}},
    )
    assert task({"x": 1}) == {}
    with pytest.raises(pydantic.ValidationError):
        task({"x": "1"})


def test_a_model_that_the_task_does_not_declare_is_left_to_the_serializer(app: LiteQueue) -> None:
    task = app.task(lambda a: a, name="t", pydantic=True)
    with pytest.raises(EncodeError):
        task.delay(Point(x=1))


def test_without_pydantic_it_says_what_to_install(make_app: Callable[..., LiteQueue], monkeypatch: Any) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(ImproperlyConfigured, match=r"install 'litequeue\[pydantic\]'"):
        make_app().task(measure, pydantic=True, lazy=False)
