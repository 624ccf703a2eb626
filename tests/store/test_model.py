"""The store against a small model of it, over random sequences of everything that can happen to tasks."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from litequeue.core import clock, state
from litequeue.core.records import Claimed, Encoded, Outcome, Rerun
from litequeue.store import open_store
from litequeue.store.contract import Claimant, StoreOptions
from tests.store.conftest import Driver, Takes, fail, retry, succeed, tickets

MAX_DEATHS = 3


@dataclass
class Row:
    """A task as the model knows it."""

    order: int
    priority: int
    once: bool
    state: str = state.READY
    holder: int | None = None
    attempt: int = 0
    deaths: int = 0
    retries: int = 0
    cancelled: bool = False

    def give_back(self, stands: str) -> None:
        """Leave `running` for another try, unless it was revoked meanwhile."""
        self.state, self.holder = (state.REVOKED if self.cancelled else stands), None


class StoreMachine(RuleBasedStateMachine):
    """Every rule does one thing to the file and the same to the model, and compares what the two say."""

    claims = Bundle("claims")
    workers = Bundle("workers")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.driver = Driver(open_store(str(Path(self.folder.name) / "q.db"), StoreOptions(durability="normal")))
        self.rows: dict[str, Row] = {}
        self.alive: dict[int, Claimant] = {}

    def teardown(self) -> None:
        if hasattr(self, "driver"):
            self.driver.store.close()
            self.folder.cleanup()

    @rule(target=workers)
    def register(self) -> int:
        claimant = self.driver.claimant(picker=Takes({"add", "once"}, once={"once"}))
        self.alive[claimant.holder] = claimant
        return claimant.holder

    @rule(priorities=st.lists(st.integers(0, 3), min_size=1, max_size=5), once=st.booleans())
    def enqueue(self, priorities: list[int], once: bool) -> None:
        name = "once" if once else "add"
        ids = self.driver.enqueue(*(self.driver.new(name, priority=priority) for priority in priorities))
        for task_id, priority in zip(ids, priorities, strict=True):
            self.rows[task_id] = Row(len(self.rows), priority, once)

    @rule(target=claims, worker=workers, limit=st.integers(1, 4))
    def claim(self, worker: int, limit: int) -> object:
        if worker not in self.alive:
            return multiple()
        claimed = self.driver.store.claim(self.alive[worker], limit).claimed
        ready = sorted(
            (task_id for task_id, row in self.rows.items() if row.state == state.READY),
            key=lambda task_id: (-self.rows[task_id].priority, self.rows[task_id].order),
        )
        assert [each.id for each in claimed] == ready[:limit]
        for each in claimed:
            row = self.rows[each.id]
            row.state, row.holder, row.attempt = state.RUNNING, worker, row.attempt + 1
            assert (each.attempt, each.deaths, each.retries) == (row.attempt, row.deaths, row.retries)
        return multiple(*((worker, each) for each in claimed))

    def _holds(self, worker: int, claimed: Claimed) -> bool:
        row = self.rows[claimed.id]
        return (row.state, row.holder, row.attempt) == (state.RUNNING, worker, claimed.attempt)

    @rule(claim=claims, how=st.sampled_from(["succeed", "fail", "ignore", "retry", "requeue"]))
    def settle(self, claim: tuple[int, Claimed], how: str) -> None:
        """Also of claims that were settled, released or taken back before: then nothing may change."""
        worker, claimed = claim
        claimant = Claimant(holder=worker, worker="w", pid=1, queues=("celery",), picker=Takes())
        outcome = {
            "succeed": lambda: succeed(claimed),
            "fail": lambda: fail(claimed),
            "ignore": lambda: Outcome(claimed, state.IGNORED, clock.now()),
            "retry": lambda: retry(claimed),
            "requeue": lambda: Outcome(claimed, state.READY, clock.now(), Encoded("{}", "error"), rerun=Rerun()),
        }[how]()
        held = self._holds(worker, claimed)
        assert self.driver.store.settle(claimant, [outcome]).lost == (() if held else (claimed,))
        if held:
            row = self.rows[claimed.id]
            if outcome.rerun is None:
                row.state, row.holder = outcome.state, None
            else:
                row.give_back(outcome.state)
            row.retries += how == "retry"

    @rule(claim=consumes(claims))
    def release(self, claim: tuple[int, Claimed]) -> None:
        worker, claimed = claim
        held = self._holds(worker, claimed)
        assert self.driver.store.release(worker, tickets((claimed,))) == int(held)
        if held:
            row = self.rows[claimed.id]
            row.give_back(state.READY)
            row.attempt -= 1

    @rule(worker=consumes(workers), died=st.booleans())
    def end_worker(self, worker: int, died: bool) -> None:
        if worker not in self.alive:
            return
        del self.alive[worker]
        store = self.driver.store
        rescued = store.bury(worker, "killed", MAX_DEATHS) if died else store.deregister(worker)
        requeued, failed, revoked = set(), set(), set()
        for task_id, row in self.rows.items():
            if row.state == state.RUNNING and row.holder == worker:
                row.deaths += died
                lost = row.once or row.deaths >= MAX_DEATHS
                row.give_back(state.FAILED if lost else state.READY)
                (revoked if row.cancelled else failed if lost else requeued).add(task_id)
        assert (set(rescued.requeued), set(rescued.failed), set(rescued.revoked)) == (requeued, failed, revoked)

    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        if not self.rows:
            return
        task_id = data.draw(st.sampled_from(sorted(self.rows)))
        row = self.rows[task_id]
        open_ = row.state == state.READY
        assert self.driver.store.revoke([task_id]) == ((task_id,) if open_ else ())
        row.cancelled = row.cancelled or row.state == state.RUNNING
        if open_:
            row.state = state.REVOKED

    @invariant()
    def the_file_is_as_the_model_says(self) -> None:
        if hasattr(self, "driver"):
            states = self.driver.store.states(list(self.rows))
            assert states == {task_id: row.state for task_id, row in self.rows.items()}


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
