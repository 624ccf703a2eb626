"""JSON text that keeps Python's own value types.

What JSON has is written as JSON. Dates, times, Decimal, UUID, bytes and sets are written as a tagged object,
`{"__type__": "datetime", "__value__": "2030-01-01T00:00:00+00:00"}`, and come back as what they were. An Enum is
written as its value, a dataclass as an object of its fields, and an object with `__json__()` as what that returns.

A value is written by the C encoder in one pass. Only where that pass fails, or where its text holds something that
would not be read back as it was (a caller's own "__type__" key, a lone surrogate), does `Walker` go through the value
in Python: it either makes a tree that the C encoder can write exactly, or names the path of what cannot be written.
"""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Callable
from json import JSONDecoder, JSONEncoder
from json import encoder as _json_encoder
from typing import Any, Final

from litequeue.core.type_tags import (
    PLAIN_MEMBERS,
    TYPE_KEY,
    VALUE_KEY,
    Refused,
    brief,
    reduce_object,
    tagged,
    untag,
)
from litequeue.exceptions import DecodeError, EncodeError, SerializationError, SoftTimeLimitExceeded

CALL: Final = "the arguments"
"""The `what` of a pair [args, kwargs]: its paths begin with `args` and `kwargs`."""

_WRITTEN_MARK: Final = '"__type__":'
_READ_MARK: Final = '"__type__"'
_PAIR: Final = re.compile("(?<=[\ud800-\udbff])(?=[\udc00-\udfff])")
"""Between two lone surrogates which JSON's escapes would join to one character."""
_HUGE_BITS: Final = 2000
"""Integers of more bits are written in base 16: Python may refuse to read more than 640 decimal digits (2,126 bits)."""


# Writing


def _make_encoder(
    markers: dict[int, Any] | None, default: Callable[[Any], Any] | None, ascii_only: bool = False
) -> Callable[[Any, int], Any]:
    """The C encoder behind `json.dumps`, made once: making it anew for each value costs as much as a small value."""

    def refuse(obj: Any) -> Any:
        raise TypeError(type(obj).__name__)

    make = getattr(_json_encoder, "c_make_encoder", None)
    if make is None:  # no C accelerator in this Python
        encode = JSONEncoder(default=default or refuse, ensure_ascii=ascii_only, separators=(",", ":")).encode
        return lambda value, _level: encode(value)
    quote = _json_encoder.encode_basestring_ascii if ascii_only else _json_encoder.encode_basestring
    encoder: Callable[[Any, int], Any] = make(markers, default or refuse, quote, None, ":", ",", False, False, True)
    return encoder


class _NeedsWalk(Exception):
    """The C encoder alone cannot write the value so that it comes back as it was."""


class _PerThread(threading.local):
    """One encoder for each thread: it notes the containers it is in, to notice circles, and counts its tags."""

    def __init__(self) -> None:
        self.tags = 0
        self.markers: dict[int, Any] = {}
        self.encode = _make_encoder(self.markers, self._default)

    def _default(self, obj: Any) -> Any:
        if type(obj) in (set, frozenset) and not PLAIN_MEMBERS.issuperset(map(type, obj)):
            raise _NeedsWalk
        name, value = reduce_object(obj)
        if name is None:
            return value
        self.tags += 1
        return {TYPE_KEY: name, VALUE_KEY: value}

    def all_ours(self, text: str) -> bool:
        """Whether every "__type__" key of the text is a tag."""
        tags, self.tags = self.tags, 0
        return tags == text.count(_WRITTEN_MARK)

    def reset(self) -> None:
        self.tags = 0
        self.markers.clear()


_per_thread = _PerThread()
# A tree has no circles, and nothing that needs a tag.
_encode_tree = _make_encoder(None, None)
_encode_ascii = _make_encoder(None, None, ascii_only=True)


def dumps(value: Any, what: str = "value") -> str:
    """The JSON text of `value`, always valid Unicode; EncodeError names the path of what cannot be written."""
    mine = _per_thread
    try:
        text = "".join(mine.encode(value, 0))
        if (_WRITTEN_MARK not in text or mine.all_ours(text)) and (text.isascii() or _is_unicode(text)):
            return text
    except SoftTimeLimitExceeded:
        mine.reset()
        raise
    except Exception:
        mine.reset()
    except BaseException:
        mine.reset()
        raise
    return dumps_tree(Walker(what).tree(value), what)


def dumps_tree(tree: Any, what: str = "value") -> str:
    """The JSON text of a tree that a `Walker` made."""
    try:
        text = "".join(_encode_tree(tree, 0))
        return text if text.isascii() or _is_unicode(text) else "".join(_encode_ascii(tree, 0))
    except RecursionError:
        raise EncodeError(f"{what} is nested too deeply to be written as json") from None


def _is_unicode(text: str) -> bool:
    """Whether the text can be stored: a lone surrogate has no UTF-8 form."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Walker:
    """Makes the tree of plain JSON values for a value, and knows the path of what cannot be written."""

    keep_tuples = False
    """Whether a tuple is tagged, to come back as a tuple."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.parts: list[str] = []
        self.inside: set[int] = set()

    def tree(self, value: Any) -> Any:
        """The tree of `value`; EncodeError where there is none."""
        try:
            return self.walk(value)
        except (SerializationError, SoftTimeLimitExceeded):
            raise
        except RecursionError:
            raise EncodeError(f"{self.path()} is nested too deeply to be written as json") from None
        except Exception as exc:
            raise EncodeError(f"{self.path()} cannot be written as json: {brief(exc)}") from exc

    def path(self) -> str:
        """Where the walker is, as in `args[0]['when'][3]`."""
        return path_text(self.what, self.parts)

    def refuse(self, value: Any, reason: str, cause: BaseException | None = None) -> Any:
        """Raise the error for `value`, or return what shall stand for it."""
        raise EncodeError(f"{self.path()} {reason}") from cause

    def walk(self, value: Any) -> Any:
        """The tree of `value`, in the order of the C encoder's own tests."""
        if isinstance(value, str):
            return self.text(value)
        if value is None or value is True or value is False:
            return value
        if isinstance(value, int):
            return tagged("int", hex(int(value))) if int.bit_length(value) > _HUGE_BITS else value
        if isinstance(value, float):
            return value
        return self.enter(value)

    def text(self, value: str) -> Any:
        """The tree of a string."""
        if value.isascii() or not _PAIR.search(value):
            return value
        return tagged("str", _PAIR.split(value))

    def enter(self, value: Any) -> Any:
        """The tree of a container or an object, unless it is inside of itself."""
        if id(value) in self.inside:
            return self.refuse(
                value, f"is of type {type_name(value)} and contains itself: json has no circular references"
            )
        self.inside.add(id(value))
        try:
            if isinstance(value, (list, tuple)):
                items = self.items(value)
                return tagged("tuple", items) if self.keep_tuples and isinstance(value, tuple) else items
            return self.mapping(value) if isinstance(value, dict) else self.object(value)
        finally:
            self.inside.discard(id(value))

    def child(self, part: str, value: Any, walk: Callable[[Any], Any] | None = None) -> Any:
        """The tree of a part of the value; while an error is raised the path stays."""
        self.parts.append(part)
        tree = (walk or self.walk)(value)
        self.parts.pop()
        return tree

    def items(self, value: Any) -> list[Any]:
        """The trees of a sequence's items."""
        return [self.child(f"[{index}]", item) for index, item in enumerate(value)]

    def mapping(self, value: dict[Any, Any], part: str = "[{!r}]") -> Any:
        """The tree of a dict; one with a "__type__" key of its own is written as a tagged list of pairs."""
        tree: dict[str, Any] = {}
        escape = False
        for key, item in list(value.items()):
            if not (key is None or isinstance(key, (str, int, float))):
                return self.refuse(
                    value, f"has a key of type {type_name(key)}: keys must be str (numbers and None become str)"
                )
            text = _key_text(key)
            if text is None:
                return self.refuse(value, "has a key that is an integer too large for a JSON key")
            escape = escape or text == TYPE_KEY or not (text.isascii() or not _PAIR.search(text))
            tree[text] = self.child(part.format(_short(key)), item)
        if not escape:
            return tree
        return tagged("dict", [[Walker.text(self, key), item] for key, item in tree.items()])

    def object(self, value: Any) -> Any:
        """The tree of anything else."""
        try:
            name, plain = reduce_object(value)
        except Refused:
            return self.refuse(value, f"is of type {type_name(value)}, which json cannot write: {hint(value)}")
        except (RecursionError, SoftTimeLimitExceeded):
            raise
        except Exception as exc:
            reason = f"is of type {type_name(value)}, which could not be made plain: {brief(exc)}"
            return self.refuse(value, reason, exc)
        if name in ("set", "frozenset"):
            return tagged(name, [self.child("{…}", member, self.member) for member in plain])
        if name is not None:
            return tagged(name, self.walk(plain))
        if dataclasses.is_dataclass(value) and type(plain) is dict and not hasattr(value, "__json__"):
            return self.mapping(plain, ".{}")
        return self.walk(plain)

    def member(self, value: Any) -> Any:
        """The tree of a member of a set, which must be hashable again when it is read."""
        if isinstance(value, tuple):
            return tagged("tuple", [self.child(f"[{index}]", item, self.member) for index, item in enumerate(value)])
        tree = self.walk(value)
        if isinstance(tree, list) or (isinstance(tree, dict) and tree.get(TYPE_KEY) in _UNHASHABLE):
            return self.refuse(
                value, f"is of type {type_name(value)} in a set, and would be read back as what no set can hold"
            )
        return tree


_UNHASHABLE: Final = (None, "dict", "set", "bytearray")


def _key_text(key: Any) -> str | None:
    """A dict key as the C encoder writes it; None for an integer that Python will not write."""
    if isinstance(key, str):
        return key
    if key is True or key is False or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    if isinstance(key, float):
        return (
            "NaN"
            if key != key
            else {"inf": "Infinity", "-inf": "-Infinity"}.get(float.__repr__(key), float.__repr__(key))
        )
    return int.__repr__(key) if int.bit_length(key) <= _HUGE_BITS else None


# Naming what cannot be written

_PATH_PARTS: Final = 24


def path_text(what: str, parts: list[str]) -> str:
    """`args[0]['when']` for the parts of a path; a very long one is cut in its middle."""
    root = what
    if what is CALL and parts:
        root, parts = {"[0]": "args", "[1]": "kwargs"}.get(parts[0], what), parts[1:]
    if len(parts) > _PATH_PARTS:
        half = _PATH_PARTS // 2
        parts = [*parts[:half], f"…({len(parts) - 2 * half} more)…", *parts[-half:]]
    return root + "".join(parts)


def _short(key: Any) -> Any:
    text = str.__str__(key) if isinstance(key, str) else key
    return f"{text[:60]}…" if isinstance(text, str) and len(text) > 60 else text


def type_name(value: Any) -> str:
    """The class of `value` as a reader would import it."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def hint(value: Any) -> str:
    """What to do about a value that json cannot write."""
    cls = type(value)
    if hasattr(cls, "_meta") or hasattr(cls, "__tablename__"):
        return "pass its primary key and load it in the task"
    if hasattr(cls, "tolist"):
        return "pass its .tolist()"
    if hasattr(cls, "__await__"):
        return "await it first"
    if hasattr(cls, "__fspath__"):
        return "pass its str()"
    if hasattr(cls, "__iter__") and not hasattr(cls, "read"):
        return "pass a list of its items"
    if callable(value):
        return "pass its name"
    return "pass plain values, give its class a __json__() method, or register it with register_type()"


# Reading


def _hook(found: dict[str, Any]) -> Any:
    if TYPE_KEY in found and len(found) == 2 and VALUE_KEY in found and type(found[TYPE_KEY]) is str:
        return untag(found[TYPE_KEY], found[VALUE_KEY])
    return found


_plain = JSONDecoder()
_tagging = JSONDecoder(object_hook=_hook)
_scan: Any = _plain.scan_once  # type: ignore[attr-defined]


def loads(text: str) -> Any:
    """The value of a JSON text; DecodeError when it is not one."""
    if _READ_MARK in text:
        return _read(_tagging, text)
    try:
        value, end = _scan(text, 0)
    except SoftTimeLimitExceeded:
        raise
    except (StopIteration, ValueError, RecursionError):
        return _read(_plain, text)
    return value if end == len(text) else _read(_plain, text)


def loads_with(hook: Callable[[dict[str, Any]], Any], text: str) -> Any:
    """The value of a JSON text whose objects go through `hook`; DecodeError when it is not JSON."""
    return _read(JSONDecoder(object_hook=hook), text)


def _read(decoder: JSONDecoder, text: str) -> Any:
    try:
        return decoder.decode(text)
    except (SerializationError, SoftTimeLimitExceeded):
        raise
    except RecursionError:
        raise DecodeError(f"the json text ({len(text):,} characters) is nested too deeply to be read") from None
    except Exception as exc:
        raise DecodeError(f"this is not the json it should be: {brief(exc)}") from exc
