"""Exceptions as they cross the file: a record in JSON, and the exception made from it again.

    {"type": "Timeout", "module": "requests.exceptions", "text": "…", "args": […], "state": {…},
     "notes": […], "cause": {…}, "context": {…}, "suppress": true, "members": {…}, "init": […]}

`args` and `state` (the attributes that the exception's own code set) follow the rules of json; a tuple stays a tuple,
an exception among them is a record of its own, and what json cannot write is its `repr()`, marked as such (`Repr`).

Nothing here trusts what it is given. Writing never raises, whatever the exception's own methods do. Reading runs none
of the exception's own code: its class is looked up, and must be an exception class; the object is made by the C
constructors it inherits, and its attributes are put back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import BuiltinFunctionType, WrapperDescriptorType
from typing import Any, Final, NamedTuple, TypeGuard, TypeVar

from litequeue.core import json_codec
from litequeue.core.type_tags import TYPE_KEY, VALUE_KEY, brief, tagged, untag
from litequeue.exceptions import RemoteError, Retry

RECORD_BYTES: Final = 1 << 20
"""The size a record is kept under where nothing smaller is asked for."""
TRACEBACK_CHARS: Final = 1 << 16

_Exc = TypeVar("_Exc", bound=BaseException)


class _Limits(NamedTuple):
    text: int
    """Characters of a string."""
    nodes: int
    """Values in all of `args` and `state`."""
    links: int
    """Records in all: causes, contexts, members of groups, exceptions among the arguments."""
    depth: int
    """Records inside of records."""


# Each is tried when the record of the one before was too large.
_LIMITS: Final = (_Limits(65_536, 20_000, 200, 30), _Limits(4_096, 1_000, 30, 8), _Limits(500, 50, 4, 2))
_REPR_CHARS: Final = 1_000
_BRIEF_CHARS: Final = 300
_SUMMARY_CHARS: Final = 8_192
"""Of `text`: what is shown. The arguments have the whole of it."""

_MAIN_ALIASES: Final = ("__mp_main__",)
_ATTRIBUTES: Final[Any] = vars(BaseException)["__dict__"]
_NOT_STATE: Final = frozenset(dir(BaseException))
# What C exceptions keep outside of their arguments and of `__dict__`.
_MEMBERS: Final[tuple[tuple[type[BaseException], tuple[str, ...]], ...]] = (
    (ImportError, ("name", "path")),
    (NameError, ("name",)),
    (AttributeError, ("name",)),
)


class Repr(str):
    """Stands where an argument could not be written: the `repr()` it had. Its own repr is the same text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str.__str__(self)


# Writing


def encode_exception(exc: BaseException, *, max_bytes: int | None = None) -> str:
    """The record of `exc` as JSON text of at most `max_bytes` (1 MiB by default). Never raises.

    What is too long is cut and says so, first in the long strings, then in the number of causes and arguments; a
    `max_bytes` below a few hundred may be exceeded by what is then left, the class and its module.
    """
    bound = RECORD_BYTES if max_bytes is None else min(max_bytes, RECORD_BYTES)
    for limits in _LIMITS:
        try:
            text = json_codec.dumps_tree(_Recorder(limits).record(exc))
            if len(text) <= bound and (text.isascii() or len(text.encode()) <= bound):
                return text
        except BaseException:  # the exception's own code may raise anything; the next record is smaller
            continue
    return _least_record(exc)


def encode_chord_error(failed_id: str, cause: str | bytes | None) -> str:
    """The record of the ChordError of a body, made of the record of the member that failed. Never raises.

    No class is looked up for it: this is called inside a transaction.
    """
    record: Any = None
    with suppress(Exception):
        record = json_codec.loads_with(_leave, cause.decode() if isinstance(cause, bytes) else cause or "null")
    shown = _shown(record) if isinstance(record, dict) else "an exception that was not kept"
    text = f"Dependency {failed_id} raised {shown}"
    tree = {"type": "ChordError", "module": "litequeue.exceptions", "text": text, "args": [text]}
    with suppress(Exception):
        return json_codec.dumps_tree({**tree, "cause": record} if isinstance(record, dict) else tree)
    return json_codec.dumps_tree(tree)


def _shown(record: dict[str, Any]) -> str:
    """The `repr()` that the exception of a record would have, as near as the record tells."""
    args = record.get("args")
    plain = isinstance(args, list) and all(isinstance(arg, (str, int, float, bool, type(None))) for arg in args)
    inner = ", ".join(map(repr, args)) if plain and args is not None else repr(record.get("text"))
    return _cut(f"{record.get('type')}({inner})", _SUMMARY_CHARS)


def _least_record(exc: BaseException) -> str:
    try:
        name, module = _names_of(exc)
        tree = {"type": name[:200], "module": module[:200], "text": _cut(_text_of(exc), 100), "args": []}
        return json_codec.dumps_tree(tree)
    except BaseException:
        return '{"type":"Exception","module":"builtins","text":"an exception that could not be described","args":[]}'


class _Recorder(json_codec.Walker):
    """Makes the record's tree: a walker that refuses nothing, and stops at its limits."""

    keep_tuples = True

    def __init__(self, limits: _Limits) -> None:
        super().__init__("args")
        self.limits = limits
        self.nodes = limits.nodes
        self.links = limits.links
        self.depth = 0
        self.recorded: set[int] = set()

    def record(self, exc: BaseException) -> dict[str, Any]:
        """The tree of the exception's record, with everything that hangs on it."""
        self.links -= 1
        if self.links < 0 or self.depth >= self.limits.depth or id(exc) in self.recorded:
            return self.brief(exc)
        self.recorded.add(id(exc))
        self.depth += 1
        try:
            if type(exc) is RemoteError:
                return self.stand_in(exc)
            name, module = _names_of(exc)
            tree: dict[str, Any] = {"type": name, "module": module}
            tree["text"] = _cut(_text_of(exc), min(self.limits.text, _SUMMARY_CHARS))
            tree["args"] = self.arguments(_arguments_of(exc))
            for add in (self.details, self.chain):
                with suppress(BaseException):  # the class may have made properties of any of these attributes
                    add(exc, tree)
            return tree
        finally:
            self.depth -= 1
            self.recorded.discard(id(exc))

    def stand_in(self, exc: RemoteError) -> dict[str, Any]:
        """The record that a stand-in was made from: who reads it may know the class."""
        tree: dict[str, Any] = {"type": str(exc.type_name), "module": str(exc.module)}
        tree["text"] = _cut(str(exc.text), _SUMMARY_CHARS)
        tree["args"] = self.arguments(exc.args)
        self.chain(exc, tree)
        return tree

    def brief(self, exc: BaseException) -> dict[str, Any]:
        """What is said of an exception where there is no room for more."""
        name, module = _names_of(exc)
        return {"type": name, "module": module, "text": _cut(_text_of(exc), _BRIEF_CHARS), "args": [], "brief": True}

    def arguments(self, args: Iterable[Any]) -> list[Any]:
        """The trees of the arguments."""
        return [self.guarded(arg) for arg in args]

    def guarded(self, value: Any) -> Any:
        """The tree of one value; its repr where its own code fails."""
        try:
            return self.walk(value)
        except BaseException:
            return _marked(value)

    def details(self, exc: BaseException, tree: dict[str, Any]) -> None:
        """Add what the exception keeps beside its arguments."""
        members = {
            name: self.guarded(getattr(exc, name))
            for cls, names in _MEMBERS
            if _is(exc, cls)
            for name in names
            if type(getattr(exc, name, None)) is str
        }
        if members:
            tree["members"] = members
        if _is(exc, OSError) and exc.filename is not None:
            names = [exc.errno, exc.strerror, exc.filename]
            tree["init"] = self.arguments([*names, None, exc.filename2] if exc.filename2 is not None else names)
        hidden = ("_sig", "rerun") if _is(exc, Retry) else ()
        own = _ATTRIBUTES.__get__(exc)
        if own:
            state = {
                str.__str__(key): self.guarded(value)
                for key, value in list(own.items())
                if isinstance(key, str) and not key.startswith("__") and key not in _NOT_STATE and key not in hidden
            }
            if state:
                tree["state"] = state

    def chain(self, exc: BaseException, tree: dict[str, Any]) -> None:
        """Add notes, cause and context, as a traceback would show them."""
        notes = getattr(exc, "__notes__", None)
        if isinstance(notes, (list, tuple)) and notes:
            tree["notes"] = [_cut(_guard(str, note), self.limits.text) for note in notes[:100]]
        cause, context = exc.__cause__, exc.__context__
        if cause is not None:
            tree["cause"] = self.record(cause)
        elif exc.__suppress_context__:
            tree["suppress"] = True
        elif context is not None:
            tree["context"] = self.record(context)

    # The walker, with limits instead of refusals

    def refuse(self, value: Any, reason: str, cause: BaseException | None = None) -> Any:
        """The repr of what cannot be written."""
        return _marked(value)

    def walk(self, value: Any) -> Any:
        """The tree of a value, as long as there is room."""
        self.nodes -= 1
        if self.nodes < 0 or len(self.inside) > 40:
            return _marked(value)
        return super().walk(value)

    def text(self, value: str) -> Any:
        """The tree of a string, cut when it is long."""
        return super().text(_cut(value, self.limits.text) if len(value) > self.limits.text else value)

    def object(self, value: Any) -> Any:
        """The tree of anything else: an exception is a record of its own, large binary data is only named."""
        if issubclass(type(value), BaseException):
            return tagged("exception", self.record(value))
        if isinstance(value, (bytes, bytearray, memoryview)) and len(value) > self.limits.text:
            return tagged("repr", f"<{len(value):,} bytes beginning {bytes(value[:40])!r}>")
        return super().object(value)

    def items(self, value: Any) -> list[Any]:
        """The trees of the items that there is room for."""
        if len(value) <= self.nodes:
            return super().items(value)
        kept = super().items(list(value)[: max(self.nodes, 0) // 2])
        return [*kept, tagged("repr", f"<{len(value) - len(kept):,} more left out>")]

    def mapping(self, value: dict[Any, Any], part: str = "[{!r}]") -> Any:
        """The tree of a dict that there is room for."""
        return super().mapping(value, part) if len(value) <= self.nodes else _marked(value)


def _is(exc: BaseException, cls: type[_Exc]) -> TypeGuard[_Exc]:
    """`isinstance`, without asking the exception for its `__class__`."""
    return issubclass(type(exc), cls)


def _names_of(exc: BaseException) -> tuple[str, str]:
    cls = type(exc)
    module = str(cls.__module__)
    return str(cls.__qualname__), "__main__" if module in _MAIN_ALIASES else module


def _arguments_of(exc: BaseException) -> tuple[Any, ...]:
    if _is(exc, BaseExceptionGroup):
        return exc.message, list(exc.exceptions)
    args = BaseException.args.__get__(exc)  # type: ignore[attr-defined]
    return args if type(args) is tuple else ()


def _text_of(exc: BaseException) -> str:
    return _guard(str, exc)


def _guard(show: Callable[[Any], str], value: Any) -> str:
    """What `str` or `repr` says of `value`; the value's own code may raise anything, and does not matter."""
    try:
        return str.__str__(show(value))
    except BaseException as exc:
        return f"<{type(value).__qualname__}: its {show.__name__}() raised {type(exc).__qualname__}>"


def _marked(value: Any) -> dict[str, Any]:
    """The repr of a value under the mark that it is one; a large container is not shown in full."""
    if isinstance(value, (list, tuple, dict, set, frozenset, str, bytes, int)):
        import reprlib

        return tagged("repr", _cut(_guard(reprlib.repr, value), _REPR_CHARS))
    return tagged("repr", _cut(_guard(repr, value), _REPR_CHARS))


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… [cut: {limit:,} of {len(text):,} characters]"


# Reading


def decode_exception(text: str | bytes) -> BaseException:
    """The exception of a record. Never raises.

    It is of its own class where that can be imported here and is an exception class; a `RemoteError` with its name, its
    arguments and its text stands in for every other. It also stands in for SystemExit, KeyboardInterrupt, GeneratorExit
    and asyncio's CancelledError: raised where a result is read, those would end or cancel the reader.
    """
    try:
        content = text.decode() if isinstance(text, bytes) else text
        return _rebuild(json_codec.loads_with(_hook, content))
    except Exception as exc:
        shown = _cut(_guard(str, text), _BRIEF_CHARS)
        return RemoteError(shown, text=f"its record cannot be read ({brief(exc)}): {shown}")


def summary(text: str) -> str:
    """One line, `ValueError: the text`, of a record; imports and rebuilds nothing. Never raises."""
    try:
        record = json_codec.loads_with(_leave, text)
        return f"{record['type']}: {record['text']}" if record["text"] else str(record["type"])
    except Exception:
        return _cut(_guard(str, text), _BRIEF_CHARS)


def _leave(found: dict[str, Any]) -> Any:
    return found


def _hook(found: dict[str, Any]) -> Any:
    name = found.get(TYPE_KEY)
    if type(name) is not str or len(found) != 2 or VALUE_KEY not in found:
        return found
    value = found[VALUE_KEY]
    if name == "repr":
        return Repr(value)
    try:
        return _rebuild(value) if name == "exception" else untag(name, value)
    except Exception:
        return Repr(_cut(_guard(repr, value), _REPR_CHARS))


def _rebuild(record: Any) -> BaseException:
    """The exception of a record that was read; raises where the record is not one."""
    name, module, text = str(record["type"]), str(record["module"]), str(record.get("text") or "")
    args = tuple(record["args"])
    exc: BaseException | None = None
    cls = _find_class(module, name)
    if cls is not None and not record.get("brief"):
        try:
            exc = _make(cls, args, record)
        except Exception:
            exc = None
    if exc is None:
        exc = RemoteError(*args, type_name=name, module=module, text=text)
    _link(exc, record)
    return exc


def _find_class(module: str, name: str) -> type[BaseException] | None:
    """The exception class of that name, or None when it cannot be had, or must not be raised here."""
    if "<" in name:
        return None  # <locals>: only the function that defined it has it
    holder: Any = sys.modules.get(module)
    if holder is None:
        holder = _import(module)
    for part in name.split("."):
        # Only what stands in the namespace: a module's or a class's __getattr__ is not asked.
        holder = getattr(holder, "__dict__", {}).get(part)
    if not isinstance(holder, type) or not issubclass(holder, BaseException) or _ends_the_reader(holder):
        return None
    return holder


def _import(module: str) -> Any:
    if not all(part.isidentifier() for part in module.split(".")):
        return None
    from importlib import import_module

    try:
        return import_module(module)
    except (Exception, SystemExit):
        return None


def _ends_the_reader(cls: type[BaseException]) -> bool:
    if issubclass(cls, (SystemExit, KeyboardInterrupt, GeneratorExit)):
        return True
    return any(base.__module__ == "asyncio.exceptions" and base.__name__ == "CancelledError" for base in cls.__mro__)


def _make(cls: type[BaseException], args: tuple[Any, ...], record: Any) -> BaseException:
    """An instance of `cls` with these arguments, made without running any Python code of the class.

    Calling `cls(*args)` would be wrong as often as not: what `__init__` takes need not be what it hands on as `args`.
    """
    given = tuple(record["init"]) if "init" in record else args
    exc: BaseException = _inherited(cls, "__new__", BuiltinFunctionType)(cls, *given)
    _inherited(cls, "__init__", WrapperDescriptorType)(exc, *given)
    if not _is(exc, BaseExceptionGroup):
        BaseException.args.__set__(exc, args)  # type: ignore[attr-defined]
    for base, names in _MEMBERS:
        if _is(exc, base):
            for name in names:
                value = record.get("members", {}).get(name)
                if value is not None:
                    vars(base)[name].__set__(exc, value)
    state = record.get("state")
    if _is(exc, Retry):
        state = {"sig": None, "rerun": None, **(state or {})}
    if state:
        kept = {key: value for key, value in state.items() if not key.startswith("__") and key not in _NOT_STATE}
        _ATTRIBUTES.__get__(exc).update(kept)
    return exc


def _inherited(cls: type, method: str, kind: type) -> Callable[..., Any]:
    """The nearest C implementation of a method."""
    for base in cls.__mro__:
        found = vars(base).get(method)
        if isinstance(found, kind):
            return found  # type: ignore[return-value]
    raise TypeError(f"{cls!r} has no {method} that can be used")


def _link(exc: BaseException, record: Any) -> None:
    notes = record.get("notes")
    if isinstance(notes, list) and notes:
        exc.__notes__ = [str(note) for note in notes]
    if record.get("cause"):
        exc.__cause__ = _rebuild(record["cause"])
    if record.get("context"):
        exc.__context__ = _rebuild(record["context"])
    if record.get("suppress"):
        exc.__suppress_context__ = True


# Tracebacks


def format_traceback(exc: BaseException, *, max_chars: int = TRACEBACK_CHARS) -> str:
    """The traceback text of `exc` and of what led to it, without litequeue's own frames. Never raises.

    A text of more than `max_chars` characters loses its middle: where it began and what it was are kept.
    """
    try:
        import traceback

        shown = traceback.TracebackException(type(exc), exc, exc.__traceback__, compact=True)
        _drop_own_frames(shown)
        text = "".join(shown.format())
    except BaseException:
        text = f"{type(exc).__qualname__}: {_text_of(exc)}\n(the traceback could not be formatted)\n"
    if not text.isascii():
        # The text is stored as UTF-8, which has no lone surrogates.
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= max_chars:
        return text
    head, tail = max_chars // 3, max_chars - max_chars // 3
    return f"{text[:head]}\n… {len(text) - head - tail:,} characters left out …\n{text[len(text) - tail :]}"


_OWN_FOLDER: Final = __file__.rpartition("core")[0]


def _drop_own_frames(shown: Any) -> None:
    """Take litequeue's frames out of each stack; a stack that has no others is left as it is."""
    pending, seen = [shown], set()
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        others = [frame for frame in each.stack if not frame.filename.startswith(_OWN_FOLDER)]
        if others:
            each.stack[:] = others
        pending += [each.__cause__, each.__context__, *(each.exceptions or ())]


class ExceptionInfo:
    """An exception and the text of its traceback, as handlers and signals get it (`einfo`).

    `type` is the class, `exception` the object, `traceback` the text; `str()` is the text. The text is made when it is
    first asked for, or taken from `traceback`.
    """

    def __init__(self, exception: BaseException, traceback: str | None = None) -> None:
        self.exception = exception
        self.type = type(exception)
        self.internal = False
        self._traceback = traceback

    @property
    def traceback(self) -> str:
        """The text of the traceback."""
        if self._traceback is None:
            self._traceback = format_traceback(self.exception)
        return self._traceback

    @property
    def tb(self) -> Any:
        """The traceback object, while the exception still has it."""
        return self.exception.__traceback__

    @property
    def exc_info(self) -> tuple[type[BaseException], BaseException, Any]:
        """The triple that `sys.exc_info()` gives."""
        return self.type, self.exception, self.exception.__traceback__

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<ExceptionInfo: {_guard(repr, self.exception)}>"
