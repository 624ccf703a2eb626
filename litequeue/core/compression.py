"""Compression by name, with a bound on what comes out: a few kilobytes can hold gigabytes of zeros."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from litequeue.core.type_tags import brief
from litequeue.exceptions import (
    DecodeError,
    EncodeError,
    ImproperlyConfigured,
    SerializationError,
    SoftTimeLimitExceeded,
)

_LZMA_MEMORY: Final = 128 << 20
"""Bytes that reading lzma may take for its dictionary; its strongest preset needs 65 MiB."""
_GZIP: Final = 31
"""zlib's window bits for the gzip format, without the file name and time that the `gzip` module writes."""


class Compression(NamedTuple):
    """A way to compress: `decompress(data, limit)` may stop after `limit` bytes (None: no bound)."""

    name: str
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes, int | None], bytes]


def _inflate(decompressor: Any, data: bytes, limit: int | None) -> bytes:
    """All that `data` holds; at most one byte over `limit` is ever made."""
    out: bytes = decompressor.decompress(data) if limit is None else decompressor.decompress(data, limit + 1)
    if limit is not None and len(out) > limit:
        raise DecodeError(
            f"{len(data):,} compressed bytes hold more than {limit:,}, the limit: max_payload_bytes sets it"
        )
    if not decompressor.eof:
        raise DecodeError(f"the compressed data ends too early (after {len(data):,} bytes)")
    if decompressor.unused_data:
        raise DecodeError(
            f"the compressed data is followed by {len(decompressor.unused_data):,} bytes of something else"
        )
    return out


def _gzip_compress(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=_GZIP)
    return compressor.compress(data) + compressor.flush()


def _bz2_compress(data: bytes) -> bytes:
    return _library("bz2").compress(data)  # type: ignore[no-any-return]


def _bz2_decompress(data: bytes, limit: int | None) -> bytes:
    return _inflate(_library("bz2").BZ2Decompressor(), data, limit)


def _lzma_compress(data: bytes) -> bytes:
    return _library("lzma").compress(data)  # type: ignore[no-any-return]


def _lzma_decompress(data: bytes, limit: int | None) -> bytes:
    lzma = _library("lzma")
    return _inflate(lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY), data, limit)


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as exc:
        raise ImproperlyConfigured(f"this Python was built without its {name} module: use zlib") from exc


_registry: dict[str, Compression] = {}
_aliases: dict[str, str] = {}


def _add(compression: Compression, aliases: Iterable[str]) -> None:
    _registry[compression.name] = compression
    for alias in (compression.name, *aliases):
        _aliases[alias.lower()] = compression.name


_add(
    Compression("zlib", zlib.compress, lambda data, limit: _inflate(zlib.decompressobj(), data, limit)),
    ("deflate", "application/zlib"),
)
_add(
    Compression("gzip", _gzip_compress, lambda data, limit: _inflate(zlib.decompressobj(_GZIP), data, limit)),
    ("gz", "application/gzip", "application/x-gzip"),
)
_add(Compression("bz2", _bz2_compress, _bz2_decompress), ("bzip2", "bzip", "application/x-bz2"))
_add(Compression("lzma", _lzma_compress, _lzma_decompress), ("xz", "application/x-lzma", "application/x-xz"))

_BUILT_IN: Final = frozenset(_registry)


def register_compression(
    name: str,
    compress: Callable[[bytes], bytes],
    decompress: Callable[[bytes], bytes],
    aliases: Iterable[str] = (),
) -> None:
    """Make a compression known as `name`, in every process that writes or reads with it.

    The size limit is checked after `decompress` returned, so one that is fed untrusted bytes must bound itself.
    ImproperlyConfigured when a name is taken by one of litequeue's own.
    """
    names = (name, *aliases)
    for each in names:
        if _aliases.get(each.lower()) in _BUILT_IN:
            raise ImproperlyConfigured(f"the compression name {each!r} is litequeue's own: choose another")

    def bounded(data: bytes, limit: int | None) -> bytes:
        out = decompress(data)
        if limit is not None and len(out) > limit:
            raise DecodeError(f"{len(data):,} compressed bytes hold {len(out):,}, over the limit of {limit:,}")
        return out

    _add(Compression(name, compress, bounded), aliases)


def find_compression(name: str) -> Compression | None:
    """The compression known by a name or an alias of it."""
    key = _aliases.get(name.lower()) if isinstance(name, str) else None
    return None if key is None else _registry[key]


def known_compressions() -> str:
    """The names that can be used, for a message."""
    return ", ".join(sorted(_registry))


def compress(compression: Compression, data: bytes) -> bytes:
    """`data` compressed; EncodeError when the compressor fails."""
    try:
        packed = compression.compress(data)
    except (SerializationError, ImproperlyConfigured, SoftTimeLimitExceeded):
        raise
    except Exception as exc:
        raise EncodeError(f"compression {compression.name} failed on {len(data):,} bytes: {brief(exc)}") from exc
    if not isinstance(packed, bytes):
        raise EncodeError(f"compression {compression.name} gave {type(packed).__name__}: it must give bytes")
    return packed


def decompress(compression: Compression, data: bytes, limit: int | None) -> bytes:
    """What `data` holds, at most `limit` bytes; DecodeError when it is damaged or holds more."""
    try:
        out = compression.decompress(data, limit)
    except (SerializationError, ImproperlyConfigured, SoftTimeLimitExceeded):
        raise
    except Exception as exc:
        raise DecodeError(f"{len(data):,} bytes cannot be decompressed with {compression.name}: {brief(exc)}") from exc
    if not isinstance(out, bytes):
        raise DecodeError(f"compression {compression.name} gave {type(out).__name__}: it must give bytes")
    return out
