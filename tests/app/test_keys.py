"""The keys of a call: what the options of a task and of a call say of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from litequeue import LiteQueue, chain, group
from litequeue.calling.message import build
from litequeue.core import keys as rules
from litequeue.core.records import Keys
from litequeue.core.ties import KEYED
from tests.app.conftest import row


def keys_of(task: Any, *args: Any, **options: Any) -> Keys | None:
    """The keys with which a call of `task` is enqueued."""
    return record_of(task, *args, **options).keys


def record_of(task: Any, *args: Any, **options: Any) -> Any:
    args, kwargs, options = task.prepare_call(args, {}, **options)
    return build(task.app, task.name, args, kwargs, options, task).new


@pytest.fixture
def declare(app: LiteQueue) -> Callable[..., Any]:
    """Declares a task `proj.work(a, b=2, *more, **named)` with these options."""

    def make(**options: Any) -> Any:
        def work(a: Any = None, b: int = 2, *more: Any, **named: Any) -> Any:
            return a

        app.task(name="proj.work", **options)(work)
        app.finalize()
        return app.tasks["proj.work"]

    return make


# Concurrency keys


def test_a_task_without_keys_has_none(declare: Callable[..., Any]) -> None:
    task = declare()
    assert not task.has_keys
    assert keys_of(task, 1) is None
    assert task.preset() is not None


def test_a_task_with_keys_has_no_preset(declare: Callable[..., Any]) -> None:
    task = declare(concurrency_key="disk")
    assert task.has_keys
    assert task.preset() is None


def test_a_concurrency_key_is_text(declare: Callable[..., Any]) -> None:
    task = declare(concurrency_key="disk")
    assert keys_of(task, 1) == Keys("disk", 1)
    assert record_of(task, 1).ties & KEYED


def test_a_concurrency_key_is_made_of_the_arguments(declare: Callable[..., Any]) -> None:
    task = declare(concurrency_key=lambda a, *more, **named: f"account-{a}", concurrency_limit=3)
    assert keys_of(task, 17, 5) == Keys("account-17", 3)
    assert row(task.delay(a=17)).concurrency_key == "account-17"


def test_a_key_that_is_none_for_a_call_is_no_key(declare: Callable[..., Any]) -> None:
    task = declare(concurrency_key=lambda a: None if a == "free" else a, concurrency_limit=3)
    assert keys_of(task, "free") is None
    assert record_of(task, "free").ties == 0
    assert keys_of(task, "taken") == Keys("taken", 3)


def test_a_callable_gets_no_self(app: LiteQueue) -> None:
    @app.task(bind=True, concurrency_key=lambda a, b: f"{a}/{b}")
    def bound(self: Any, a: int, b: int) -> None: ...

    assert keys_of(bound, 1, 2) == Keys("1/2", 1)


def test_a_task_class_makes_its_key_in_a_method(app: LiteQueue) -> None:
    class Work(app.Task):  # type: ignore[misc, name-defined]
        name = "proj.class"

        def concurrency_key(self, a: int) -> str:
            return f"{self.name}:{a}"

        def run(self, a: int) -> None: ...

    assert keys_of(app.register_task(Work), 4) == Keys("proj.class:4", 1)


def test_what_a_callable_raises_reaches_the_caller(declare: Callable[..., Any]) -> None:
    task = declare(unique_key=lambda a: a["order"])
    with pytest.raises(KeyError, match="order"):
        task.delay({})


def test_a_call_has_its_own_keys(declare: Callable[..., Any]) -> None:
    task = declare(concurrency_key="disk", concurrency_limit=3)
    assert keys_of(task, 1, concurrency_key="net") == Keys("net", 3)
    assert keys_of(task, 1, concurrency_limit=5) == Keys("disk", 5)
    assert keys_of(task, 1, concurrency_key=None) is None
    assert keys_of(task, 1, concurrency_key=lambda a: f"net-{a}") == Keys("net-1", 3)


def test_a_call_by_name_has_keys_of_its_own(app: LiteQueue) -> None:
    result = app.send_task("elsewhere.work", (1,), concurrency_key="disk", concurrency_limit=2, unique_key="once")
    record = row(result)
    assert (record.concurrency_key, record.concurrency_limit, record.unique_key) == ("disk", 2, "once")


def test_a_call_by_name_has_the_keys_of_its_task(app: LiteQueue, declare: Callable[..., Any]) -> None:
    declare(concurrency_key="disk")
    assert row(app.send_task("proj.work", (1,))).concurrency_key == "disk"


def test_an_annotation_sets_keys(make_app: Callable[..., LiteQueue]) -> None:
    app = make_app()
    app.conf.task_annotations = {"proj.work": {"concurrency_key": lambda a: f"k{a}", "concurrency_limit": 4}}
    task = app.task(name="proj.work")(lambda a: a)
    assert keys_of(task, 1) == Keys("k1", 4)


def test_keys_set_on_a_task_count_from_then_on(declare: Callable[..., Any]) -> None:
    task = declare()
    assert row(task.delay(1)).concurrency_key is None
    task.concurrency_key = "disk"
    assert row(task.delay(1)).concurrency_key == "disk"


def test_a_signature_keeps_its_keys(declare: Callable[..., Any]) -> None:
    task = declare()
    assert row(task.s(1).set(concurrency_key="disk", concurrency_limit=2).delay()).concurrency_limit == 2


def test_an_eager_call_takes_no_notice_of_keys(declare: Callable[..., Any]) -> None:
    task = declare(unique=True, concurrency_key=lambda a: 1 / 0)
    assert task.apply((7,)).get() == 7


def test_a_canvas_in_place_takes_no_notice_of_keys(declare: Callable[..., Any]) -> None:
    task = declare(unique=True, concurrency_key=lambda a: 1 / 0)
    assert chain(task.s(7), task.s()).apply().get() == 7


# Keys in a canvas


def test_members_of_a_group_have_their_keys(declare: Callable[..., Any]) -> None:
    task = declare(concurrency_key=lambda a: f"k{a}")
    result = group(task.s(1), task.s(2)).delay()
    assert [row(member).concurrency_key for member in result] == ["k1", "k2"]


def test_a_key_as_text_does_without_the_arguments(declare: Callable[..., Any]) -> None:
    task = declare(concurrency_key="disk")
    assert row(chain(task.s(1), task.s()).delay()).concurrency_key == "disk"


def test_a_key_cannot_be_made_of_what_is_not_known_yet(app: LiteQueue, declare: Callable[..., Any]) -> None:
    task = declare(concurrency_key=lambda a: f"k{a}")
    with pytest.raises(ValueError, match=r"proj\.work: concurrency_key is made of the arguments, and here the first"):
        chain(task.s(1), task.s()).delay()
    assert app.store.counts() == {}
    second = chain(task.s(1), task.si(2)).delay()
    assert row(second).concurrency_key == "k2"
    third = chain(task.s(1), task.s().set(concurrency_key="known")).delay()
    assert row(third).concurrency_key == "known"


def test_a_unique_step_cannot_be_told_before_its_input_is_there(declare: Callable[..., Any]) -> None:
    task = declare(unique=True)
    with pytest.raises(ValueError, match=r"unique is made of the arguments.*\.set\(unique_key="):
        chain(task.si(1), task.s()).delay()
    assert row(chain(task.si(1), task.s().set(unique_key="second")).delay()).unique_key == "second"


def test_a_callback_keeps_its_concurrency_key_only(app: LiteQueue, declare: Callable[..., Any], worker: Any) -> None:
    task = declare(concurrency_key="disk")
    other = app.task(name="proj.other")(lambda *args: None)
    result = other.apply_async((1,), link=task.si(1).set(unique_key="linked"))
    [callback] = app.store.followers(result.id)
    assert (callback.concurrency_key, callback.unique_key) == ("disk", None)


# Unique keys


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (((1,), {}), ((), {"a": 1})),
        (((1, 2), {}), ((1,), {"b": 2})),
        (((1,), {}), ((1, 2), {})),  # 2 is the default
        (((1, 2, 3), {"x": 1, "y": 2}), ((1, 2, 3), {"y": 2, "x": 1})),
        ((({"p": 1, "q": 2},), {}), (({"q": 2, "p": 1},), {})),
        ((([1, 2],), {}), (((1, 2),), {})),  # json knows no tuple
        (({"abc", "def", "ghi", "jkl"}, {}), ({"jkl", "ghi", "def", "abc"}, {})),
    ],
)
def test_calls_that_do_the_same_have_the_same_key(declare: Callable[..., Any], one: Any, other: Any) -> None:
    task = declare(unique=True)
    first, second = (call if isinstance(call[0], tuple) else ((call[0],), call[1]) for call in (one, other))
    assert row(task.apply_async(*first)).id == task.apply_async(*second).id


@pytest.mark.parametrize("other", [(2,), ("1",), (1.0,), (True,), (1, 3), ([1],), ()])
def test_other_calls_have_other_keys(declare: Callable[..., Any], other: Any) -> None:
    task = declare(unique=True)
    assert task.apply_async((1,)).id != task.apply_async(other).id


def test_the_key_of_a_set_does_not_depend_on_its_order(declare: Callable[..., Any]) -> None:
    task = declare(unique=True)
    words = [f"w{n}" for n in range(40)]
    assert keys_of(task, set(words)) == keys_of(task, set(reversed(words)))


def test_calls_of_other_tasks_have_other_keys(app: LiteQueue) -> None:
    one = app.task(name="proj.one", unique=True)(lambda a: a)
    other = app.task(name="proj.other", unique=True)(lambda a: a)
    assert keys_of(one, 1) != keys_of(other, 1)


def test_values_that_only_pickle_knows_make_a_key(make_app: Callable[..., LiteQueue]) -> None:
    app = make_app(accept_content=["json", "pickle"], task_serializer="pickle")
    task = app.task(name="proj.work", unique=True)(lambda a: a)
    assert keys_of(task, complex(1, 2)) == keys_of(task, complex(1, 2))
    assert keys_of(task, complex(1, 2)) != keys_of(task, complex(1, 3))


def test_arguments_that_do_not_fit_are_the_workers_affair(app: LiteQueue) -> None:
    task = app.task(name="proj.work", unique=True, typing=False)(lambda a: a)
    assert task.delay(1, 2).id == task.delay(1, 2).id


def test_what_a_key_is_held_for(declare: Callable[..., Any]) -> None:
    task = declare()

    def held(**options: Any) -> tuple[Any, ...]:
        keys = keys_of(task, 1, unique_key="k", **options)
        assert keys is not None
        return keys.unique_hold & 0xFF, rules.conflict_of(keys.unique_hold), keys.unique_window

    succeeded = rules.STATES["succeeded"]
    assert held() == (rules.UNTIL_ENDED, "existing", None)
    assert held(unique_window=60) == (rules.ALSO_SUCCEEDED, "existing", 60.0)
    assert held(unique_window=timedelta(hours=1))[2] == 3600.0
    assert held(unique_states=["succeeded"], unique_window=60, on_conflict="raise") == (succeeded, "raise", 60.0)
    assert held(unique_states={"SUCCESS"}) == (succeeded, "existing", None)
    waiting = rules.STATES["waiting"] | rules.STATES["scheduled"] | rules.STATES["ready"]
    assert held(unique_states=("PENDING",), on_conflict="replace") == (waiting, "replace", None)


def test_a_call_may_put_uniqueness_aside(declare: Callable[..., Any]) -> None:
    task = declare(unique=True, unique_window=60)
    assert keys_of(task, 1, unique=False) is None
    assert keys_of(task, 1, unique_key=None) is None
    own = keys_of(task, 1, unique_key="own")
    assert own is not None
    assert (own.unique_key, own.unique_window) == ("own", 60.0)


# What cannot be


IMPOSSIBLE = [
    ({"concurrency_key": "k", "concurrency_limit": 0}, ValueError, "concurrency_limit must be 1 or more, not 0"),
    ({"concurrency_key": "k", "concurrency_limit": 1.5}, TypeError, "concurrency_limit must be a whole number"),
    ({"concurrency_key": "k", "concurrency_limit": True}, TypeError, "concurrency_limit must be a whole number"),
    ({"concurrency_limit": 2}, ValueError, "concurrency_limit needs a concurrency_key"),
    ({"concurrency_key": 7}, TypeError, "concurrency_key must be text"),
    ({"concurrency_key": ""}, ValueError, "concurrency_key is empty text"),
    ({"concurrency_key": "a\0b"}, ValueError, "concurrency_key has a character in it that"),
    ({"concurrency_key": "a\x1fb"}, ValueError, "concurrency_key has a character in it that"),
    ({"unique_key": "\ud800"}, ValueError, "unique_key has a lone surrogate"),
    ({"unique_key": b"k"}, TypeError, "unique_key must be text"),
    ({"unique": "yes"}, TypeError, "unique must be True or False"),
    ({"unique": True, "unique_key": "k"}, ValueError, "give one of them"),
    ({"unique_window": 60}, ValueError, "unique_window needs a key that is to be unique"),
    ({"unique_states": ["ready"]}, ValueError, "unique_states needs a key"),
    ({"on_conflict": "raise"}, ValueError, "on_conflict needs a key"),
    ({"unique": True, "unique_window": -1}, ValueError, "unique_window must be more than 0 seconds"),
    ({"unique": True, "unique_window": 0}, ValueError, "unique_window must be more than 0 seconds"),
    ({"unique": True, "unique_window": float("inf")}, ValueError, "unique_window is out of range"),
    ({"unique": True, "unique_window": "60"}, TypeError, "unique_window must be a number of seconds"),
    ({"unique": True, "unique_states": ["done"]}, ValueError, "there is no state 'done'; give some of waiting,"),
    ({"unique": True, "unique_states": "ready"}, TypeError, "unique_states must be a list"),
    ({"unique": True, "unique_states": []}, ValueError, "unique_states is empty"),
    ({"unique": True, "unique_states": [3]}, ValueError, "there is no state 3"),
    ({"unique": True, "on_conflict": "wait"}, ValueError, "on_conflict='wait': give one of 'existing', 'replace'"),
    ({"unique": True, "on_conflict": []}, ValueError, r"on_conflict=\[\]: give one of"),
]


@pytest.mark.parametrize(("options", "error", "text"), IMPOSSIBLE, ids=lambda value: str(value)[:60])
def test_impossible_options_of_a_call(
    app: LiteQueue, declare: Callable[..., Any], options: Any, error: type[Exception], text: str
) -> None:
    task = declare()
    with pytest.raises(error, match=rf"^proj\.work: .*{text}|^proj\.work: {text}"):
        task.apply_async((1,), **options)
    assert app.store.counts() == {}


@pytest.mark.parametrize(("options", "error", "text"), IMPOSSIBLE, ids=lambda value: str(value)[:60])
def test_impossible_options_of_a_task(
    app: LiteQueue, declare: Callable[..., Any], options: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=rf"^proj\.work: .*{text}|^proj\.work: {text}"):
        declare(**options)
    assert "proj.work" not in app.registry


def test_a_callable_must_return_text(declare: Callable[..., Any]) -> None:
    task = declare(concurrency_key=lambda a: a)
    with pytest.raises(TypeError, match=r"proj\.work: concurrency_key returned 7; it must return text"):
        task.delay(7)
    with pytest.raises(ValueError, match="concurrency_key has a character"):
        task.delay("a\0b")


def test_a_retry_keeps_the_keys(app: LiteQueue, declare: Callable[..., Any], worker: Any) -> None:
    @app.task(bind=True, max_retries=1, concurrency_key="disk", unique_key="once")
    def again(self: Any) -> int:
        if self.request.retries == 0:
            raise self.retry(countdown=0)
        return int(self.request.retries)

    result = again.delay()
    worker()
    assert result.get(timeout=10) == 1
    record = row(result)
    assert (record.concurrency_key, record.unique_key) == ("disk", "once")


def test_a_retry_cannot_change_the_keys(app: LiteQueue, worker: Any) -> None:
    @app.task(bind=True)
    def again(self: Any) -> None:
        self.retry(countdown=0, concurrency_key="other")

    worker()
    with pytest.raises(TypeError, match=r"retry\(\) cannot change concurrency_key"):
        again.delay().get(timeout=10)


# Rate limits


@pytest.mark.parametrize("rate", ["10/m", "0", 5, 0.5, None])
def test_rate_limits_that_a_task_may_declare(declare: Callable[..., Any], rate: Any) -> None:
    assert declare(rate_limit=rate).rate_limit == rate


def test_a_rate_limit_that_cannot_be_is_an_error_of_the_declaration(
    app: LiteQueue, declare: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match=r"proj\.work: rate limit '10 a minute' is not understood; write 10/s"):
        declare(rate_limit="10 a minute")
    assert "proj.work" not in app.registry


def test_the_default_rate_limit_is_that_of_the_settings(make_app: Callable[..., LiteQueue]) -> None:
    app = make_app()
    app.conf.task_default_rate_limit = "7/m"
    assert app.task(name="proj.work")(lambda: None).rate_limit == "7/m"
