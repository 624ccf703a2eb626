"""Commands to workers and their answers, as rows."""

from __future__ import annotations

from litequeue.core import process
from litequeue.core.records import NewProcess
from litequeue.core.steering import Command, NewCommand
from tests.store.conftest import Driver


def command(name: str = "ping", destination: tuple[str, ...] | None = None, lifetime: float = 60.0) -> NewCommand:
    """A command without arguments, whose sender waits at no port."""
    return NewCommand(name, "{}", destination, None, lifetime)


def test_numbers_grow_and_are_never_given_twice(driver: Driver) -> None:
    store = driver.store
    assert store.last_command() == 0
    first = store.send_command(command(lifetime=0.0))
    second = store.send_command(command())
    assert 0 < first < second == store.last_command()
    assert [each.id for each in store.commands("a@b", 0)] == [second]
    assert store.send_command(command(lifetime=0.0)) > second
    assert store.last_command() > second


def test_for_everybody_or_by_name(driver: Driver) -> None:
    store = driver.store
    everybody = store.send_command(command())
    one = store.send_command(command("pool_grow", ("a@b", "c@d")))
    assert store.commands("a@b", 0) == [
        Command(everybody, "ping", "{}", None),
        Command(one, "pool_grow", "{}", None),
    ]
    assert [each.id for each in store.commands("x@y", 0)] == [everybody]
    assert [each.id for each in store.commands("c@d", everybody)] == [one]
    assert store.commands("a@b", one) == []


def test_an_expired_command_is_not_carried_out(driver: Driver) -> None:
    store = driver.store
    store.send_command(command(lifetime=0.0))
    store.send_command(command(lifetime=-5.0))
    assert store.commands("a@b", 0) == []


def test_answers(driver: Driver) -> None:
    store = driver.store
    number = store.send_command(command())
    (sent,) = store.commands("a@b", 0)
    assert store.replies(number) == []
    store.reply(sent, 7, "a@b", '"one"')
    store.reply(sent, 5, "c@d", '"two"')
    assert [(reply.process, reply.worker, reply.reply) for reply in store.replies(number)] == [
        (7, "a@b", '"one"'),
        (5, "c@d", '"two"'),
    ]
    store.reply(sent, 5, "c@d", '"three"')
    assert {reply.reply for reply in store.replies(number)} == {'"one"', '"three"'}


def test_expired_commands_go_with_their_answers(driver: Driver) -> None:
    store = driver.store
    number = store.send_command(command(lifetime=1.0))
    (sent,) = store.commands("a@b", 0)
    store.reply(sent, 7, "a@b", '"one"')
    assert store.replies(number)
    while store.commands("a@b", 0):
        pass
    other = store.send_command(command())
    assert store.replies(number) == []
    assert [each.id for each in store.commands("a@b", 0)] == [other]
    store.reply(sent, 7, "a@b", '"too late"')
    assert store.replies(number) == []


def test_who_carries_out_commands_is_woken(driver: Driver) -> None:
    store = driver.store
    channel = store.open_channel()
    store.register(
        NewProcess(worker="a@b", role="control", parent=None, identity=process.current(), queues=()), channel
    )
    assert not store.wait_for_work(channel, 0)
    store.send_command(command())
    assert store.wait_for_work(channel, 20)
    channel.close()


def test_who_asked_is_woken(driver: Driver) -> None:
    store = driver.store
    port = store.reply_port()
    assert port is not None
    store.send_command(command()._replace(reply_port=port))
    (sent,) = store.commands("a@b", 0)
    seen = store.changes()
    store.reply(sent, 7, "a@b", "1")
    assert store.wait_for_change(seen, 20) != seen


# What many tasks are


def test_what_runs_and_what_comes_next(driver: Driver) -> None:
    store = driver.store
    low, high, elsewhere = driver.new(), driver.new(priority=5), driver.new(queue="other")
    later, soon = driver.new(run_at=4e9), driver.new(run_at=3e9)
    driver.enqueue(low, high, elsewhere, later, soon)
    assert [task.id for task in store.next_ready(["celery", "other"], 10)] == [high.id, low.id, elsewhere.id]
    assert [task.id for task in store.next_ready(["celery"], 1)] == [high.id]
    assert store.next_ready([], 10) == []
    assert [task.id for task in store.scheduled(10)] == [soon.id, later.id]
    assert [task.id for task in store.scheduled(1)] == [soon.id]
    assert store.running(10) == []
    claimant = driver.claimant()
    store.claim(claimant, 10)
    assert {task.id for task in store.running(10)} == {low.id, high.id}
    assert len(store.running(1)) == 1
    assert store.started_by("celery@here", 0.0, 100) == {"add": 2}
    assert store.started_by("celery@here", 4e9, 100) == store.started_by("somebody@else", 0.0, 100) == {}


def test_what_was_revoked(driver: Driver) -> None:
    store = driver.store
    one, two, running = driver.enqueue(driver.new(run_at=4e9), driver.new(run_at=4e9), driver.new())
    store.claim(driver.claimant(), 10)
    assert store.revoked(10) == []
    store.revoke([one])
    store.revoke([two, running])
    assert store.revoked(10) == [running, two, one]
    assert store.revoked(1) == [running]
