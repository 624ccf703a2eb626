"""Every reason for which a task does not run, on a real file and with real workers where it needs them."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from litequeue import chord, group
from litequeue.core import clock
from litequeue.doctor import examine
from litequeue.inspect.explain import Explanation, Reason, explain
from litequeue.inspect.failures import failures
from litequeue.inspect.page import page
from litequeue.inspect.rendering import explanation as as_text
from litequeue.inspect.snapshot import workers
from litequeue.inspect.text import Look
from litequeue.inspect.views import ALIVE, ORPHAN
from tests.inspect.conftest import NAME, NODE, OTHER, Project, wait_until
from tests.inspect.looked_at import add, boom, flaky, hold, ignored, limited, total


def kinds(explanation: Explanation) -> list[str]:
    return [reason.kind for reason in explanation.reasons]


def only(explanation: Explanation, kind: str) -> Reason:
    assert kinds(explanation) == [kind], explanation
    return explanation.reasons[0]


def of(explanation: Explanation, kind: str) -> Reason:
    (found,) = [reason for reason in explanation.reasons if reason.kind == kind]
    return found


def test_an_unknown_id(app: Any) -> None:
    explanation = explain(app, "nobody")
    assert explanation.state is None
    assert "never seen it" in only(explanation, "unknown").text


# It has ended


def test_what_has_ended(app: Any, ended: Any) -> None:
    results = [add.delay(1, 2), boom.delay("cake"), ignored.delay()]
    ended(*results)
    succeeded, failed, nothing = (explain(app, result.id) for result in results)
    assert (succeeded.state, nothing.state) == ("SUCCESS", "IGNORED")
    assert f"on {NODE}" in only(succeeded, "ended").text
    assert succeeded.verdict.startswith("It ended ") and only(succeeded, "ended").remedy is None
    assert "ValueError: no cake" in only(failed, "ended").text
    assert only(failed, "ended").remedy.startswith(f"litequeue retry {results[1].id}")


def test_what_was_revoked(app: Any) -> None:
    result = add.delay(1, 2)
    result.revoke()
    explanation = explain(app, result.id)
    assert explanation.state == "REVOKED"
    assert "it never started" in only(explanation, "ended").text


def test_what_did_not_run_because_another_failed(app: Any, ended: Any) -> None:
    last = (boom.s("cake") | add.s(1)).apply_async()
    ended(last)
    reason = only(explain(app, last.id), "upstream")
    assert reason.ids == (last.parent.id,)
    assert reason.remedy.startswith(f"litequeue retry {last.parent.id}")
    assert "no cake" in reason.because[0].reasons[0].text


def test_a_body_that_did_not_run_names_the_member_of_its_header_that_failed(app: Any, ended: Any) -> None:
    body = chord([add.s(1, 2), boom.s("cake")])(total.s())
    ended(body)
    failed = next(part for part in body.parent.results if part.state == "FAILURE")
    reason = only(explain(app, body.id), "upstream")
    assert reason.ids == (failed.id,)
    assert reason.remedy.startswith(f"litequeue retry {failed.id}")
    shown = page(app, body.id)
    assert shown is not None and shown.caused_by == failed.id
    assert [group.names for group in failures(app).groups] == [(f"{NAME}boom",)]


def test_what_holds_up_several_tasks_is_said_once(app: Any) -> None:
    waiting = chord([add.s(number, 1) for number in range(4)])(total.s())
    text = as_text(explain(app, waiting.id), Look())
    assert text.count("(the same)") == 3
    assert text.count("starts one") == 2  # for those of the header, and for the body


# It runs


def test_what_runs(app: Any, worker: Any, held: Callable[..., Any]) -> None:
    result = held()
    explanation = explain(app, result.id)
    assert explanation.state == "STARTED"
    reason = only(explanation, "running")
    assert f" on {NODE} (pid " in reason.text and reason.remedy is None


def test_what_was_revoked_while_it_runs(app: Any, worker: Any, held: Callable[..., Any]) -> None:
    result = held()
    result.revoke()
    assert "was revoked while it ran" in only(explain(app, result.id), "revoked").text


def test_what_a_slot_has_taken_beside_another(app: Any) -> None:
    results = [hold.delay("nowhere.gate")]
    results += [add.delay(number, 1) for number in range(3)]
    from litequeue.store.contract import Claimant

    claimant = Claimant(holder=_registered(app), worker=NODE, pid=4711, queues=("celery",), picker=_All())
    app.store.claim(claimant, 4)
    first, *others = (explain(app, result.id) for result in results)
    assert kinds(first) == ["running"]
    for each in others:
        assert only(each, "behind").ids == (results[0].id,)


class _All:
    """Takes everything."""

    names = frozenset({f"{NAME}add", f"{NAME}hold"})

    def pick(self, name: str, deaths: int) -> Any:
        from litequeue.store.contract import Pick

        return Pick.TAKE

    def at_most_once(self, name: str) -> int:
        return 0


def _registered(app: Any) -> int:
    from litequeue.core import process
    from litequeue.core.records import NewProcess

    identity = process.current()
    info = {"pool": "solo", "concurrency": 1, "tasks": sorted(_All.names)}
    return app.store.register(
        NewProcess(worker=NODE, role="worker", parent=None, identity=identity, queues=("celery",), info=info)
    )


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs prefork, and signals")
def test_a_worker_is_gone_and_its_child_lives_on(project: Project) -> None:
    """From the moment that it is killed on, and when another has buried it."""
    app = project.app
    app.conf.worker_lease = 2.0
    options = ("worker_lease=2", "--heartbeat-interval", "0.2")
    worker = project.worker("-P", "prefork", "-c", "1", "-n", NODE, *options).ready()
    running = project.hold("long")
    pid = project.started("long")
    worker.signal(signal.SIGKILL)
    worker.process.wait(20)
    wait_until(lambda: kinds(explain(app, running.id)) == ["orphaned"])
    reason = only(explain(app, running.id), "orphaned")
    assert f"its worker {NODE} is gone; the process that runs it (pid {pid}) lives on" in reason.text
    assert f"kill -9 {pid}" in str(reason.remedy)

    with app.start_worker(pool="threads", concurrency=1, hostname=OTHER, queues=["other"], beat=False):
        wait_until(lambda: {each.node: each.liveness for each in workers(app)} == {NODE: ORPHAN, OTHER: ALIVE})
        assert kinds(explain(app, running.id)) == ["orphaned"]
        found = page(app, running.id)
        assert found is not None
        assert found.liveness == ORPHAN
        (orphan,) = [each for each in workers(app) if each.liveness == ORPHAN]
        assert (orphan.pid, orphan.concurrency, orphan.busy, orphan.queues) == (pid, 1, 1, ())
        assert orphan.slots[0].task is not None
        assert orphan.slots[0].task.id == running.id
        (warning,) = [finding for finding in examine(app) if finding.check == "orphans"]
        assert (warning.level, f"{pid} of {NODE}" in warning.text) == ("warning", True)
        assert NODE not in app.control.inspect(timeout=0.3).liveness()
        project.release("long")
        assert running.get(timeout=20) == pid
        wait_until(lambda: [each.liveness for each in workers(app)] == [ALIVE])


def test_workers_that_hang_and_are_dead(project: Project) -> None:
    app = project.app
    app.conf.worker_lease = 2.0
    worker = project.worker("-P", "solo", "-n", NODE, "worker_lease=2", "--heartbeat-interval", "0.2").ready()
    running = app.send_task("proj.hold", (str(project.folder / "gate"),))
    wait_until((project.folder / "gate.started").exists)
    waiting = app.send_task("proj.add", (1, 2))
    worker.signal(signal.SIGSTOP)
    wait_until(lambda: kinds(explain(app, running.id)) == ["hung"])
    assert f"kill -9 {worker.pid}" in only(explain(app, running.id), "hung").remedy
    assert f"{NODE} (pid {worker.pid}, silent for" in of(explain(app, waiting.id), "hung").text
    worker.signal(signal.SIGKILL)
    worker.ended()
    wait_until(lambda: kinds(explain(app, running.id)) == ["dead"])
    assert "start a worker" in only(explain(app, running.id), "dead").remedy
    assert f"{NODE} died" in only(explain(app, waiting.id), "no_worker").text


# It waits for a time


def test_countdown_and_retry(app: Any, run_worker: Any) -> None:
    later, again = add.apply_async((1, 2), countdown=3600), flaky.delay()
    with run_worker():
        wait_until(lambda: again.state == "RETRY")
        reason = only(explain(app, later.id), "scheduled")
        assert "it has an eta or a countdown: it is due in " in reason.text
        assert abs((reason.until or 0) - clock.now() - 3600) < 60
        assert "retry 1" in only(explain(app, again.id), "retry").text
    assert kinds(explain(app, later.id)) == ["scheduled", "no_worker"]


def test_what_has_been_due_for_a_while(app: Any) -> None:
    result = add.apply_async((1, 2), countdown=-5)
    explanation = explain(app, result.id)
    assert "no_worker" in kinds(explanation)


def test_expiry(app: Any) -> None:
    result = add.apply_async((1, 2), countdown=60, expires=3600)
    explanation = explain(app, result.id)
    assert kinds(explanation) == ["scheduled", "no_worker", "expires"]
    assert "it expires in " in of(explanation, "expires").text
    late = add.apply_async((1, 2), expires=timedelta(milliseconds=1))
    wait_until(lambda: "it expired" in of(explain(app, late.id), "expires").text)


# It is ready


def test_no_worker(app: Any, run_worker: Any) -> None:
    result = add.apply_async((1, 2), queue="mail")
    assert "none is running" in only(explain(app, result.id), "no_worker").text
    with run_worker():
        reason = only(explain(app, result.id), "no_worker")
        assert f"those that run ({NODE}) take them from celery" in reason.text
        assert "add_consumer mail" in reason.remedy


def test_a_paused_queue_and_a_paused_name(app: Any, worker: Any) -> None:
    app.control.pause("celery")
    result = add.delay(1, 2)
    reason = only(explain(app, result.id), "queue_paused")
    assert "litequeue resume celery" in reason.remedy
    app.control.pause(tasks=add)
    explanation = explain(app, result.id)
    assert kinds(explanation) == ["queue_paused", "name_paused"]
    assert of(explanation, "name_paused").remedy.startswith(f"litequeue resume --task {NAME}add")


def test_a_name_that_no_worker_of_the_queue_knows(app: Any, worker: Any) -> None:
    result = app.send_task("elsewhere.task")
    reason = only(explain(app, result.id), "unknown_name")
    assert f"the only worker of queue celery ({NODE}) does not know the task elsewhere.task" in reason.text
    assert "import the module" in reason.remedy


def test_a_name_that_another_worker_knows(project: Project, run_worker: Any, app: Any) -> None:
    app.conf.broker_url = str(project.file)
    other = project.worker("-P", "solo", "-n", OTHER, "-Q", "other").ready()
    with run_worker():
        result = app.send_task("proj.add", (1, 2))
        reason = only(explain(app, result.id), "unknown_name")
    assert f"{OTHER} on other would" in reason.text
    assert reason.remedy.startswith(f"litequeue control add_consumer celery -d {OTHER}")
    assert other.stop() == 0


def test_all_slots_are_taken(app: Any, run_worker: Any, held: Callable[..., Any]) -> None:
    with run_worker(concurrency=1):
        running = held()
        first, second = add.delay(1, 2), add.delay(3, 4)
        reason = only(explain(app, first.id), "busy")
        assert "the one slot that could run it is taken; it is the next of celery" in reason.text
        assert reason.ids == (running.id,)
        assert "1 task is before it in celery" in only(explain(app, second.id), "busy").text


def test_a_free_slot(app: Any) -> None:
    _registered(app)  # a worker that has not got to it yet
    first, second = add.delay(1, 2), add.delay(3, 4)
    assert only(explain(app, first.id), "free").text == "free: 1 of 1 slot that could run it; it starts at once"
    assert only(explain(app, second.id), "free").text.startswith("1 task is before it in celery; free: ")


def test_a_rate_limit(app: Any, worker: Any) -> None:
    results = [limited.delay() for _ in range(3)]
    wait_until(results[0].ready)
    wait_until(lambda: app.store.task(results[2].id).aside)
    second, third = explain(app, results[1].id), explain(app, results[2].id)
    assert f"the rate limit of {NAME}limited is 1/h: the next may start in " in only(second, "rate_limit").text
    assert abs((only(second, "rate_limit").until or 0) - clock.now() - 3600) < 60
    assert "1 task of its name is before it" in only(third, "rate_limit").text


def test_a_concurrency_key(app: Any, worker: Any, held: Callable[..., Any]) -> None:
    running = held(concurrency_key="printer")
    result = add.apply_async((1, 2), concurrency_key="printer")
    reason = only(explain(app, result.id), "key")
    assert "of the concurrency key 'printer' 1 may run at once" in reason.text
    assert reason.ids == (running.id,)


# It waits for others


def test_a_step_that_waits(app: Any, worker: Any, held: Callable[..., Any], tmp_path: Any) -> None:
    last = (hold.s(str(tmp_path / "gate")) | add.s("!") | add.s("?")).apply_async()
    first = last.parent.parent
    wait_until((tmp_path / f"gate.{first.id}").exists)
    explanation = explain(app, last.id)
    reason = only(explanation, "waits")
    assert reason.ids == (first.id,)
    assert reason.text == f"it waits for task {last.parent.id}; next to end: 1 task"
    assert explanation.verdict == f"It waits for task {first.id} to end."
    assert kinds(reason.because[0]) == ["running"]


def test_a_body_says_what_its_header_waits_for(app: Any, worker: Any, held: Callable[..., Any]) -> None:
    body = chord([add.s(1, 1), add.s(2, 2).set(queue="mail"), add.s(3, 3).set(countdown=600)])(total.s())
    wait_until(lambda: app.store.group(body.parent.id).remaining == 2)
    reason = only(explain(app, body.id), "waits")
    assert f"group {body.parent.id}, of which 2 of 3 have not ended" in reason.text
    assert [kinds(each)[0] for each in reason.because] == ["no_worker", "scheduled"]
    of_group = explain(app, body.parent.id)
    assert of_group.name == "group of 3"
    assert [kinds(each)[0] for each in only(of_group, "waits").because] == ["no_worker", "scheduled"]


def test_a_group_that_has_ended(app: Any, run_worker: Any) -> None:
    result = group(add.s(1, 1), add.s(2, 2))()
    with run_worker():
        result.get(timeout=20)
    assert "has ended" in explain(app, result.id).verdict


def test_what_waits_for_a_task_that_is_gone(app: Any) -> None:
    last = (add.s(1, 1) | add.s(2)).apply_async()
    record = app.store.task(last.id)._replace(after="gone")
    from litequeue.inspect.explain import _of_task
    from litequeue.inspect.facts import Facts

    explanation = _of_task(Facts(app), record, frozenset())
    assert "which the file does not have any more" in of(explanation, "missing").text


def test_a_long_chain_is_followed_to_its_start(app: Any) -> None:
    from litequeue import chain

    last = chain([add.s(0, 0), *(add.s(1) for _ in range(300))]).apply_async()
    reason = of(explain(app, last.id), "waits")
    (first,) = reason.because
    assert app.store.task(first.task_id).state == "ready"


def test_it_is_json(app: Any) -> None:
    import json

    last = (add.s(1, 1) | add.s(2)).apply_async()
    said = explain(app, last.id).as_dict()
    assert json.loads(json.dumps(said)) == said
    assert said["reasons"][0]["because"][0]["reasons"][0]["kind"] == "no_worker"


@pytest.mark.parametrize("width", [40, 80, None])
def test_as_text_it_fits(app: Any, width: int | None) -> None:
    from litequeue.inspect.rendering import explanation
    from litequeue.inspect.text import Look

    last = (add.s(1, 1) | add.s(2)).apply_async()
    text = explanation(explain(app, last.id), Look(width))
    assert "no worker takes" in " ".join(text.split())
    assert width is None or all(len(line) <= width for line in text.splitlines())
