"""Death is exact: what a dead process held comes back at once, what a live one holds never does."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

from litequeue.core import process, state
from litequeue.core.records import Identity, NewProcess
from tests.store.conftest import Driver, Takes


def _sleeper() -> tuple[subprocess.Popen[bytes], Identity]:
    """A real process that runs until it is killed, and its identity."""
    child = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    started = process._started(child.pid)
    assert started is not None
    return child, replace(process.current(), pid=child.pid, started=started)


def _register(driver: Driver, identity: Identity) -> int:
    return driver.store.register(
        NewProcess(worker="w@here", role="worker", parent=None, identity=identity, queues=("celery",))
    )


def test_a_process_is_registered_as_it_is(driver: Driver) -> None:
    number = driver.process("w1@here", ("a", "b"))
    (record,) = driver.store.processes()
    assert (record.id, record.worker, record.queues, record.idle) == (number, "w1@here", ("a", "b"), 0)
    assert record.identity == process.current()
    driver.store.deregister(number)
    assert driver.store.processes() == []
    assert driver.process() > number, "a number is never given twice"


def test_only_the_dead_are_rescued_from(driver: Driver) -> None:
    child, identity = _sleeper()
    try:
        holder = _register(driver, identity)
        (task_id,) = driver.enqueue(driver.new())
        driver.store.claim(driver.claimant(holder), 1)
        assert driver.store.rescue(lease=0.0, max_deaths=3).requeued == (), "it lives, however silent it is"
        child.kill()
        child.wait()
        assert driver.store.rescue(lease=60.0, max_deaths=3).requeued == (task_id,)
    finally:
        child.kill()
        child.communicate()
    assert driver.state(task_id) == state.READY
    assert driver.store.processes() == []


def test_a_zombie_is_dead(driver: Driver) -> None:
    child, identity = _sleeper()
    holder = _register(driver, identity)
    (task_id,) = driver.enqueue(driver.new())
    driver.store.claim(driver.claimant(holder), 1)
    child.kill()
    rescued: tuple[str, ...] = ()
    while not rescued:  # the kernel takes a moment; nobody has waited for the child yet
        rescued = driver.store.rescue(lease=60.0, max_deaths=3).requeued
    assert rescued == (task_id,)
    child.communicate()


def test_a_pid_given_to_another_process_is_not_the_dead_one(driver: Driver) -> None:
    _register(driver, replace(process.current(), started="1"))
    driver.store.rescue(lease=60.0, max_deaths=3)
    assert driver.store.processes() == []


def test_another_host_is_dead_only_after_its_lease(driver: Driver) -> None:
    holder = _register(driver, replace(process.current(), host="elsewhere"))
    (task_id,) = driver.enqueue(driver.new())
    driver.store.claim(driver.claimant(holder), 1)
    assert driver.store.rescue(lease=60.0, max_deaths=3).requeued == ()
    driver.store.heartbeat([holder])
    assert driver.store.rescue(lease=60.0, max_deaths=3).requeued == ()
    assert driver.store.rescue(lease=0.0, max_deaths=3).requeued == (task_id,)


def test_an_earlier_boot_is_dead(driver: Driver) -> None:
    _register(driver, replace(process.current(), boot="before"))
    driver.store.rescue(lease=60.0, max_deaths=3)
    assert driver.store.processes() == []


def test_a_poison_task_ends_after_its_cap(driver: Driver) -> None:
    (task_id,) = driver.enqueue(driver.new())
    for death in range(1, 4):
        claimant = driver.claimant()
        (claimed,) = driver.store.claim(claimant, 1).claimed
        assert claimed.deaths == death - 1
        rescued = driver.store.bury(claimant.holder, "killed by SIGSEGV", 3)
        assert rescued.failed == ((task_id,) if death == 3 else ())
    record = driver.store.task(task_id)
    assert record is not None
    assert (record.state, record.deaths) == (state.FAILED, 3)
    assert "SIGSEGV" in str(record.result)
    assert len(driver.store.attempts(task_id)) == 3


def test_a_stop_in_order_counts_no_death(driver: Driver) -> None:
    (task_id,) = driver.enqueue(driver.new())
    claimant = driver.claimant()
    driver.store.claim(claimant, 1)
    assert driver.store.deregister(claimant.holder).requeued == (task_id,)
    record = driver.store.task(task_id)
    assert record is not None
    assert (record.state, record.deaths) == (state.READY, 0)
    assert driver.store.attempts(task_id) == []


def test_a_stop_cannot_give_an_at_most_once_task_back(driver: Driver) -> None:
    (task_id,) = driver.enqueue(driver.new())
    claimant = driver.claimant(picker=Takes(once={"add"}))
    driver.store.claim(claimant, 1)
    assert driver.store.deregister(claimant.holder).failed == (task_id,)
    assert driver.state(task_id) == state.FAILED


def test_busy_knows_running_ready_and_strange(driver: Driver) -> None:
    assert not driver.store.busy(["celery"], {"add"})
    driver.enqueue(driver.new())
    assert driver.store.busy(["celery"], {"add"})
    assert not driver.store.busy(["other"], {"add"})
    claimant = driver.claimant()
    driver.store.claim(claimant, 1)
    assert driver.store.busy(["celery"], {"add"}), "it runs"
    driver.store.deregister(claimant.holder)
    driver.store.claim(driver.claimant(picker=Takes({"else"})), 1)
    assert not driver.store.busy(["celery"], {"else"}), "put aside for who knows it"
    assert driver.store.busy(["celery"], {"add"})
