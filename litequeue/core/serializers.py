"""Serializers by name: json, pickle, yaml, msgpack, and those that are registered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from litequeue.core import json_codec
from litequeue.core.type_tags import brief
from litequeue.exceptions import (
    DecodeError,
    EncodeError,
    ImproperlyConfigured,
    SerializationError,
    SoftTimeLimitExceeded,
)


class Serializer(NamedTuple):
    """A way to write values: `encode` gives bytes where `binary`, else str, and `decode` is given the same."""

    name: str
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    binary: bool


def _library(module: str, package: str, name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as exc:
        raise ImproperlyConfigured(
            f"the serializer {name!r} needs {package}, which is not installed: pip install 'litequeue[{name}]'"
        ) from exc


def _pickle_dumps(value: Any) -> bytes:
    import pickle

    return pickle.dumps(value, protocol=5)  # every Python that litequeue supports reads it


def _pickle_loads(data: bytes) -> Any:
    import pickle

    return pickle.loads(data)


def _yaml_dumps(value: Any) -> str:
    yaml = _library("yaml", "PyYAML", "yaml")
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump(value, Dumper=dumper, allow_unicode=True, sort_keys=False)  # type: ignore[no-any-return]


def _yaml_loads(text: str) -> Any:
    yaml = _library("yaml", "PyYAML", "yaml")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _msgpack_dumps(value: Any) -> bytes:
    return _library("msgpack", "msgpack", "msgpack").packb(value, datetime=True)  # type: ignore[no-any-return]


def _msgpack_loads(data: bytes) -> Any:
    return _library("msgpack", "msgpack", "msgpack").unpackb(data, strict_map_key=False, timestamp=3)


_registry: dict[str, Serializer] = {}
_aliases: dict[str, str] = {}


def _add(serializer: Serializer, *aliases: str) -> None:
    _registry[serializer.name] = serializer
    for alias in (serializer.name, *aliases):
        _aliases[alias.lower()] = serializer.name


_add(Serializer("json", json_codec.dumps, json_codec.loads, False), "application/json")
_add(
    Serializer("pickle", _pickle_dumps, _pickle_loads, True),
    "application/x-python-serialize",
    "application/x-python-pickle",
)
_add(Serializer("yaml", _yaml_dumps, _yaml_loads, False), "application/x-yaml", "application/yaml", "text/yaml")
_add(Serializer("msgpack", _msgpack_dumps, _msgpack_loads, True), "application/x-msgpack", "application/msgpack")

_BUILT_IN: Final = frozenset(_registry)


def register_serializer(
    name: str,
    encoder: Callable[[Any], Any],
    decoder: Callable[[Any], Any],
    binary: bool = False,
    content_type: str | None = None,
) -> None:
    """Make a serializer known as `name` (and as `content_type`), in every process that writes or reads with it.

    `encoder(value)` gives str, or bytes where `binary`; `decoder` is given the same. It may be used once its name is in
    `accept_content`. ImproperlyConfigured when a name is taken by one of litequeue's own.
    """
    for each in (name, content_type):
        if each is not None and _aliases.get(each.lower()) in _BUILT_IN:
            raise ImproperlyConfigured(f"the serializer name {each!r} is litequeue's own: choose another")
    _add(Serializer(name, encoder, decoder, binary), *(() if content_type is None else (content_type,)))


def unregister_serializer(name: str) -> None:
    """Forget a serializer that was registered; ImproperlyConfigured when there is none of that name."""
    key = _aliases.get(name.lower())
    if key is None or key in _BUILT_IN:
        raise ImproperlyConfigured(f"no serializer was registered as {name!r}")
    del _registry[key]
    for alias in [alias for alias, target in _aliases.items() if target == key]:
        del _aliases[alias]


def find_serializer(name: str) -> Serializer | None:
    """The serializer known by a name or a content type."""
    key = _aliases.get(name.lower()) if isinstance(name, str) else None
    return None if key is None else _registry[key]


def known_serializers() -> str:
    """The names that can be used, for a message."""
    return ", ".join(sorted(_registry))


def serialize(serializer: Serializer, value: Any, what: str) -> str | bytes:
    """`value` written with `serializer`; EncodeError names the path of what cannot be written."""
    try:
        data = serializer.encode(value)
    except (SerializationError, ImproperlyConfigured, SoftTimeLimitExceeded):
        raise
    except Exception as exc:
        path, culprit = _find_culprit(serializer, value, what)
        raise EncodeError(
            f"{path} is of type {json_codec.type_name(culprit)}, which {serializer.name} cannot write: {brief(exc)}"
        ) from exc
    expected = bytes if serializer.binary else str
    if not isinstance(data, expected):
        raise EncodeError(f"the serializer {serializer.name!r} gave {type(data).__name__}, not {expected.__name__}")
    if isinstance(data, str) and not data.isascii():
        try:
            data.encode()
        except UnicodeEncodeError as exc:
            raise EncodeError(f"{what} as {serializer.name} has a lone surrogate, which is not Unicode text") from exc
    return data  # type: ignore[no-any-return]


def deserialize(serializer: Serializer, data: str | bytes) -> Any:
    """The value in `data`; DecodeError when it cannot be read."""
    if serializer.binary and isinstance(data, str):
        raise DecodeError(f"{serializer.name} is stored as bytes, but {len(data):,} characters of text were found")
    if not serializer.binary and isinstance(data, bytes):
        try:
            data = data.decode()
        except UnicodeDecodeError as exc:
            raise DecodeError(f"{len(data):,} bytes of {serializer.name} are not UTF-8 text") from exc
    try:
        return serializer.decode(data)
    except (SerializationError, ImproperlyConfigured, SoftTimeLimitExceeded):
        raise
    except Exception as exc:
        raise DecodeError(
            f"{len(data):,} stored {'bytes' if serializer.binary else 'characters'} are not readable as "
            f"{serializer.name}: {brief(exc)}"
        ) from exc


def _find_culprit(serializer: Serializer, value: Any, what: str) -> tuple[str, Any]:
    """The path of the innermost part that `serializer` cannot write, and that part."""
    parts: list[str] = []
    while len(parts) < 50:
        for part, child in _children(value):
            if not _writes(serializer, child):
                parts.append(part)
                value = child
                break
        else:
            break
    return json_codec.path_text(what, parts), value


def _children(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"[{str(key)[:60]!r}]", item) for key, item in list(value.items())]
    if isinstance(value, (list, tuple)):
        return [(f"[{index}]", item) for index, item in enumerate(value)]
    return []


def _writes(serializer: Serializer, value: Any) -> bool:
    try:
        serializer.encode(value)
    except SoftTimeLimitExceeded:
        raise
    except Exception:
        return False
    return True
