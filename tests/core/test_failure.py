"""Exceptions cross as themselves where that can be, as a stand-in where it cannot, and nothing about them raises."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import types
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from litequeue.core.failure import (
    Repr,
    decode_exception,
    encode_exception,
)
from litequeue.exceptions import (
    ChordError,
    MaxRetriesExceededError,
    NotRegistered,
    Reject,
    RemoteError,
    Retry,
    SoftTimeLimitExceeded,
    TaskRevokedError,
    TimeLimitExceeded,
    WorkerLostError,
    WorkerShutdown,
)


def crossed(exc: BaseException) -> Any:
    """`exc` after it was written and read."""
    text = encode_exception(exc)
    text.encode()  # SQLite stores text as UTF-8
    return decode_exception(text)


def raised(exc: BaseException) -> BaseException:
    try:
        raise exc
    except BaseException as caught:
        return caught


class OwnArguments(Exception):
    """Takes other arguments than it hands on: calling it with its `args` would fail."""

    calls = 0

    def __init__(self, code: int, *, detail: str) -> None:
        type(self).calls += 1
        self.code = code
        self.detail = detail
        super().__init__(f"{code}: {detail}")


class Prefixed(Exception):
    """Calling it with its `args` would succeed, and be wrong."""

    def __init__(self, message: str) -> None:
        super().__init__(f"prefix {message}")


class Outer:
    class Inner(ValueError):
        pass


class Http(OSError):
    def __init__(self, *args: Any, response: Any = None) -> None:
        self.response = response
        super().__init__(*args)


@dataclass
class Structured(Exception):
    field: str
    at: datetime


class NewTaker(Exception):
    def __new__(cls, *args: Any) -> NewTaker:
        raise AssertionError("not called when it is read")


def same(back: BaseException, exc: BaseException) -> None:
    assert type(back) is type(exc)
    assert back.args == exc.args
    assert str(back) == str(exc)


@pytest.mark.parametrize(
    "exc",
    [
        ValueError(),
        ValueError("é\x00\ud800"),
        ValueError(1, "two", 3.0, None, [4], {"five": (6, {7})}),
        KeyError("k"),
        KeyError(("a", 1)),
        OSError(5, "input"),
        FileNotFoundError(2, "No such file", "/nowhere"),
        FileExistsError(17, "exists", "/a", None, "/b"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        UnicodeEncodeError("ascii", "é", 0, 1, "invalid"),
        StopIteration(5),
        SyntaxError("bad", ("file.py", 1, 2, "text", 1, 3)),
        json.JSONDecodeError("bad", "{x", 1),
        subprocess.CalledProcessError(1, ["ls"], b"out"),
        Outer.Inner("nested"),
        Http("no", response={"status": 404}),
        Http(2, "no", "file"),
        NotRegistered("proj.add"),
        SoftTimeLimitExceeded(3.0),
        TimeLimitExceeded(3.0),
        WorkerLostError("signal 9"),
        TaskRevokedError("expired"),
        ChordError("Dependency 1 raised ValueError"),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_comes_back_as_its_own_class_with_its_arguments_and_its_text(exc: BaseException) -> None:
    back = crossed(exc)
    same(back, exc)
    assert vars(back) == vars(exc)
    same(crossed(raised(back)), exc)


def test_what_c_exceptions_keep_beside_their_arguments() -> None:
    assert crossed(FileNotFoundError(2, "no", "/nowhere")).filename == "/nowhere"
    assert crossed(OSError(2, "no", "/a", None, "/b")).filename2 == "/b"
    assert crossed(OSError(5, "x")).errno == 5
    with pytest.raises(ModuleNotFoundError) as missing:
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401
    assert crossed(missing.value).name == "no_such_module"
    with pytest.raises(AttributeError) as attribute:
        object().colour  # type: ignore[attr-defined]  # noqa: B018
    assert crossed(attribute.value).name == "colour"
    assert crossed(StopIteration(7)).value == 7


def test_an_exception_with_arguments_of_its_own_is_restored_not_called() -> None:
    exc = OwnArguments(7, detail="x")
    calls = OwnArguments.calls
    back = crossed(exc)
    same(back, exc)
    assert (back.code, back.detail) == (7, "x")
    assert OwnArguments.calls == calls
    same(crossed(Prefixed("m")), Prefixed("m"))


def test_a_python_constructor_is_not_run() -> None:
    exc = NewTaker.__base__.__new__(NewTaker, 1)  # type: ignore[union-attr]
    back = crossed(exc)
    assert type(back) is NewTaker
    assert back.args == (1,)


def test_a_dataclass_that_is_an_exception() -> None:
    exc = Structured("f", datetime(2030, 1, 1, tzinfo=UTC))
    back = crossed(exc)
    assert type(back) is Structured
    assert back == exc


def test_what_json_cannot_write_is_a_marked_repr() -> None:
    class Connection:
        def __repr__(self) -> str:
            return "<Connection 5>"

    exc = ValueError(Connection(), [1, {"c": Connection()}], Path("/a"))
    exc.conn = Connection()  # type: ignore[attr-defined]
    back = crossed(exc)
    assert type(back) is ValueError
    assert type(back.args[0]) is Repr
    assert back.args[1][0] == 1
    assert repr(back) == repr(exc)
    assert back.conn == "<Connection 5>"


def test_exceptions_inside_of_exceptions() -> None:
    exc = ValueError("outer", KeyError("inner", [OSError(1, "x")]))
    exc.reason = LookupError("why")  # type: ignore[attr-defined]
    back = crossed(exc)
    assert type(back.args[1]) is KeyError
    assert type(back.args[1].args[1][0]) is PermissionError
    assert repr(back.reason) == "LookupError('why')"


def test_an_exception_that_contains_itself() -> None:
    exc = ValueError("a")
    exc.args = ("a", exc)
    exc.me = [exc]  # type: ignore[attr-defined]
    back = crossed(exc)
    assert type(back) is ValueError
    assert isinstance(back.args[1], RemoteError)


# Ours


def test_retry() -> None:
    for when in (3.5, datetime(2030, 1, 1, tzinfo=UTC), None):
        exc = Retry("later", ValueError("cause"), when)
        exc.sig, exc.rerun = object(), object()  # type: ignore[assignment]
        back = crossed(exc)
        same(back, exc)
        assert repr(back.exc) == "ValueError('cause')"
        assert (back.when, back.excs, back.message) == (when, exc.excs, "later")
        assert (back.sig, back.rerun, back.is_eager) == (None, None, False)
        assert back.humanize() == exc.humanize()


def test_reject_and_max_retries() -> None:
    back = crossed(Reject("no", requeue=True))
    assert (type(back), back.reason, back.requeue) == (Reject, "no", True)
    back = crossed(MaxRetriesExceededError("m", task_args=(1, 2), task_kwargs={"a": 1}))
    assert (back.args, back.task_args, back.task_kwargs) == (("m",), (1, 2), {"a": 1})


def test_a_stand_in_is_written_as_what_it_stands_for() -> None:
    """A process in the middle that does not know the class does not hide it from one that does."""
    stand_in = RemoteError("f", "w", type_name="Structured", module="tests.core.unknown", text="t")
    back = crossed(stand_in)
    assert (type(back), back.args, back.type_name, back.module, back.text, str(back)) == (
        RemoteError,
        ("f", "w"),
        "Structured",
        "tests.core.unknown",
        "t",
        "Structured: t",
    )
    assert type(crossed(RemoteError("x", type_name="KeyError", module="builtins"))) is KeyError


# Chains, notes and groups


def test_cause_context_and_notes() -> None:
    with pytest.raises(RuntimeError) as caught:
        try:
            try:
                raise KeyError("first")
            except KeyError as first:
                raise OwnArguments(1, detail="second") from first
        except OwnArguments:
            raise RuntimeError("third")  # noqa: B904 - its context is what is looked at
    caught.value.add_note("a note")
    back = crossed(caught.value)
    assert back.__notes__ == ["a note"]
    assert back.__cause__ is None
    same(back.__context__, OwnArguments(1, detail="second"))
    same(back.__context__.__cause__, KeyError("first"))


def test_a_context_that_was_suppressed_stays_away() -> None:
    with pytest.raises(RuntimeError) as caught:
        try:
            raise KeyError("secret")
        except KeyError:
            raise RuntimeError("shown") from None
    assert "secret" not in encode_exception(caught.value)
    back = crossed(caught.value)
    assert back.__suppress_context__
    assert back.__context__ is None


def test_a_circle_of_causes_ends() -> None:
    first, second = ValueError(1), ValueError(2)
    first.__cause__, second.__cause__ = second, first
    back = crossed(first)
    same(back, first)
    same(back.__cause__, second)
    assert isinstance(back.__cause__.__cause__, RemoteError)


def test_a_very_long_chain_is_cut_not_fatal() -> None:
    exc = ValueError(0)
    for number in range(1, 5_000):
        following = ValueError(number)
        following.__cause__ = exc
        exc = following
    back = crossed(exc)
    assert back.args == (4_999,)
    assert back.__cause__.args == (4_998,)


def test_groups_keep_their_members() -> None:
    group = ExceptionGroup("g", [ValueError(1), ExceptionGroup("h", [OwnArguments(2, detail="x")])])
    group.add_note("n")
    back = crossed(group)
    assert type(back) is ExceptionGroup
    assert (back.message, back.__notes__) == ("g", ["n"])
    same(back.exceptions[0], ValueError(1))
    same(back.exceptions[1].exceptions[0], OwnArguments(2, detail="x"))
    assert back.split(ValueError)[0].exceptions[0].args == (1,)


def test_a_group_with_thousands_of_members() -> None:
    back = crossed(ExceptionGroup("g", [ValueError(number) for number in range(3_000)]))
    assert type(back) is ExceptionGroup
    assert len(back.exceptions) == 3_000
    assert back.exceptions[5].args == (5,)
    assert str(back.exceptions[2_999]) == "ValueError: 2999"


# Classes that are not rebuilt


@pytest.mark.parametrize(
    "exc",
    [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError("c"), WorkerShutdown(1)],
    ids=lambda exc: type(exc).__name__,
)
def test_what_would_end_the_reader_has_a_stand_in(exc: BaseException) -> None:
    back = crossed(exc)
    assert type(back) is RemoteError
    assert (back.type_name, back.args) == (type(exc).__name__, exc.args)
    group = crossed(BaseExceptionGroup("g", [exc]))
    assert isinstance(group, Exception)


def test_a_class_that_cannot_be_found_has_a_stand_in() -> None:
    class Local(Exception):
        pass

    back = crossed(Local("a", 1))
    assert type(back) is RemoteError
    assert back.args == ("a", 1)
    assert back.type_name.endswith("<locals>.Local")
    assert str(back).endswith("Local: ('a', 1)")


def record(**changed: Any) -> str:
    return json.dumps({"type": "ValueError", "module": "builtins", "text": "t", "args": ["t"], **changed})


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("builtins", "int"),
        ("builtins", "nothing"),
        ("builtins", "ValueError.__init__"),
        ("os", "system"),
        ("os", "path.join"),
        ("subprocess", "Popen"),
        ("no.such.module", "Error"),
        ("", "Error"),
        ("../x", "Error"),
        ("litequeue", "__doc__"),
        ("tests.core.test_failure", "Outer"),
        ("tests.core.test_failure", "raised"),
    ],
)
def test_only_exception_classes_are_used(module: str, name: str) -> None:
    back = decode_exception(record(module=module, type=name))
    assert type(back) is RemoteError
    assert (back.type_name, back.module, back.args) == (name, module, ("t",))


def test_a_module_that_was_not_imported_yet_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failure_late.py").write_text("class Late(Exception): pass\n")
    (tmp_path / "failure_exits.py").write_text("raise SystemExit(1)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert type(decode_exception(record(module="failure_late", type="Late"))).__name__ == "Late"
    assert type(decode_exception(record(module="failure_exits", type="Late"))) is RemoteError
    del sys.modules["failure_late"]


def test_classes_of_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """`__main__` of the worker is another module than `__main__` of the caller, who may have the class all the same."""
    main = types.ModuleType("__main__")
    main.Mine = type("Mine", (Exception,), {"__module__": "__mp_main__", "__qualname__": "Mine"})  # type: ignore[attr-defined]
    text = encode_exception(main.Mine(1))
    assert '"module":"__main__"' in text
    assert type(decode_exception(text)) is RemoteError
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert type(decode_exception(text)) is main.Mine


def test_a_module_is_not_asked_for_names_it_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    module = types.ModuleType("failure_lazy")
    module.__getattr__ = asked.append  # type: ignore[method-assign, assignment]
    monkeypatch.setitem(sys.modules, "failure_lazy", module)
    assert type(decode_exception(record(module="failure_lazy", type="Error"))) is RemoteError
    assert asked == []


def test_attributes_cannot_replace_what_an_exception_is() -> None:
    state = {"with_traceback": 1, "args": 2, "__class__": 3, "__cause__": 4, "fine": 5}
    back = decode_exception(record(state=state))
    assert back.args == ("t",)
    assert back.fine == 5  # type: ignore[attr-defined]
    assert callable(back.with_traceback)
    assert back.__cause__ is None
