"""The check of arguments at the call: it must raise exactly where Python would."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from litequeue import LiteQueue
from litequeue.app.declaring import argument_check


def plain(a: int, b: int = 2) -> None: ...


def starred(a: int, *rest: int, key: str, other: str = "x", **more: Any) -> None: ...


def positional(a: int, b: int, /, c: int = 3) -> None: ...


def keyword_only(*, key: str) -> None: ...


def nothing() -> None: ...


def anything(*args: Any, **kwargs: Any) -> None: ...


class Callee:
    def __call__(self, a: int, b: int = 1) -> None: ...


CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((1,), {}),
    ((1, 2), {}),
    ((1, 2, 3), {}),
    ((1, 2, 3, 4), {}),
    ((1,), {"b": 2}),
    ((1,), {"a": 2}),
    ((1,), {"key": "k"}),
    ((1, 2), {"key": "k", "new": 1}),
    ((), {"a": 1, "b": 2}),
    ((1, 2), {"c": 1}),
    ((), {"key": "k"}),
]


@pytest.mark.parametrize(
    "fun", [plain, starred, positional, keyword_only, nothing, anything, Callee(), functools.partial(plain, b=3)]
)
@pytest.mark.parametrize(("args", "kwargs"), CALLS)
def test_it_raises_where_the_call_would(fun: Callable[..., Any], args: Any, kwargs: Any) -> None:
    try:
        fun(*args, **kwargs)
    except TypeError:
        with pytest.raises(TypeError):
            argument_check(fun)(*args, **kwargs)
    else:
        argument_check(fun)(*args, **kwargs)


def test_the_message_is_pythons_own() -> None:
    with pytest.raises(TypeError) as ours:
        argument_check(plain)(1, 2, 3)
    with pytest.raises(TypeError) as pythons:
        plain(1, 2, 3)  # type: ignore[call-arg]
    assert str(ours.value) == str(pythons.value)


def test_a_bound_function_is_checked_without_its_first_parameter() -> None:
    def task(self: Any, x: int) -> None: ...

    check = argument_check(task, bound=True)
    check(1)
    with pytest.raises(TypeError):
        check(1, 2)
    argument_check(lambda *args: None, bound=True)(1, 2, 3)


def test_defaults_are_kept_as_they_are() -> None:
    class Odd:
        def __repr__(self) -> str:
            return "not python at all"

    odd = Odd()

    def fun(x: Any = odd) -> None: ...

    argument_check(fun)()


def test_a_builtin_takes_what_it_says_or_anything() -> None:
    argument_check(dict.fromkeys)([1])
    argument_check(print)("x", sep="")


def test_wrong_arguments_are_an_error_at_the_call(app: LiteQueue) -> None:
    add = app.task(lambda x, y: x + y, name="add")
    for call in (lambda: add.delay(5), lambda: add.apply_async((5,)), lambda: add.s(5).delay(), lambda: add.delay(z=1)):
        with pytest.raises(TypeError):
            call()
    assert app.store.counts() == {}


def test_the_check_can_be_off(app: LiteQueue, worker: Any) -> None:
    add = app.task(lambda x, y: x + y, name="add", typing=False)
    worker()
    result = add.delay(5)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        result.get(timeout=10)
    assert result.state == "FAILURE"


def test_an_app_without_strict_typing(make_app: Callable[..., LiteQueue]) -> None:
    app = make_app(strict_typing=False)
    assert app.task(lambda x: x, name="t").delay().exists()
