"""What json carries: every documented type comes back as the documentation says, and no value is changed in silence."""

from __future__ import annotations

import enum
import math
import threading
import uuid
from collections import OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litequeue.core import type_tags
from litequeue.core.payload import Codec, register_type
from litequeue.exceptions import DecodeError, EncodeError, SerializationError, SoftTimeLimitExceeded

CODEC = Codec()


def crossed(value: Any) -> Any:
    """`value` after it was written and read."""
    encoded = CODEC.encode(value)
    assert isinstance(encoded.data, str)
    encoded.data.encode()  # SQLite stores text as UTF-8
    return CODEC.decode(*encoded)


class Colour(enum.Enum):
    RED = "red"
    WHEN = datetime(2030, 1, 1)


class Level(enum.IntEnum):
    LOW = 1


class Name(enum.StrEnum):
    ANN = "ann"


@dataclass
class Address:
    street: str
    since: date


@dataclass
class Person:
    name: str
    homes: list[Address] = field(default_factory=list)


class Asked:
    """Says itself what stands for it."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain

    def __json__(self) -> Any:
        return self.plain


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        2**64,
        1.5,
        -0.0,
        float("inf"),
        float("-inf"),
        "",
        "é日本😀",
        "a\x00b",
        'quote " backslash \\ newline \n',
        [],
        {},
        [[[]], {"a": {}}],
        datetime(2030, 1, 2, 3, 4, 5, 6),
        datetime(2030, 1, 2, tzinfo=UTC),
        datetime(2030, 1, 2, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
        datetime.min,
        datetime.max,
        date(2030, 1, 2),
        time(1, 2, 3, 4),
        time(1, 2, tzinfo=UTC),
        timedelta(days=-3, seconds=1, microseconds=999_999),
        timedelta.max,
        Decimal("1.10"),
        Decimal("-0"),
        Decimal("1E+999999"),
        Decimal("Infinity"),
        uuid.UUID(int=5),
        b"",
        b"\x00\xff",
        bytearray(b"abc"),
        set(),
        {1, "a", None},
        frozenset({1.5}),
        {frozenset({1, frozenset({2})})},
        {(1, (2, 3)), (4,)},
        {uuid.UUID(int=1), date(2030, 1, 1), b"x"},
        {"when": [datetime(2030, 1, 1), {"deep": {Decimal("1")}}]},
    ],
)
def test_comes_back_equal_and_of_the_same_type(value: Any) -> None:
    back = crossed(value)
    assert back == value
    assert type(back) is type(value)
    assert repr(back) == repr(value) or isinstance(value, (set, frozenset))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2,)), [1, [2]]),
        (Point(1, 2), [1, 2]),
        (Colour.RED, "red"),
        (Colour.WHEN, datetime(2030, 1, 1)),
        (Level.LOW, 1),
        (Name.ANN, "ann"),
        (
            Person("Ann", [Address("High St", date(2020, 1, 1))]),
            {"name": "Ann", "homes": [{"street": "High St", "since": date(2020, 1, 1)}]},
        ),
        (Asked({"a": {1}}), {"a": {1}}),
        (Asked(Asked(3)), 3),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (memoryview(b"abc"), b"abc"),
        ({Colour.RED}, {"red"}),
        ({1: "a", 1.5: "b", None: "d"}, {"1": "a", "1.5": "b", "null": "d"}),
        ({True: "a", False: "b"}, {"true": "a", "false": "b"}),
        ({Name.ANN: 1}, {"ann": 1}),
    ],
)
def test_comes_back_as_documented(value: Any, expected: Any) -> None:
    assert crossed(value) == expected


def test_nan_comes_back() -> None:
    assert math.isnan(crossed(float("nan")))
    assert crossed(Decimal("NaN")).is_nan()


def test_subclasses_of_tagged_types_come_back_as_the_type() -> None:
    class Stamp(datetime):
        pass

    back = crossed(Stamp(2030, 1, 1))
    assert type(back) is datetime
    assert back == datetime(2030, 1, 1)


@pytest.mark.parametrize("fold", [0, 1])
def test_a_zone_with_a_name_comes_back_with_it(fold: int) -> None:
    """Also in the hour that clocks run through twice."""
    moment = datetime(2030, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=fold)
    back = crossed(moment)
    assert back.tzinfo is moment.tzinfo
    assert back.utcoffset() == moment.utcoffset()
    assert back == moment
    assert crossed(time(1, tzinfo=ZoneInfo("Europe/Berlin"))).tzinfo is moment.tzinfo


def test_a_zone_that_this_machine_does_not_know_keeps_the_instant() -> None:
    text = '{"__type__":"datetime","__value__":"2030-06-01T12:00:00+02:00[Mars/Olympus]"}'
    assert CODEC.decode(text, "json") == datetime(2030, 6, 1, 10, tzinfo=UTC)


# A caller's own "__type__"


@pytest.mark.parametrize(
    "value",
    [
        {"__type__": "datetime", "__value__": "2030-01-01"},
        {"__type__": None},
        {"__type__": 1, "__value__": {"__type__": {2}}},
        [{"__type__": "x"}, datetime(2030, 1, 1), {"a": {"__type__": [Decimal(1)]}}],
        ["__type__", '"__type__":', '{"__type__": "set"}'],
        {'a"__type__': 1, '"__type__":': datetime(2030, 1, 1)},
        {"__value__": 1},
    ],
)
def test_a_callers_own_type_key_is_not_taken_for_a_tag(value: Any) -> None:
    assert crossed(value) == value


def test_arguments_with_a_type_key_of_their_own() -> None:
    assert CODEC.decode_call(*CODEC.encode_call((), {"__type__": "set", "__value__": [1]})) == (
        [],
        {"__type__": "set", "__value__": [1]},
    )


def test_a_dataclass_with_a_type_key_of_its_own() -> None:
    @dataclass
    class Odd:
        __type__: str
        x: int

    assert crossed(Odd("set", 1)) == {"__type__": "set", "x": 1}


# Text that JSON or SQLite cannot hold as it is


@pytest.mark.parametrize("text", ["\ud800", "\udfff\ud800", "\ud83d\ude00", "a\ud83d\ude00b\ud83d\ude00", "é\udc80"])
def test_lone_surrogates_come_back_and_the_text_can_be_stored(text: str) -> None:
    assert crossed(text) == text
    assert crossed({text: [text]}) == {text: [text]}
    assert crossed({text}) == {text}


@pytest.mark.parametrize("number", [10**4299, 10**4300, -(10**9000), 1 << 60_000], ids=["4300", "4301", "9001", "bits"])
def test_integers_of_any_size_come_back(number: int) -> None:
    assert crossed([number, {"a": number}]) == [number, {"a": number}]


# What cannot be written is named


def path_of(value: Any) -> str:
    with pytest.raises(EncodeError) as caught:
        CODEC.encode_call((value,), {})
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "begins"),
    [
        (object(), "args[0] is of type object,"),
        ({"when": [1, 2, 3, object()]}, "args[0]['when'][3] is of type object,"),
        ([{"a": (1, deque([1]))}], "args[0][0]['a'][1] is of type collections.deque,"),
        ({"it's": object()}, 'args[0]["it\'s"] is of type'),
        ({1: object()}, "args[0][1] is of type"),
        ({(1, 2): 3}, "args[0] has a key of type tuple"),
        ({"a": {datetime(2030, 1, 1): 3}}, "args[0]['a'] has a key of type datetime.datetime"),
        ({10**5000: 3}, "args[0] has a key that is an integer too large"),
        ({1, object}, "args[0]{…} is of type type"),
        (Person("Ann", [object()]), "args[0].homes[0] is of type object"),  # type: ignore[list-item]
        (Asked([object()]), "args[0][0] is of type object"),
        ((x for x in ()), "args[0] is of type generator, which json cannot write: pass a list of its items"),
        (1j, "args[0] is of type complex"),
        (ValueError("x"), "args[0] is of type ValueError"),
        (print, "args[0] is of type builtin_function_or_method, which json cannot write: pass its name"),
    ],
)
def test_the_error_names_the_path_and_the_type(value: Any, begins: str) -> None:
    assert path_of(value).startswith(begins)


def test_paths_of_keywords_and_of_results() -> None:
    with pytest.raises(EncodeError, match=r"^kwargs\['when'\]\[1\] is of type object"):
        CODEC.encode_call((1,), {"a": 1, "when": [0, object()]})
    with pytest.raises(EncodeError, match=r"^the result\['x'\] is of type object"):
        CODEC.encode({"x": object()}, what="the result")


def test_a_circle_is_named() -> None:
    circle: list[Any] = [1]
    circle.append({"again": circle})
    assert path_of(circle) == (
        "args[0][1]['again'] is of type list and contains itself: json has no circular references"
    )
    mirror = Asked(None)
    mirror.plain = {"me": mirror}
    assert path_of(mirror).startswith("args[0]['me'] is of type")


def test_a_value_that_appears_twice_is_not_a_circle() -> None:
    shared = [datetime(2030, 1, 1)]
    assert crossed([shared, {"a": shared, "__type__": shared}]) == [shared, {"a": shared, "__type__": shared}]


def test_nesting_without_end_is_an_error_that_says_so() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert "nested too deeply" in path_of(deep)
    assert len(path_of(deep)) < 400
    with pytest.raises(DecodeError, match="nested too deeply"):
        CODEC.decode("[" * 100_000, "json")


def test_what_would_be_read_back_as_no_member_of_a_set_is_refused_when_written() -> None:
    @dataclass(frozen=True)
    class Frozen:
        x: int

    assert path_of({Frozen(1)}).startswith("args[0]{…} is of type")
    assert "in a set" in path_of({Frozen(1)})


def test_an_object_that_fails_to_say_what_it_is() -> None:
    class Broken:
        def __json__(self) -> Any:
            raise LookupError("no such thing")

    assert "could not be made plain: LookupError: no such thing" in path_of({"a": Broken()})
    with pytest.raises(EncodeError) as caught:
        CODEC.encode(Broken())
    assert isinstance(caught.value.__cause__, LookupError)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SoftTimeLimitExceeded])
def test_an_interruption_passes_and_leaves_nothing_behind(interruption: type[BaseException]) -> None:
    """A soft time limit that strikes while a value is written is still the soft time limit."""

    class Interrupted:
        def __json__(self) -> Any:
            raise interruption

    with pytest.raises(interruption):
        CODEC.encode([datetime(2030, 1, 1), Interrupted()])
    # The tag that was counted before the interruption does not make a caller's key look like a tag.
    assert crossed({"__type__": "set"}) == {"__type__": "set"}


def test_encoding_inside_of_encoding() -> None:
    """An object may use a codec to say what it is."""

    class Nested:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __json__(self) -> Any:
            return CODEC.encode(self.inner).data

    for inner in ({"__type__": 1}, datetime(2030, 1, 1), [datetime(2030, 1, 1), {"__type__": 2}]):
        value = [datetime(2030, 1, 1), Nested(inner), {"__type__": 3}]
        first, text, last = crossed(value)
        assert (first, last) == (value[0], value[2])
        assert CODEC.decode(text, "json") == inner


def test_threads_do_not_disturb_each_other() -> None:
    shared = {"__type__": [datetime(2030, 1, 1)], "plain": {1, 2}}
    wrong: list[Any] = []

    def run(number: int) -> None:
        for turn in range(300):
            value = [shared, datetime(2030, 1, 1), {"__type__": turn}] if (turn + number) % 2 else [shared["plain"]]
            back = crossed(value)
            if back != value:
                wrong.append((value, back))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# Own types


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    def __hash__(self) -> int:
        return self.cents


@pytest.fixture
def money() -> Any:
    register_type(Money, "money", lambda money: money.cents, Money)
    yield
    del type_tags._TAGS[Money], type_tags._DECODERS["money"]


@pytest.mark.usefixtures("money")
def test_a_registered_type_comes_back() -> None:
    assert crossed([Money(5), {"a": {Money(6)}, "__type__": Money(7)}]) == [
        Money(5),
        {"a": {Money(6)}, "__type__": Money(7)},
    ]


def test_a_registered_type_may_not_take_a_name_or_a_type_of_ours() -> None:
    with pytest.raises(ValueError, match="taken"):
        register_type(Money, "datetime", str, str)
    with pytest.raises(TypeError, match="by itself"):
        register_type(dict, "d", str, str)


def test_a_tag_that_is_not_known_here_is_an_error_and_other_objects_are_not() -> None:
    with pytest.raises(DecodeError, match="'galleon' is not known here: call register_type"):
        CODEC.decode('{"__type__":"galleon","__value__":1}', "json")
    assert CODEC.decode('{"__type__":"galleon"}', "json") == {"__type__": "galleon"}
    assert CODEC.decode('{"__type__": 1, "__value__": 2}', "json") == {"__type__": 1, "__value__": 2}


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        "[1,]",
        "[1] 2",
        "nul",
        '"\x00"',
        '{"__type__":"set","__value__":"abc"}',
        '{"__type__":"set","__value__":[[]]}',
        '{"__type__":"datetime","__value__":5}',
        '{"__type__":"datetime","__value__":"yesterday"}',
        '{"__type__":"datetime","__value__":"2030-01-01T00:00:00+02:00[../../etc/passwd]"}',
        '{"__type__":"timedelta","__value__":[1e308,0,0]}',
        '{"__type__":"bytes","__value__":"é"}',
        '{"__type__":"decimal","__value__":"x"}',
        '{"__type__":"uuid","__value__":[]}',
        '{"__type__":"dict","__value__":[[{},1]]}',
        '{"__type__":"int","__value__":"0xzz"}',
        "1" * 5000,
    ],
    ids=lambda text: ascii(text[:40]),
)
def test_damaged_text_is_a_decode_error(text: str) -> None:
    with pytest.raises(DecodeError):
        CODEC.decode(text, "json")


def test_json_that_others_wrote_is_read() -> None:
    assert CODEC.decode_call(' [[1, {"__type__" : "set", "__value__" : [2]}], {"a": 1}]\n', "json") == (
        [1, {2}],
        {"a": 1},
    )


# Properties

texts = st.text() | st.lists(st.sampled_from(["\ud83d", "\ude00", "a", "é", '"', "__type__"]), max_size=4).map("".join)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | texts
    | st.binary(max_size=20)
    | st.datetimes(timezones=st.none() | st.just(UTC) | st.timezones())
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
)
keys = texts | st.sampled_from(["__type__", "__value__"])
members = st.recursive(
    st.none() | st.integers() | texts | st.binary(max_size=5) | st.dates() | st.uuids(),
    lambda inner: st.frozensets(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)
values = st.recursive(
    scalars | st.sets(members, max_size=4) | st.frozensets(members, max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(values)
def test_every_value_comes_back(value: Any) -> None:
    assert crossed(value) == value


@settings(deadline=None)
@given(st.lists(values, max_size=3), st.dictionaries(keys, values, max_size=3))
def test_every_call_comes_back(args: list[Any], kwargs: dict[str, Any]) -> None:
    assert CODEC.decode_call(*CODEC.encode_call(tuple(args), kwargs)) == (args, kwargs)


@settings(deadline=None)
@given(st.recursive(scalars | st.just(object()), lambda inner: st.lists(inner) | st.dictionaries(keys, inner)))
def test_nothing_but_an_encode_error_is_raised(value: Any) -> None:
    try:
        crossed(value)
    except EncodeError as error:
        assert str(error).startswith("value")


@settings(deadline=None)
@given(texts | st.binary())
def test_nothing_but_a_serialization_error_is_raised_for_any_text(data: Any) -> None:
    try:
        CODEC.decode_call(data, "json")
    except SerializationError:
        pass


@settings(deadline=None)
@given(st.data())
def test_nothing_but_a_serialization_error_is_raised_for_damaged_payloads(data: st.DataObject) -> None:
    args = data.draw(st.lists(values, min_size=1, max_size=3))
    text = CODEC.encode_call(args, {}).data
    assert isinstance(text, str)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 8)))
    damaged = text[:start] + data.draw(st.sampled_from(["", '"', "[", "}", ",", "0", "__", "\\u"])) + text[end:]
    try:
        CODEC.decode_call(damaged, "json")
    except SerializationError:
        pass
