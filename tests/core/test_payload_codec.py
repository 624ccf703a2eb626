"""The codec: which serializers may be used, compression, the size limit, own serializers."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import sys
import tracemalloc
import zlib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litequeue.core import compression, type_tags
from litequeue.core.payload import Codec, register_compression, register_serializer, unregister_serializer
from litequeue.core.records import Encoded
from litequeue.exceptions import (
    ContentDisallowed,
    DecodeError,
    EncodeError,
    ImproperlyConfigured,
    PayloadTooLarge,
    SerializationError,
)

EVERY = ("json", "pickle", "yaml", "msgpack")
COMPRESSIONS = ("zlib", "gzip", "bz2", "lzma")


def test_plain_arguments_are_text_and_nothing_else_is_kept() -> None:
    codec = Codec()
    assert codec.encode_call((), {}) == Encoded("[[],{}]", "json", None)
    assert codec.encode_call((2, 3), {"x": "é"}) == Encoded('[[2,3],{"x":"é"}]', "json", None)
    assert codec.decode_call("[[],{}]", "json") == ([], {})
    assert codec.encode(None) == Encoded("null", "json", None)


def test_arguments_may_be_any_sequence_and_any_mapping() -> None:
    from types import MappingProxyType

    codec = Codec()
    assert codec.encode_call(range(2), MappingProxyType({"a": 1})).data == '[[0,1],{"a":1}]'
    assert codec.encode_call([1], {}).data == "[[1],{}]"


# accept


@pytest.mark.parametrize("name", ["pickle", "yaml", "msgpack", "application/x-python-serialize", "nonsense"])
def test_what_is_not_accepted_is_refused_on_both_sides(name: str) -> None:
    codec = Codec()
    with pytest.raises(ContentDisallowed, match="not accepted"):
        codec.encode([1], name)
    with pytest.raises(ContentDisallowed, match="not accepted"):
        codec.encode_call((1,), {}, name)
    with pytest.raises(ContentDisallowed, match="not accepted"):
        codec.decode(b"", name)


def test_json_is_refused_like_any_other() -> None:
    codec = Codec(accept=["pickle"])
    with pytest.raises(ContentDisallowed, match="'json' is not accepted \\(pickle is\\)"):
        codec.encode(1)
    with pytest.raises(ContentDisallowed):
        codec.decode("1", "json")


def test_a_refused_pickle_is_not_touched(tmp_path: Any) -> None:
    """Not even the part of it that would run code."""
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return open, (str(marker), "w")

    with pytest.raises(ContentDisallowed, match="may run code here"):
        Codec(accept=("json", "yaml", "msgpack")).decode(pickle.dumps(Evil()), "pickle")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ("application/json", "json"),
        ("application/x-python-serialize", "pickle"),
        ("application/x-yaml", "yaml"),
        ("application/x-msgpack", "msgpack"),
        ("JSON", "json"),
    ],
)
def test_content_types_are_names_too(content_type: str, name: str) -> None:
    codec = Codec(accept=[content_type], serializer=content_type)
    assert codec.accept == {name}
    assert codec.encode([1]).serializer == name
    assert codec.decode(*codec.encode([1], content_type)) == [1]


def test_a_single_name_may_be_given_as_text() -> None:
    assert Codec(accept="json").accept == {"json"}


def test_unknown_names_in_the_configuration_are_errors_at_once() -> None:
    with pytest.raises(ImproperlyConfigured, match="no serializer is known as 'jsn'"):
        Codec(accept=["jsn"])
    with pytest.raises(ImproperlyConfigured, match="no serializer is known as 'jsn'"):
        Codec(serializer="jsn")
    with pytest.raises(ImproperlyConfigured, match="no compression is known as 'zip'"):
        Codec(compression="zip")
    with pytest.raises(ImproperlyConfigured, match="max_payload_bytes is 0"):
        Codec(max_bytes=0)


# The other serializers


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("packed", [None, *COMPRESSIONS])
def test_every_serializer_with_every_compression(name: str, packed: str | None) -> None:
    codec = Codec(accept=EVERY, serializer=name, compression=packed)
    args, kwargs = (1, "é", None, [1.5, {"a": True}]), {"x": {"y": ["z"]}}
    encoded = codec.encode_call(args, kwargs)
    assert (encoded.serializer, encoded.compression) == (name, packed)
    assert isinstance(encoded.data, str if packed is None and name in ("json", "yaml") else bytes)
    assert codec.decode_call(*encoded) == (list(args), kwargs)


def test_pickle_brings_back_what_it_was_given() -> None:
    codec = Codec(accept=EVERY)
    value = ({1: (2, {3})}, Decimal("1.0"), datetime(2030, 1, 1))
    assert codec.decode(*codec.encode(value, "pickle")) == value


def test_msgpack_carries_bytes_and_aware_times() -> None:
    codec = Codec(accept=EVERY, serializer="msgpack")
    value = [b"\x00", datetime(2030, 1, 1, tzinfo=UTC), {1: 2}]
    assert codec.decode(*codec.encode(value)) == value


@pytest.mark.parametrize("name", ["pickle", "yaml", "msgpack"])
def test_other_serializers_name_the_path_too(name: str) -> None:
    codec = Codec(accept=EVERY, serializer=name)
    culprit = (i for i in ())
    with pytest.raises(EncodeError, match=rf"^args\[1\]\['a'\]\[1\] is of type generator, which {name} cannot write"):
        codec.encode_call((1, {"a": [0, culprit]}), {})
    with pytest.raises(EncodeError, match=r"^kwargs\['k'\] is of type generator"):
        codec.encode_call((1,), {"k": culprit})


def test_yaml_is_the_safe_one() -> None:
    codec = Codec(accept=EVERY)
    with pytest.raises(DecodeError):
        codec.decode("!!python/object/apply:os.getcwd []", "yaml")


@pytest.mark.parametrize(("name", "module"), [("yaml", "yaml"), ("msgpack", "msgpack")])
def test_a_missing_library_names_the_extra(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    codec = Codec(accept=EVERY)
    with pytest.raises(ImproperlyConfigured, match=rf"pip install 'litequeue\[{name}\]'"):
        codec.encode([1], name)
    with pytest.raises(ImproperlyConfigured, match=rf"pip install 'litequeue\[{name}\]'"):
        codec.decode("x" if name == "yaml" else b"x", name)


@pytest.mark.parametrize("name", EVERY)
def test_what_is_no_call_is_not_read_as_one(name: str) -> None:
    codec = Codec(accept=EVERY)
    for value in ([], [[]], [[], {}, {}], {"a": 1}, 5, None, [{}, []], ["ab", {}]):
        with pytest.raises(DecodeError, match="pair"):
            codec.decode_call(*codec.encode(value, name))


@pytest.mark.parametrize("name", ["pickle", "yaml", "msgpack"])
def test_a_keyword_must_be_a_string(name: str) -> None:
    codec = Codec(accept=EVERY)
    with pytest.raises(DecodeError, match="keyword"):
        codec.decode_call(*codec.encode([[], {1: 2}], name))


# Compression


@pytest.mark.parametrize(
    ("alias", "name"),
    [("deflate", "zlib"), ("bzip2", "bz2"), ("xz", "lzma"), ("application/x-gzip", "gzip"), ("GZIP", "gzip")],
)
def test_compression_has_aliases(alias: str, name: str) -> None:
    codec = Codec()
    encoded = codec.encode(["x" * 1000], None, alias)
    assert encoded.compression == name
    assert len(encoded.data) < 200
    assert codec.decode(encoded.data, "json", alias) == ["x" * 1000]


def test_the_formats_are_the_usual_ones() -> None:
    codec = Codec()
    readers = {"zlib": zlib.decompress, "gzip": gzip.decompress, "bz2": bz2.decompress, "lzma": lzma.decompress}
    for name, read in readers.items():
        data = codec.encode("é", None, name).data
        assert isinstance(data, bytes)
        assert read(data).decode() == '"é"'


def test_an_unknown_compression_is_an_error() -> None:
    codec = Codec()
    with pytest.raises(EncodeError, match="'zip' is not known"):
        codec.encode(1, None, "zip")
    with pytest.raises(DecodeError, match="'zip' is not known here"):
        codec.decode(b"", "json", "zip")


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_a_bomb_is_not_unpacked(name: str) -> None:
    """Fifty megabytes of zeros in a few kilobytes: refused after the limit, without the memory."""
    bomb = Codec().encode("0" * 50_000_000, None, name).data
    codec = Codec(max_bytes=10_000)
    codec.decode(*Codec().encode("warm", None, name))
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="max_payload_bytes"):
            codec.decode(bomb, "json", name)
        assert tracemalloc.get_traced_memory()[1] < 12_000_000  # lzma takes 8 MiB for its dictionary
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_exactly_the_limit_may_be_unpacked(name: str) -> None:
    codec = Codec(max_bytes=100, compression=name)
    assert codec.decode(*codec.encode("x" * 98)) == "x" * 98
    with pytest.raises(PayloadTooLarge):
        codec.encode("x" * 99)
    with pytest.raises(DecodeError):
        codec.decode(*Codec(compression=name).encode("x" * 99))


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_damaged_compressed_data_is_a_decode_error(name: str) -> None:
    codec = Codec()
    data = codec.encode(list(range(100)), None, name).data
    assert isinstance(data, bytes)
    for damaged in (b"", data[:-3], data[:10], data + b"x", b"\x00" * 20):
        with pytest.raises(DecodeError):
            codec.decode(damaged, "json", name)
    with pytest.raises(DecodeError, match="text was found"):
        codec.decode("text", "json", name)


def test_an_own_compression() -> None:
    register_compression("reversed", lambda data: data[::-1], lambda data: data[::-1], aliases=["backwards"])
    try:
        codec = Codec(compression="backwards")
        assert codec.encode([1, 2]) == Encoded(b"]2,1[", "json", "reversed")
        assert codec.decode(b"]2,1[", "json", "reversed") == [1, 2]
        with pytest.raises(DecodeError, match="over the limit"):
            Codec(max_bytes=4).decode(b"]2,1[", "json", "reversed")
    finally:
        del compression._registry["reversed"], compression._aliases["reversed"], compression._aliases["backwards"]
    with pytest.raises(ImproperlyConfigured, match="litequeue's own"):
        register_compression("zlib", bytes, bytes)


# The size limit


def test_the_size_and_the_limit_and_the_setting_are_named() -> None:
    codec = Codec(max_bytes=1_000, accept=EVERY)
    with pytest.raises(PayloadTooLarge) as caught:
        codec.encode_call(("x" * 2_000,), {})
    assert str(caught.value) == (
        "the arguments are 2,009 bytes as json, and max_payload_bytes is 1,000: "
        "pass a path or a key to the data, or raise the setting"
    )
    for name in EVERY:
        with pytest.raises(PayloadTooLarge, match=rf"^the result is 2,\d\d\d bytes as {name}"):
            codec.encode("x" * 2_000, name, what="the result")


def test_the_limit_counts_bytes_not_characters() -> None:
    codec = Codec(max_bytes=100)
    assert codec.encode("x" * 98).data
    assert codec.encode("é" * 49).data
    for text in ("x" * 99, "é" * 50, "日" * 33, "😀" * 25):
        with pytest.raises(PayloadTooLarge):
            codec.encode(text)


# Own serializers


def test_an_own_serializer() -> None:
    register_serializer("upper", lambda value: str(value).upper(), lambda text: text.lower(), content_type="text/upper")
    try:
        codec = Codec(accept=["text/upper"], serializer="upper")
        assert codec.encode("abc") == Encoded("ABC", "upper", None)
        assert codec.decode("ABC", "text/upper") == "abc"
        assert codec.decode(*codec.encode("abc", None, "zlib")) == "abc"
        with pytest.raises(ContentDisallowed):
            Codec().encode("abc", "upper")
    finally:
        unregister_serializer("upper")
    with pytest.raises(ContentDisallowed, match="no serializer of that name"):
        codec.encode("abc")
    with pytest.raises(ImproperlyConfigured):
        unregister_serializer("upper")


def test_our_own_names_cannot_be_taken() -> None:
    with pytest.raises(ImproperlyConfigured, match="litequeue's own"):
        register_serializer("json", str, str)
    with pytest.raises(ImproperlyConfigured, match="litequeue's own"):
        register_serializer("mine", str, str, content_type="application/json")
    with pytest.raises(ImproperlyConfigured):
        unregister_serializer("pickle")


@pytest.mark.parametrize(
    ("encoder", "decoder", "binary"),
    [
        (lambda value: b"bytes", str, False),
        (lambda value: "text", str, True),
        (lambda value: None, str, True),
        (lambda value: 1 / 0, str, False),
        (lambda value: "\ud800", str, False),
    ],
)
def test_a_serializer_that_fails_or_gives_the_wrong_thing(encoder: Any, decoder: Any, binary: bool) -> None:
    register_serializer("odd", encoder, decoder, binary)
    try:
        with pytest.raises(EncodeError):
            Codec(accept=["odd"]).encode([1], "odd")
    finally:
        unregister_serializer("odd")


# Random bytes


@settings(deadline=None)
@given(
    st.binary() | st.text() | st.integers() | st.none(),
    st.sampled_from(["json", "yaml", "msgpack", "pickle", "other"]),
    st.sampled_from([None, *COMPRESSIONS, "other"]),
)
def test_nothing_but_a_serialization_error_is_raised_for_a_mangled_row(data: Any, name: str, packed: Any) -> None:
    codec = Codec(accept=("json", "yaml", "msgpack"), max_bytes=1_000_000)
    try:
        codec.decode_call(data, name, packed)
    except SerializationError:
        pass


@settings(deadline=None)
@given(st.binary(max_size=40), st.sampled_from(COMPRESSIONS), st.integers(0, 60), st.integers(0, 255))
def test_nothing_but_a_decode_error_is_raised_for_flipped_bytes(value: bytes, name: str, at: int, byte: int) -> None:
    codec = Codec(max_bytes=1_000_000)
    data = bytearray(codec.encode(value, None, name).data)  # type: ignore[arg-type]
    data[at % len(data)] = byte
    try:
        codec.decode(bytes(data), "json", name)
    except DecodeError:
        pass


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_nothing_but_a_decode_error_is_raised_for_a_mangled_pickle(data: bytes) -> None:
    """Of random bytes; a pickle that is made to do harm is why pickle is refused by default."""
    if b"c" in data or b"\x93" in data or b"i" in data:
        return  # could import something
    try:
        Codec(accept=["pickle"]).decode(data, "pickle")
    except DecodeError:
        pass


# The documentation


def test_the_documentation_names_every_serializer_compression_and_type_tag() -> None:
    text = (Path(__file__).parents[2] / "docs" / "payloads.md").read_text(encoding="utf-8")
    tags = {tag.name for tag in (*type_tags._TAGS.values(), *type_tags._TAGS_BY_NAME.values())}
    for name in (*EVERY, *COMPRESSIONS, *tags):
        assert f"`{name}`" in text, name
    (example,) = (line for line in text.splitlines() if line.startswith('[[{"__type__"'))
    args, kwargs = Codec().decode_call(example, "json")
    assert args == [datetime(2030, 1, 1, 7, tzinfo=UTC)]
    assert kwargs == {"tags": {1, 2}}
