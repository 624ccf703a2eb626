"""What is state of the queue is changed by the caller, with or without a worker, and obeyed by all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from litequeue.exceptions import NotRegistered, QueueNotFound
from tests.control import steered
from tests.control.conftest import NODE, OTHER, wait_until

ADD = "tests.control.steered.add"
LIMITED = "tests.control.steered.limited"


# Revokes


def test_revoke_with_nobody_there(app: Any, run_worker: Callable[..., Any]) -> None:
    one, two, three = (steered.add.delay(1, n) for n in range(3))
    assert app.control.revoke(one.id) is None
    assert app.control.revoke([two.id], reply=True) == []
    assert (one.state, two.state, three.state) == ("REVOKED", "REVOKED", "PENDING")
    with run_worker():
        assert three.get(timeout=20) == 3
        assert app.control.inspect().active() == {NODE: []}


def test_revoke_answers(app: Any, worker: Any) -> None:
    result = steered.add.apply_async((1, 2), countdown=60)
    assert app.control.revoke(result, reply=True) == [
        {NODE: {"ok": f"tasks {{'{result.id}'}} flagged as revoked"}},
    ]
    assert app.control.revoke(["a", "b"], reply=True) == [{NODE: {"ok": "tasks {'a', 'b'} flagged as revoked"}}]
    assert app.control.revoke(["a"], reply=True, destination=[OTHER]) == []


def test_revoke_of_a_group(app: Any) -> None:
    from litequeue import group

    results = group(steered.add.s(n, n) for n in range(3)).apply_async()
    app.control.revoke(results.id)
    assert [result.state for result in results] == ["REVOKED"] * 3


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_terminate(app: Any, run_worker: Callable[..., Any], held: Callable[..., Any], pool: str) -> None:
    with run_worker(pool=pool), run_worker(hostname=OTHER, queues="other"):
        result, stays = held(), held()
        answers = app.control.terminate(result.id, signal="KILL", reply=True)
        assert answers == [{NODE: {"ok": f"terminate: {result.id}"}}, {OTHER: {"ok": "terminate: tasks unknown"}}]
        wait_until(lambda: result.state == "REVOKED")
        assert [task["id"] for task in app.control.inspect().active()[NODE]] == [stays.id]
        assert app.control.ping([NODE])


@pytest.mark.parametrize("signal", ["NOPE", 12345, "", None])
def test_a_signal_that_is_none(app: Any, worker: Any, held: Callable[..., Any], signal: Any) -> None:
    if signal is None:  # as in Celery, it means TERM
        assert app.control.revoke("x", terminate=True, signal=None, reply=True) == [
            {NODE: {"ok": "terminate: tasks unknown"}}
        ]
        return
    result = held()
    assert "this system has no signal" in app.control.terminate(result.id, signal=signal, reply=True)[0][NODE]["error"]
    with pytest.raises(ValueError, match="this system has no signal"):
        app.control.terminate(result.id, signal=signal)
    assert result.state == "STARTED"


def test_revoke_by_stamped_headers(app: Any, worker: Any) -> None:
    def stamped(customer: str) -> Any:
        return steered.add.s(1, 1).stamp(customer=customer).apply_async(countdown=60)

    one, two = stamped("a"), stamped("b")
    answer = app.control.revoke_by_stamped_headers({"customer": ["a"]}, reply=True)
    assert answer == [{NODE: {"ok": "headers {'customer': ['a']} flagged as revoked, but not terminated"}}]
    assert (one.state, two.state, stamped("a").state) == ("REVOKED", "PENDING", "REVOKED")
    assert app.control.revoke_by_stamped_headers({"customer": "b"}) is None
    assert two.state == "REVOKED"


def test_terminate_by_stamped_headers(app: Any, worker: Any, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    result = steered.hold.s(str(gate)).stamp(customer="a").apply_async()
    wait_until(Path(f"{gate}.{result.id}").exists)
    answer = app.control.revoke_by_stamped_headers({"customer": "a"}, terminate=True, reply=True)
    assert answer == [{NODE: {"ok": "headers {'customer': 'a'} revoked"}}]
    wait_until(lambda: result.state == "REVOKED")
    answer = app.control.revoke_by_stamped_headers({"customer": "z"}, terminate=True, reply=True)
    assert answer == [{NODE: {"ok": "headers {'customer': 'z'} were not terminated"}}]


def test_purge(app: Any) -> None:
    steered.add.delay(1, 1)
    steered.add.apply_async((1, 1), countdown=60)
    elsewhere = steered.add.apply_async((1, 1), queue="elsewhere")
    assert app.control.purge() == 2
    assert app.control.discard_all() == 0
    assert elsewhere.exists()
    assert app.control.purge(queues=["elsewhere"]) == 1


# Limits


def test_rate_limit(app: Any, worker: Any) -> None:
    new, off = {"ok": "new rate limit set successfully"}, {"ok": "rate limit disabled successfully"}
    assert app.control.rate_limit(ADD, "10/m", reply=True) == [{NODE: new}]
    assert app.control.rates()[ADD] == "10/m"
    assert app.control.rate_limit(steered.add, 5, reply=True) == [{NODE: new}]
    assert app.control.rates()[ADD] == "5"
    for none in (0, "0", None, "", "0/s"):
        assert app.control.rate_limit(ADD, none, reply=True) == [{NODE: off}]
        assert ADD not in app.control.rates()


def test_rate_limit_goes_back_to_what_the_code_says(app: Any, worker: Any) -> None:
    assert app.control.rates() == {LIMITED: "1000/s"}
    app.control.rate_limit(LIMITED, "1/h")
    assert app.control.rates() == {LIMITED: "1/h"}
    assert app.control.inspect().registered()[NODE].count(f"{LIMITED} [rate_limit=1/h]") == 1
    app.control.rate_limit(LIMITED, "default")
    assert app.control.rates() == {LIMITED: "1000/s"}


def test_limits_outlive_workers(app: Any, run_worker: Callable[..., Any]) -> None:
    assert app.control.rate_limit(ADD, "1/h") is None
    assert app.control.time_limit(ADD, soft=1, hard=2) is None
    for _ in range(2):
        with run_worker():
            limits = app.control.limits()[ADD]
            assert (limits.rate, limits.soft_time_limit, limits.time_limit) == ("1/h", 1.0, 2.0)


def test_a_rate_limit_that_is_none(app: Any, worker: Any) -> None:
    assert "Invalid rate limit string" in app.control.rate_limit(ADD, "10/y", reply=True)[0][NODE]["error"]
    with pytest.raises(ValueError, match="10/y"):
        app.control.rate_limit(ADD, "10/y")
    assert ADD not in app.control.rates()


def test_time_limit(app: Any, worker: Any) -> None:
    answer = app.control.time_limit(ADD, soft=10, hard=20, reply=True)
    assert answer == [{NODE: {"ok": "time limits set successfully"}}]
    app.control.time_limit(ADD, soft=0, hard=30)
    limits = app.control.limits()[ADD]
    assert (limits.soft_time_limit, limits.time_limit) == (0, 30)


@pytest.mark.parametrize(
    "limits", [{"soft": 20, "hard": 10}, {"soft": -1}, {"hard": "3"}, {"hard": float("nan")}, {"soft": True}]
)
def test_time_limits_that_are_none(app: Any, limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="time limit"):
        app.control.time_limit(ADD, **limits)
    assert ADD not in app.control.limits()


def test_an_unknown_task(app: Any, run_worker: Callable[..., Any]) -> None:
    """The workers say it as in Celery; where nobody is there to say it, it is raised."""
    for change in (
        lambda **options: app.control.rate_limit("tests.control.steered.ad", "1/s", **options),
        lambda **options: app.control.time_limit("tests.control.steered.ad", 1, **options),
    ):
        for options in ({}, {"reply": True}):
            with pytest.raises(NotRegistered, match=f"did you mean '{ADD}'"):
                change(**options)
        with run_worker():
            assert change(reply=True) == [{NODE: {"error": "unknown task"}}]
    assert app.control.limits().keys() <= {LIMITED}


def test_a_task_that_only_the_file_knows(app: Any) -> None:
    app.send_task("somebody.elses", ())
    app.control.rate_limit("somebody.elses", "1/s")
    assert app.control.rates() == {"somebody.elses": "1/s"}


def test_celerys_broadcast_of_a_limit(app: Any, worker: Any) -> None:
    arguments = {"task_name": ADD, "rate_limit": "200/m"}
    assert app.control.broadcast("rate_limit", arguments=arguments) is None
    assert app.control.rates()[ADD] == "200/m"


# Pauses


def test_pause_and_resume_a_queue(app: Any, run_worker: Callable[..., Any]) -> None:
    assert app.control.pause("celery") == ["celery"]
    assert app.control.pause(["celery"]) == []
    assert app.control.paused()["queues"].keys() == {"celery"}
    waits = steered.add.delay(1, 2)
    with run_worker(queues="celery,other"):
        assert steered.add.apply_async((2, 2), queue="other").get(timeout=20) == 4
        assert waits.state == "PENDING"
        assert app.control.resume("celery") == ["celery"]
        assert waits.get(timeout=20) == 3
    assert app.control.resume("celery") == []
    assert app.control.paused() == {"queues": {}, "tasks": {}}


def test_pause_and_resume_a_task(app: Any, run_worker: Callable[..., Any]) -> None:
    assert app.control.pause(tasks=steered.add) == [ADD]
    waits = steered.add.delay(1, 2)
    with run_worker():
        assert steered.limited.delay().get(timeout=20) == 1
        assert waits.state == "PENDING"
        app.control.resume(tasks=[ADD])
        assert waits.get(timeout=20) == 3


def test_what_nobody_knows_is_not_paused(app: Any) -> None:
    with pytest.raises(QueueNotFound, match="did you mean 'celery'"):
        app.control.pause("celry")
    with pytest.raises(QueueNotFound, match="no app declares it"):
        app.control.pause(["celery", "mail"])
    with pytest.raises(NotRegistered, match=f"did you mean '{ADD}'"):
        app.control.pause("celery", tasks="tests.control.steered.ad")
    with pytest.raises(TypeError, match="name of a queue"):
        app.control.pause()
    with pytest.raises(QueueNotFound):
        app.control.resume("celry")
    assert app.control.paused() == {"queues": {}, "tasks": {}}


def test_a_queue_that_is_known_from_routes_or_use(app: Any) -> None:
    app.conf.task_routes = {ADD: {"queue": "routed"}}
    app.send_task("somebody.elses", (), queue="used")
    assert app.control.pause(["routed", "used"]) == ["routed", "used"]
