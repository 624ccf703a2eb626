"""Nothing about an exception raises, whatever it does or holds; records and tracebacks keep to their size."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litequeue.core.failure import ExceptionInfo, decode_exception, encode_exception, format_traceback, summary
from litequeue.exceptions import ChordError, NotRegistered, RemoteError
from tests.core.test_failure import Http, Outer, OwnArguments, crossed, raised, record, same

# Hostile exceptions


class Hostile(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt

    def __repr__(self) -> str:
        raise SystemExit


class Properties(Exception):
    @property
    def args(self) -> Any:  # type: ignore[override]
        raise RuntimeError

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError

    @property
    def __notes__(self) -> Any:
        raise RuntimeError

    @property
    def __cause__(self) -> Any:  # type: ignore[override]
        raise RuntimeError

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class BadArgument:
    def __repr__(self) -> str:
        raise ValueError("no repr")

    def __json__(self) -> Any:
        raise SystemExit


class NotText(Exception):
    def __str__(self) -> Any:
        return 5


def test_what_an_exceptions_own_methods_do_does_not_matter() -> None:
    back = crossed(Hostile(1))
    assert type(back) is Hostile
    assert back.args == (1,)
    assert summary(encode_exception(Hostile(1))) == "Hostile: <Hostile: its str() raised KeyboardInterrupt>"
    assert crossed(ValueError(BadArgument(), 2)).args == ("<BadArgument: its repr() raised ValueError>", 2)
    assert type(crossed(Properties(1))) is Properties
    assert type(crossed(NotText(1))) is NotText
    for exc in (Hostile(1), Properties(1), NotText(1)):
        assert type(exc).__name__ in format_traceback(raised(exc))
        assert str(ExceptionInfo(exc))


def test_odd_notes() -> None:
    exc = ValueError(1)
    exc.__notes__ = ["a", 5, BadArgument()]  # type: ignore[list-item]
    assert crossed(exc).__notes__[:2] == ["a", "5"]
    exc.__notes__ = 5  # type: ignore[assignment]
    assert not hasattr(crossed(exc), "__notes__")


# Size


def test_long_texts_are_cut_and_say_so() -> None:
    back = crossed(ValueError("x" * 1_000_000))
    assert back.args[0].endswith("x… [cut: 65,536 of 1,000,000 characters]")
    assert len(back.args[0]) < 66_000
    same(crossed(ValueError("x" * 65_000)), ValueError("x" * 65_000))


@pytest.mark.parametrize("max_bytes", [400, 3_000, 100_000, 1 << 20, None])
@pytest.mark.parametrize(
    "exc",
    [
        ValueError("é" * 5_000_000),
        ValueError(*["x" * 1_000] * 10_000),
        ValueError(b"x" * 10_000_000),
        ValueError(list(range(1_000_000))),
        ValueError({str(number): number for number in range(200_000)}),
        ValueError(10**100_000),
        ValueError(["\x00" * 1_000] * 100),
    ],
    ids=["text", "args", "bytes", "list", "dict", "int", "nul"],
)
def test_a_record_keeps_to_its_size(exc: Exception, max_bytes: int | None) -> None:
    text = encode_exception(exc, max_bytes=max_bytes)
    assert len(text.encode()) <= (max_bytes or 1 << 20)
    assert type(decode_exception(text)) is ValueError


def test_the_least_that_is_said_is_the_class() -> None:
    back = decode_exception(encode_exception(OwnArguments(1, detail="x" * 1000), max_bytes=1))
    assert type(back) in (OwnArguments, RemoteError)
    assert "OwnArguments" in repr(back) or back.type_name == "OwnArguments"  # type: ignore[union-attr]


# Records that are none


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "nonsense",
        '{"type": 1}',
        record(args=5),
        record(args=None),
        record(cause=5),
        record(notes=5),
        record(state=[1]),
        record(init=["a", "b", "c", "d", "e", "f"]),
        record(args=[{"__type__": "exception", "__value__": 5}]),
        record(args=[{"__type__": "repr", "__value__": [5]}]),
        record(args=[{"__type__": "unknown", "__value__": [5]}]),
        record(type="UnicodeDecodeError"),
        record(type="ExceptionGroup"),
        '{"cause":' * 50_000,
        "[" * 50_000,
    ],
    ids=lambda text: ascii(text[:60]),
)
def test_a_damaged_record_is_an_exception_too(text: str) -> None:
    assert isinstance(decode_exception(text), Exception)
    assert isinstance(summary(text), str)
    str(decode_exception(text))


def test_a_record_of_bytes() -> None:
    same(decode_exception(encode_exception(ValueError("é")).encode()), ValueError("é"))
    assert isinstance(decode_exception(b"\xff"), RemoteError)


def test_the_summary_is_one_line_and_imports_nothing() -> None:
    assert summary(encode_exception(KeyError("k"))) == "KeyError: 'k'"
    assert summary(encode_exception(ValueError())) == "ValueError"
    assert summary(record(module="failure_never_imported", type="X")) == "X: t"
    assert "failure_never_imported" not in sys.modules


# Tracebacks


def compiled(name: str) -> Any:
    """A function `call(function)` whose frame stands in litequeue's own file `name`."""
    import litequeue.core.failure as module

    folder = Path(module.__file__).parent.parent
    scope: dict[str, Any] = {}
    exec(compile("def call(function, *args):\n    return function(*args)\n", str(folder / name), "exec"), scope)
    return scope["call"]


def failing(number: int) -> None:
    raise ValueError(number)


def test_the_workers_frames_are_not_shown() -> None:
    executor, task = compiled("worker/executor.py"), compiled("task.py")

    def chained(number: int) -> None:
        try:
            executor(failing, number)
        except ValueError as exc:
            raise OwnArguments(number, detail="d") from exc

    with pytest.raises(OwnArguments) as caught:
        executor(task, chained, 5)
    exc = caught.value.with_traceback(caught.value.__traceback__.tb_next)  # type: ignore[union-attr]
    text = format_traceback(exc)
    assert text.startswith("Traceback (most recent call last):\n")
    assert "task.py" not in text
    assert "executor.py" not in text
    assert "in chained" in text
    assert "in failing" in text
    assert "The above exception was the direct cause" in text
    assert text.endswith("OwnArguments: 5: d\n")


def test_an_error_of_litequeues_own_keeps_its_frames() -> None:
    from litequeue.core.payload import Codec

    with pytest.raises(Exception) as caught:
        Codec().encode(object())
    exc = caught.value.with_traceback(caught.value.__traceback__.tb_next)  # type: ignore[union-attr]
    assert "json_codec.py" in format_traceback(exc)


def test_a_long_traceback_loses_its_middle() -> None:
    text = format_traceback(raised(ValueError("x" * 1_000_000 + " the end")))
    assert len(text) < 66_000
    assert text.startswith("Traceback (most recent call last):\n")
    assert "characters left out …" in text
    assert text.endswith(" the end\n")


def test_a_traceback_with_lone_surrogates_can_be_stored() -> None:
    text = format_traceback(raised(ValueError("é\ud800")))
    text.encode()
    assert "é\\ud800" in text


def test_an_exception_that_was_never_raised_has_a_text() -> None:
    assert format_traceback(ValueError("x")) == "ValueError: x\n"


def test_exception_info() -> None:
    exc = raised(KeyError("k"))
    info = ExceptionInfo(exc)
    assert (info.type, info.exception, info.tb) == (KeyError, exc, exc.__traceback__)
    assert str(info) == info.traceback == format_traceback(exc)
    assert repr(info) == "<ExceptionInfo: KeyError('k')>"
    assert info.exc_info == (KeyError, exc, exc.__traceback__)
    assert str(ExceptionInfo(exc, "given")) == "given"


# Properties

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text() | st.just("__type__"), inner, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=8,
)
classes = st.sampled_from([ValueError, KeyError, RuntimeError, OSError, Outer.Inner, Http, NotRegistered, ChordError])


@settings(deadline=None)
@given(classes, st.lists(plain, max_size=1), plain)
def test_arguments_and_attributes_come_back(cls: type[Exception], args: list[Any], state: Any) -> None:
    exc = cls(*args)
    exc.extra = state  # type: ignore[attr-defined]
    back = crossed(exc)
    same(back, exc)
    assert back.extra == state


odd = st.builds(object) | st.builds(BadArgument) | st.builds(Hostile) | st.just(print) | st.just(type) | st.just(1j)
anything = st.recursive(
    plain | odd,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=8,
)
any_class = st.sampled_from(
    [ValueError, Hostile, Properties, NotText, SystemExit, UnicodeError, ImportError, SyntaxError, StopIteration]
)


@settings(deadline=None)
@given(any_class, st.lists(anything, max_size=4), st.integers(1, 2_000))
def test_writing_and_reading_never_raise(cls: type[BaseException], args: list[Any], max_bytes: int) -> None:
    try:
        exc = cls(*args)
    except TypeError:
        return
    for text in (encode_exception(exc), encode_exception(exc, max_bytes=max_bytes)):
        assert isinstance(decode_exception(text), BaseException)
        assert isinstance(summary(text), str)
    assert isinstance(format_traceback(exc), str)


@settings(deadline=None)
@given(st.text() | st.binary())
def test_reading_anything_never_raises(text: Any) -> None:
    assert isinstance(decode_exception(text), BaseException)


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            key: plain
            for key in (
                "type",
                "module",
                "text",
                "args",
                "state",
                "notes",
                "cause",
                "context",
                "suppress",
                "members",
                "init",
                "brief",
            )
        },
    ),
    st.sampled_from(["ValueError", "OSError", "ImportError", "ExceptionGroup", "UnicodeDecodeError"]),
)
def test_reading_any_record_never_raises(fields: dict[str, Any], name: str) -> None:
    tree = {"type": name, "module": "builtins", "args": [], **fields}
    try:
        text = json.dumps(tree)
    except TypeError:
        text = json.dumps(tree, default=repr)
    assert isinstance(decode_exception(text), BaseException)
