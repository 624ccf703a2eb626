"""Which queue a call goes to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from litequeue.core.routing import MapRoute, Router, declared_queues, prepare_routes, queue_name
from litequeue.exceptions import ImproperlyConfigured, QueueNotFound


@dataclass
class Queue:
    """As kombu's, as far as it matters here."""

    name: str
    routing_key: str | None = None


def no_names(name: str) -> Any:
    raise AssertionError(f"{name} is not to be resolved")


def router(routes: Any = None, queues: Any = None, **options: Any) -> Router:
    return Router(prepare_routes(routes, no_names), declared_queues(queues), **options)


def queue_of(made: Router, name: str = "feeds.tasks.load", **options: Any) -> str:
    return str(made.route(options, name)["queue"])


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        (None, []),
        ("a, b", ["a", "b"]),
        (["a", Queue("b")], ["a", "b"]),
        ((Queue("a"),), ["a"]),
        ({"a": {"routing_key": "x"}, "b": None}, ["a", "b"]),
    ],
)
def test_every_spelling_of_task_queues(setting: Any, names: list[str]) -> None:
    assert list(declared_queues(setting)) == names


@pytest.mark.parametrize("queue", [None, 3, "", Queue("")])
def test_a_queue_needs_a_name(queue: Any) -> None:
    with pytest.raises(TypeError, match="a queue is its name"):
        queue_name(queue)


def test_without_routes_it_is_the_default_queue() -> None:
    assert queue_of(router()) == "celery"
    assert queue_of(router(default_queue="main")) == "main"


def test_the_call_comes_before_its_route() -> None:
    made = router({"feeds.*": {"queue": "feeds", "priority": 3, "serializer": "json"}})
    assert made.route({"priority": 9, "serializer": None}, "feeds.load") == {
        "queue": "feeds",
        "priority": 9,
        "serializer": "json",
    }
    assert queue_of(made, queue="other") == "other"
    assert queue_of(made, queue=Queue("other")) == "other"


def test_exact_names_come_before_patterns_and_patterns_in_their_order() -> None:
    made = router(
        {
            "feeds.*": "globbed",
            re.compile(r"feeds\.tasks\.(load|save)"): {"queue": "matched"},
            "feeds.tasks.load": "exact",
        }
    )
    assert queue_of(made, "feeds.tasks.load") == "exact"
    assert queue_of(made, "feeds.tasks.save") == "globbed"
    assert queue_of(made, "web.load") == "celery"


def test_a_list_of_routes_is_asked_in_turn() -> None:
    made = router([{"feeds.*": "first"}, {"feeds.*": "second", "web.*": "web"}])
    assert queue_of(made, "feeds.load") == "first"
    assert queue_of(made, "web.load") == "web"


def test_a_list_of_pairs_is_one_table() -> None:
    made = router(([("feeds.*", {"queue": "feeds"}), (re.compile("web"), "web")],))
    assert queue_of(made, "feeds.load") == "feeds"
    assert queue_of(made, "web.load") == "web"
    assert queue_of(router([("feeds.*", "feeds"), ("web.*", "web")]), "web.load") == "web"


def test_a_function_sees_the_whole_call() -> None:
    seen: list[Any] = []

    def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **kw: Any) -> Any:
        seen.append((name, args, kwargs, dict(options), task))
        return {"queue": "chosen", "priority": 5} if args else None

    made = router(route)
    assert made.route({"x": 1}, "t", (1,), {"k": 2}, "the task") == {"queue": "chosen", "priority": 5, "x": 1}
    assert made.route({}, "t")["queue"] == "celery"
    assert seen[0] == ("t", (1,), {"k": 2}, {"x": 1}, "the task")
    assert not made.by_name_only
    assert router({"a": "b"}).by_name_only


class OldRouter:
    """Celery 3's form of a router."""

    def route_for_task(self, task: str, args: Any = None, kwargs: Any = None) -> str | None:
        return "old" if task == "t" else None


@pytest.mark.parametrize("route", [OldRouter(), "proj.OldRouter"])
def test_an_object_with_route_for_task_and_a_dotted_name(route: Any) -> None:
    made = Router(prepare_routes(route, {"proj.OldRouter": OldRouter}.__getitem__))
    assert queue_of(made, "t") == "old"
    assert queue_of(made, "u") == "celery"


def test_what_is_no_router_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="3 is no router"):
        prepare_routes([3], no_names)


def test_an_unknown_queue_is_an_error_when_queues_are_not_created() -> None:
    made = router(queues=["a", "b"], create_missing=False, default_queue="a")
    assert queue_of(made) == "a"
    assert queue_of(made, queue="b") == "b"
    with pytest.raises(QueueNotFound, match=r"queue 'c' is not in task_queues \(there are: a, b\)"):
        queue_of(made, queue="c")


def test_without_task_queues_only_the_default_queue_exists() -> None:
    made = router(create_missing=False)
    assert queue_of(made) == "celery"
    with pytest.raises(QueueNotFound):
        queue_of(made, queue="other")


def test_a_routing_key_leads_to_the_queue_bound_with_it() -> None:
    made = router(
        queues=[Queue("default", "task.#"), Queue("feeds", "feed.*.import"), Queue("plain", "plain")],
    )
    assert queue_of(made, routing_key="feed.cnn.import") == "feeds"
    assert queue_of(made, routing_key="task") == "default"
    assert queue_of(made, routing_key="task.a.b") == "default"
    assert queue_of(made, routing_key="plain") == "plain"
    assert queue_of(made, routing_key="feed.import") == "feed.import"
    assert queue_of(router(queues={"video": {"routing_key": "media.video"}}), routing_key="media.video") == "video"


def test_a_queue_comes_before_a_routing_key() -> None:
    made = router({"t": {"queue": "q", "routing_key": "elsewhere"}})
    assert queue_of(made, "t") == "q"


def test_map_route_by_itself() -> None:
    assert MapRoute({"a": "x"})("b") is None
    assert MapRoute({"a*": {"queue": "x"}})("ab", (), {}, {}) == {"queue": "x"}


def test_a_route_that_sets_what_is_no_option_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"task_routes\['a'\].*'prio'.*'priority'"):
        prepare_routes({"a": {"prio": 4}}, no_names, {"priority", "queue"})


def test_a_router_that_cannot_be_imported_is_named() -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    with pytest.raises(ImproperlyConfigured, match=r"task_routes: 'nope\.mod'"):
        prepare_routes("nope.mod", missing)
