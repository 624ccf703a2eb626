"""What crosses the file: a call's arguments and a task's result, as stored text or bytes and back.

`Codec` is what an app and a worker use; one is made for the arguments and one for the results. The serializers are in
`serializers`, the rules of json in `json_codec`, compression in `compression`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from litequeue.core.compression import Compression, compress, decompress, find_compression, known_compressions
from litequeue.core.compression import register_compression as register_compression
from litequeue.core.json_codec import CALL, dumps, loads
from litequeue.core.records import Encoded, Stored
from litequeue.core.serializers import Serializer, deserialize, find_serializer, known_serializers, serialize
from litequeue.core.serializers import register_serializer as register_serializer
from litequeue.core.serializers import unregister_serializer as unregister_serializer
from litequeue.core.type_tags import register_type as register_type
from litequeue.exceptions import ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured, PayloadTooLarge

_NO_ARGUMENTS: Final = Encoded("[[],{}]", "json", None)
_WIDEST: Final = 4
"""Bytes that one character takes in UTF-8, at most."""


class Codec:
    """Writes and reads values, under one list of allowed serializers and one limit of size.

    `accept` are the names (or content types) of the serializers that may be used, in both directions; `serializer` and
    `compression` are used where a call names none; `max_bytes` bounds a value as it is before it is compressed
    (None: no bound). ImproperlyConfigured when a name is not known.
    """

    __slots__ = ("_quick", "_reads_json", "accept", "compression", "max_bytes", "serializer")

    def __init__(
        self,
        *,
        accept: Iterable[str] = ("json",),
        serializer: str = "json",
        compression: str | None = None,
        max_bytes: int | None = None,
    ) -> None:
        if max_bytes is not None and max_bytes < 1:
            raise ImproperlyConfigured(
                f"max_payload_bytes is {max_bytes}: give a number of bytes, or None for no limit"
            )
        names = (accept,) if isinstance(accept, str) else tuple(accept)
        self.accept: frozenset[str] = frozenset(_known_serializer(name).name for name in names)
        self.serializer: str = _known_serializer(serializer).name
        self.compression: str | None = None if compression is None else _known_compression(compression).name
        self.max_bytes = max_bytes
        self._reads_json = "json" in self.accept
        self._quick = self._reads_json and self.serializer == "json" and self.compression is None

    def encode(
        self, value: Any, serializer: str | None = None, compression: str | None = None, *, what: str = "value"
    ) -> Encoded:
        """`value` as it is stored; `what` begins the path in an error's message.

        EncodeError names the path of what cannot be written, PayloadTooLarge the size and the limit; ContentDisallowed
        when the serializer is not in `accept`.
        """
        if self._quick and compression is None and (serializer is None or serializer == "json"):
            text = dumps(value, what)
            if self.max_bytes is not None and len(text) * _WIDEST > self.max_bytes:
                self._check_size(text, "json", what)
            return Encoded(text, "json", None)
        return self._encode(value, serializer, compression, what)

    def encode_call(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        serializer: str | None = None,
        compression: str | None = None,
    ) -> Encoded:
        """The pair [args, kwargs] as it is stored; paths begin with `args` and `kwargs`. Errors as in `encode`."""
        if self._quick and compression is None and (serializer is None or serializer == "json"):
            if not args and not kwargs:
                return _NO_ARGUMENTS
            if (type(args) is tuple or type(args) is list) and type(kwargs) is dict:
                text = dumps((args, kwargs), CALL)
                if self.max_bytes is not None and len(text) * _WIDEST > self.max_bytes:
                    self._check_size(text, "json", CALL)
                return Encoded(text, "json", None)
        return self._encode([list(args or ()), dict(kwargs or {})], serializer, compression, CALL)

    def decode(self, data: Stored, serializer: str, compression: str | None = None) -> Any:
        """The value in stored `data`.

        ContentDisallowed when `serializer` is not in `accept`, DecodeError when the data cannot be read, or holds more
        than `max_bytes` once it is decompressed.
        """
        if compression is None and serializer == "json" and self._reads_json and type(data) is str:
            return loads(data)
        return self._decode(data, serializer, compression)

    def decode_call(
        self, data: Stored, serializer: str, compression: str | None = None
    ) -> tuple[list[Any], dict[str, Any]]:
        """The arguments in stored `data`; DecodeError when it is not a pair of a list and a dict. Else as `decode`."""
        pair = self.decode(data, serializer, compression)
        if type(pair) is list and len(pair) == 2:
            args, kwargs = pair
            if type(args) is list and type(kwargs) is dict:
                # The keys of a JSON object are always text.
                if serializer == "json" or all(type(key) is str for key in kwargs):
                    return args, kwargs
                raise DecodeError("the stored arguments have a keyword that is not a str")
        raise DecodeError(f"the stored arguments are not a pair [list, dict] but a {type(pair).__name__}")

    # What the straight ways above leave

    def _encode(self, value: Any, serializer: str | None, compression: str | None, what: str) -> Encoded:
        writer = self._allowed(self.serializer if serializer is None else serializer)
        packer = self._packer(self.compression if compression is None else compression)
        data = dumps(value, what) if writer.name == "json" else serialize(writer, value, what)
        self._check_size(data, writer.name, what)
        if packer is None:
            return Encoded(data, writer.name, None)
        return Encoded(compress(packer, data.encode() if isinstance(data, str) else data), writer.name, packer.name)

    def _decode(self, data: Stored, serializer: str, compression: str | None) -> Any:
        reader = self._allowed(serializer)
        if not isinstance(data, (str, bytes)):
            raise DecodeError(f"text or bytes were expected in the file, but {type(data).__name__} was found")
        if compression is not None:
            packer = find_compression(compression)
            if packer is None:
                raise DecodeError(f"the compression {compression!r} is not known here ({known_compressions()} are)")
            if isinstance(data, str):
                raise DecodeError(f"data compressed with {packer.name} is stored as bytes, but text was found")
            data = decompress(packer, data, self.max_bytes)
        return deserialize(reader, data)

    def _allowed(self, name: str) -> Serializer:
        found = find_serializer(name)
        if found is not None and found.name in self.accept:
            return found
        allowed = ", ".join(sorted(self.accept)) or "nothing"
        if found is None:
            advice = f"no serializer of that name is known here ({known_serializers()} are)"
        elif found.name == "pickle":
            advice = "add it to accept_content only where everyone who can write the file may run code here"
        else:
            advice = "add it to accept_content of the callers and of the workers"
        raise ContentDisallowed(f"the serializer {name!r} is not accepted ({allowed} is): {advice}")

    def _packer(self, name: str | None) -> Compression | None:
        if name is None:
            return None
        found = find_compression(name)
        if found is None:
            raise EncodeError(f"the compression {name!r} is not known: {known_compressions()} are, or register it")
        return found

    def _check_size(self, data: Stored, serializer: str, what: str) -> None:
        if self.max_bytes is None:
            return
        size = len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode())
        if size > self.max_bytes:
            verb = "are" if what is CALL else "is"
            raise PayloadTooLarge(
                f"{what} {verb} {size:,} bytes as {serializer}, and max_payload_bytes is {self.max_bytes:,}: "
                "pass a path or a key to the data, or raise the setting"
            )


def _known_serializer(name: str) -> Serializer:
    found = find_serializer(name)
    if found is None:
        raise ImproperlyConfigured(
            f"no serializer is known as {name!r}: {known_serializers()} are, and register_serializer() adds others"
        )
    return found


def _known_compression(name: str) -> Compression:
    found = find_compression(name)
    if found is None:
        raise ImproperlyConfigured(f"no compression is known as {name!r}: {known_compressions()} are")
    return found
