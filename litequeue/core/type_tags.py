"""The Python types that cross as json under a type tag, and come back as themselves.

{"__type__": "datetime", "__value__": "2030-01-01T00:00:00+00:00"}
"""

from __future__ import annotations

import dataclasses
import enum
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any, Final, NamedTuple

from litequeue.exceptions import DecodeError, SoftTimeLimitExceeded

TYPE_KEY: Final = "__type__"
VALUE_KEY: Final = "__value__"


class _Tag(NamedTuple):
    name: str
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def _zone_suffix(zone: tzinfo | None) -> str:
    """`[Europe/Berlin]` for a zone with a name (RFC 9557), so that more than its offset comes back."""
    key = getattr(zone, "key", None)
    return f"[{key}]" if type(key) is str and type(zone).__name__ == "ZoneInfo" else ""


def _split_zone(text: str) -> tuple[str, tzinfo | None]:
    if not text.endswith("]"):
        return text, None
    stamp, _, key = text[:-1].partition("[")
    from zoneinfo import ZoneInfo

    try:
        return stamp, ZoneInfo(key)
    except (KeyError, OSError):
        return stamp, None  # this machine does not know the zone; the offset keeps the instant


def _encode_datetime(moment: datetime) -> str:
    text = moment.isoformat()
    return text if moment.tzinfo is None else text + _zone_suffix(moment.tzinfo)


def _decode_datetime(text: str) -> datetime:
    stamp, zone = _split_zone(text)
    moment = datetime.fromisoformat(stamp)
    if zone is None:
        return moment
    for fold in (0, 1):
        local = moment.replace(tzinfo=zone, fold=fold)
        if local.utcoffset() == moment.utcoffset():
            return local
    return moment.astimezone(zone)  # the zone's rules differ here: keep the instant


def _encode_time(moment: time) -> str:
    return moment.isoformat() + _zone_suffix(moment.tzinfo)


def _decode_time(text: str) -> time:
    stamp, zone = _split_zone(text)
    moment = time.fromisoformat(stamp)
    return moment if zone is None else moment.replace(tzinfo=zone)


def _encode_bytes(data: Any) -> str:
    return b2a_base64(data, newline=False).decode("ascii")


def _decode_uuid(text: str) -> Any:
    from uuid import UUID

    return UUID(text)


def _decode_decimal(text: str) -> Any:
    from decimal import Decimal

    return Decimal(text)


def _list_of(value: Any) -> list[Any]:
    if type(value) is not list:
        raise TypeError(f"a list was expected, not {type(value).__name__}")
    return value


_BYTES: Final = _Tag("bytes", _encode_bytes, a2b_base64)

_TAGS: dict[type, _Tag] = {
    datetime: _Tag("datetime", _encode_datetime, _decode_datetime),
    date: _Tag("date", date.isoformat, date.fromisoformat),
    time: _Tag("time", _encode_time, _decode_time),
    timedelta: _Tag("timedelta", lambda d: [d.days, d.seconds, d.microseconds], lambda v: timedelta(*_list_of(v))),
    bytes: _BYTES,
    bytearray: _Tag("bytearray", _encode_bytes, lambda text: bytearray(a2b_base64(text))),
    memoryview: _BYTES,
    set: _Tag("set", list, lambda v: set(_list_of(v))),
    frozenset: _Tag("frozenset", list, lambda v: frozenset(_list_of(v))),
}

# Their modules are imported by whoever uses them, not by us.
_TAGS_BY_NAME: Final = {
    ("uuid", "UUID"): _Tag("uuid", str, _decode_uuid),
    ("decimal", "Decimal"): _Tag("decimal", str, _decode_decimal),
}

_DECODERS: dict[str, Callable[[Any], Any]] = {
    **{tag.name: tag.decode for tag in (*_TAGS.values(), *_TAGS_BY_NAME.values())},
    # Written by `Walker` only.
    "dict": lambda v: dict(_list_of(v)),
    "tuple": lambda v: tuple(_list_of(v)),
    "str": lambda v: "".join(_list_of(v)),
    "int": lambda v: int(v, 16),
}

_RESERVED: Final = frozenset({*_DECODERS, "repr", "exception"})
_NATIVE: Final = (str, int, float, list, tuple, dict, type(None))

PLAIN_MEMBERS: Final = frozenset({str, int, float, bool, type(None), bytes, date, datetime, time, timedelta, frozenset})
"""Members with which a set can be written without a look at each of them."""


def register_type(cls: type, name: str, encode: Callable[[Any], Any], decode: Callable[[Any], Any]) -> None:
    """Let instances of `cls` cross as json and come back as themselves.

    `encode(obj)` gives something json can write, `decode(value)` makes the object from it. The sender and the receiver
    must both register it, under the same `name`. ValueError when the name is taken, TypeError for a type that json
    writes by itself.
    """
    if not isinstance(cls, type) or issubclass(cls, _NATIVE):
        raise TypeError(f"json writes {cls!r} by itself: only other classes can be registered")
    known = _TAGS.get(cls)
    if name in _RESERVED or (name in _DECODERS and (known is None or known.name != name)):
        raise ValueError(f"the type tag {name!r} is taken: choose another name for {cls.__qualname__}")
    _TAGS[cls] = _Tag(name, encode, decode)
    _DECODERS[name] = decode


def _tag_for(cls: type) -> _Tag | None:
    for base in cls.__mro__:
        tag = _TAGS.get(base) or _TAGS_BY_NAME.get((base.__module__, base.__qualname__))
        if tag is not None:
            return tag
    return None


class Refused(TypeError):
    """json cannot write an object."""


def reduce_object(obj: Any) -> tuple[str | None, Any]:
    """What to write for `obj`: a tag's name and its value, or None and what stands for the object."""
    cls = type(obj)
    tag = _TAGS.get(cls)
    if tag is None:
        to_json = None if isinstance(obj, type) else getattr(obj, "__json__", None)
        if to_json is not None:
            return None, to_json()
        if isinstance(obj, enum.Enum):
            return None, obj.value
        tag = _tag_for(cls)
        if tag is None:
            if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
                return None, {field.name: getattr(obj, field.name) for field in dataclasses.fields(obj)}
            raise Refused
    return tag.name, tag.encode(obj)


def tagged(name: str, value: Any) -> dict[str, Any]:
    """A value under its type tag."""
    return {TYPE_KEY: name, VALUE_KEY: value}


def untag(name: str, value: Any) -> Any:
    """The value that stands under the tag `name`; DecodeError when the tag is not known or its value makes no sense."""
    decode = _DECODERS.get(name)
    if decode is None:
        raise DecodeError(
            f"the type tag {name[:80]!r} is not known here: call register_type() for it in this process too"
        )
    try:
        return decode(value)
    except (RecursionError, SoftTimeLimitExceeded):
        raise
    except Exception as exc:
        raise DecodeError(f"the value under the type tag {name!r} cannot be read: {brief(exc)}") from exc


def brief(exc: BaseException) -> str:
    """One line of an exception, for a message: its class and the beginning of its text, if it has one."""
    try:
        text = str(exc).partition("\n")[0][:200]
    except Exception:
        text = ""
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
