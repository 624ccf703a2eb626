"""Random canvases under random events: at every step every rule holds, and in the end nothing waits.

What SQL can say of a file is asked at every step (`tests.crash.invariants`). Every single move of a row is noted by a
trigger, so that none is seen that `core.state` does not know, and every error callback that is ever written is counted.
Each task returns its own id, so that what a task is given shows whose values they are, and in which order.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from litequeue.core import clock, state
from litequeue.core.journal import ENDS
from litequeue.core.records import Claimed, Encoded, Graft, Keys, NewGroup, NewTask, Outcome, Rerun
from litequeue.core.steering import DeadFilter
from litequeue.core.ties import ERRBACK, ERRBACKS, KEYED, LINK, MEMBER, THEN, write_errbacks
from litequeue.store import open_store
from litequeue.store.contract import StoreOptions
from litequeue.store.sqlite import processes
from tests.crash.invariants import violations
from tests.store.conftest import Driver, Hand, Takes, become, canvas, fail, new_group, plain, succeed

EXAMPLES = int(os.environ.get("LITEQUEUE_MODEL_EXAMPLES", "100"))
"""How many random lives are tried."""
MAX_DEATHS = 3
TOLD = {f"task-{kind}": stands for stands, kind in ENDS.items() if stands in state.TERMINAL} | {
    "task-started": "running"
}
"""What events tell of a row's state."""

NOTES = """
    CREATE TEMP TABLE moves (seq INTEGER, id TEXT, old TEXT, new TEXT);
    CREATE TEMP TABLE fired (after TEXT);
    CREATE TEMP TRIGGER note_move AFTER UPDATE OF state ON main.litequeue_tasks WHEN OLD.state <> NEW.state
        BEGIN INSERT INTO moves VALUES (NEW.seq, NEW.id, OLD.state, NEW.state); END;
    CREATE TEMP TRIGGER note_retry AFTER UPDATE OF state ON main.litequeue_tasks
        WHEN OLD.state IN ('failed', 'revoked') AND NEW.state IN ('ready', 'waiting')
        BEGIN DELETE FROM fired WHERE after = NEW.id; END; -- when it fails again, they fire again
    CREATE TEMP TRIGGER note_errback AFTER INSERT ON main.litequeue_tasks WHEN NEW.edge = 'error'
        BEGIN INSERT INTO fired VALUES (NEW.after); END;
"""
RELEASED_TWICE = """
    SELECT id FROM moves GROUP BY seq, id
    HAVING sum(old = 'waiting') > 1 + sum(new = 'waiting')
"""
FIRED_WRONGLY = """
    SELECT id, errbacks FROM litequeue_tasks task
    WHERE iif(state = 'failed' AND result_serializer = 'error' AND ties & 8, json_array_length(errbacks), 0)
        <> (SELECT count(*) FROM fired WHERE fired.after = task.id)
"""


@dataclass(frozen=True)
class Shape:
    """A canvas that is to be: a task, a chain of parts, a group of parts, or a chord of parts and a body."""

    kind: str
    parts: tuple[Shape, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "ignore_result": st.just(1),
        "errbacks": st.integers(1, 2),
        "links": st.integers(1, 2),
        "stamps": st.sampled_from(["red", "blue"]),
        "name": st.just("once"),
        "lifetime": st.just(-1.0),
        "expires_at": st.just(1.0),
        "priority": st.integers(0, 3),
        "immutable": st.just(1),
        "key": st.sampled_from([("a", 1), ("a", 2), ("b", 1)]),
    },
).map(lambda options: tuple(sorted(options.items())))
TASKS = st.builds(lambda options: Shape("task", (), options), OPTIONS | st.just(()) | st.just(()))
SHAPES = st.recursive(
    TASKS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map(lambda parts: Shape("chain", tuple(parts))),
        st.lists(inner, min_size=0, max_size=4).map(lambda parts: Shape("group", tuple(parts))),
        st.builds(
            lambda parts, body, tolerant: Shape("chord", (*parts, body), (("tolerant", tolerant),)),
            st.lists(inner, min_size=0, max_size=4),
            TASKS,
            st.sampled_from([0, 0, 1]),
        ),
    ),
    max_leaves=10,
)


class Planned:
    """The rows of shapes, made without the planner of the package."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.tasks: list[NewTask] = []
        self.groups: list[NewGroup] = []
        self.slots: dict[str, list[str]] = {}
        """The parts of each group, in order."""

    def nodes(self) -> list[NewTask | NewGroup]:
        return [*self.tasks, *self.groups]

    def add(self, shape: Shape, after: NewTask | NewGroup | None, place: tuple[str, int | None] | None) -> Any:
        """Plan `shape` after a node, as a part of a group; returns the node that stands for its end."""
        if shape.kind == "task":
            return self._task(dict(shape.options), after, place)
        if shape.kind == "chain":
            node = after
            for number, part in enumerate(shape.parts):
                node = self.add(part, node, place if number == len(shape.parts) - 1 else None)
            return node
        if shape.kind == "group":
            return self._group(shape.parts, after, place, 0)
        header = self._group(shape.parts[:-1], after, None, dict(shape.options)["tolerant"])
        return self.add(shape.parts[-1], header, place)

    def _group(self, parts: Any, after: Any, place: tuple[str, int | None] | None, tolerant: int) -> NewGroup:
        group = new_group(len(parts), tolerant=tolerant, after=after.id if after is not None and parts else None)
        if place is not None:
            group = group._replace(group_id=place[0], group_index=place[1])
        self.groups.append(group)
        self.slots[group.id] = [self.add(part, after, (group.id, n)).id for n, part in enumerate(parts)]
        return group

    def _task(self, options: dict[str, Any], after: Any, place: tuple[str, int | None] | None) -> NewTask:
        errbacks, links = options.pop("errbacks", 0), options.pop("links", 0)
        immutable, stamp = options.pop("immutable", 0), options.pop("stamps", None)
        key = options.pop("key", None)
        if after is None:
            options.pop("lifetime", None)
            task = self.driver.new(**options)
        else:
            task = self.driver.then(after, **{"takes_input": 1 - immutable, **options})
        if place is not None:
            task = task._replace(group_id=place[0], group_index=place[1], ties=MEMBER)
        if stamp is not None:
            task = task._replace(stamps=json.dumps({"colour": stamp}))
        if key is not None:
            task = task._replace(ties=task.ties | KEYED, keys=Keys(*key))
        if errbacks:
            inner = self.driver.new(takes_input=1, errbacks=write_errbacks([self.driver.new()]))
            task = task._replace(ties=task.ties | ERRBACKS, errbacks=write_errbacks([inner] * errbacks))
        self.tasks.append(task)
        self.tasks += [self.driver.then(task, edge=LINK) for _ in range(links)]
        return task


class CanvasMachine(RuleBasedStateMachine):
    """Every rule is one transaction, or a few."""

    @initialize()
    def open(self) -> None:
        self._needed_wait = processes._NEEDED_WAIT
        processes._NEEDED_WAIT = -1e9  # type: ignore[misc]
        self.driver = Driver(open_store(":memory:", StoreOptions(failure_retention=0.0)))
        self.slots: dict[str, list[str]] = {}
        self.late: set[str] = set()
        """Tasks whose value nobody wanted until they had started: it may not have been kept."""
        self.hands: list[Hand] = []
        self.claims: list[tuple[Hand, Claimed]] = []
        self._sql(NOTES)
        for _ in range(2):
            self.register()

    def teardown(self) -> None:
        if hasattr(self, "driver"):
            try:
                self._run_to_the_end()
            finally:
                processes._NEEDED_WAIT = self._needed_wait  # type: ignore[misc]
                self.driver.store.close()

    def _sql(self, statement: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        with self.driver.store._database.write("normal") as connection:  # type: ignore[attr-defined]
            return list(connection.execute(statement, bindings).fetchall())

    def register(self) -> None:
        self.hands.append(self._hand())

    def _hand(self) -> Hand:
        """A process whose moves are told."""
        hand = self.driver.hand(picker=Takes({"add", "once"}, once={"once"}))
        assert self.driver.store.set_events(hand.claimant.holder, True)
        return hand

    def _plan(self, *shapes: Shape, after: NewTask | None = None) -> Planned:
        planned = Planned(self.driver)
        for shape in shapes:
            planned.add(shape, after, None)
        return planned

    # Events

    @rule(shape=SHAPES)
    def enqueue(self, shape: Shape) -> None:
        planned = self._plan(shape)
        self.driver.write(*planned.nodes())
        self.slots |= planned.slots

    @rule(hand=st.integers(0, 1), limit=st.integers(1, 6))
    def claim(self, hand: int, limit: int) -> None:
        claimed = self.driver.store.claim(self.hands[hand].claimant, limit).claimed
        self.claims += [(self.hands[hand], each) for each in claimed]
        for each in claimed:
            self._check_inputs(each)

    def _check_inputs(self, claimed: Claimed) -> None:
        """What it is given is what the node that it waited for gave, each value in its slot."""
        if not claimed.takes_input:
            return
        given = self.driver.store.inputs(claimed)
        if claimed.edge == ERRBACK:
            assert given.failed is not None
            assert given.failed.id == claimed.after
        else:
            self._compare(claimed.after or "", plain(given.value))

    def _compare(self, node_id: str, value: Any) -> None:
        if node_id in self.slots:
            assert isinstance(value, list)
            assert len(value) == len(self.slots[node_id])
            for part, each in zip(self.slots[node_id], value, strict=True):
                self._compare(part, each)
            return
        now = self.driver.state(node_id)
        if now == state.SUCCEEDED:
            assert value == node_id or (value is None and node_id in self.late)
        elif now == state.IGNORED:
            assert value is None
        else:
            assert now in (state.FAILED, state.REVOKED)
            assert str(value).endswith(("Error",))

    @precondition(lambda self: self.claims)
    @rule(
        data=st.data(),
        hows=st.lists(
            st.sampled_from(
                ["succeed"] * 6 + ["fail", "fail", "ignore", "retry", "requeue", "other arguments", "late"]
            ),
            min_size=1,
            max_size=4,
        ),
        limit=st.integers(0, 3),
        prune=st.booleans(),
    )
    def settle(self, data: st.DataObject, hows: list[str], limit: int, prune: bool) -> None:
        hand = data.draw(st.sampled_from(self.hands), label="hand")
        outcomes = []
        for how in hows:
            mine = [pair for pair in self.claims if pair[0] is hand]
            if not mine:
                break
            pair = data.draw(st.sampled_from(mine), label=how)
            self.claims.remove(pair)
            outcomes.append(self._outcome(pair[1], how))
        settled = self.driver.store.settle(hand.claimant, outcomes, limit)
        assert {each.id for each in settled.lost} <= {o.claimed.id for o in outcomes if o.claimed.attempt > 900}
        if prune:  # everything that has ended is past its retention
            self.driver.store.prune(50)
        self.claims += [(hand, each) for each in settled.claimed]
        for each in settled.claimed:
            self._check_inputs(each)

    def _outcome(self, claimed: Claimed, how: str) -> Outcome:
        now, error = clock.now(), Encoded('{"type": "OSError", "module": "builtins", "args": []}', "error")
        match how:
            case "fail":
                return fail(claimed)._replace(prune_at=now)
            case "ignore":
                return Outcome(claimed, state.IGNORED, now, prune_at=now)
            case "retry":
                return Outcome(claimed, state.READY, now, error, rerun=Rerun(retries=claimed.retries + 1))
            case "requeue":
                return Outcome(claimed, state.READY, now, error, rerun=Rerun())
            case "new arguments":
                payload = Encoded("[[1], {}]", "json")
                return Outcome(claimed, state.READY, now, error, rerun=Rerun(retries=1, payload=payload))
            case "late":
                return succeed(claimed._replace(attempt=999))
        return succeed(claimed, json.dumps(claimed.id), prune_at=now)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), shape=SHAPES)
    def replace(self, data: st.DataObject, shape: Shape) -> None:
        hand, claimed = data.draw(st.sampled_from(self.claims))
        self.claims.remove((hand, claimed))
        planned = Planned(self.driver)
        before = planned.add(shape, None, None)
        new = self.driver.new() if not planned.nodes() else self.driver.then(before)
        hand.settle(become(claimed, new, *planned.nodes()))
        self.slots |= planned.slots

    @precondition(lambda self: any(claimed.ties & MEMBER for _, claimed in self.claims))
    @rule(data=st.data(), shapes=st.lists(SHAPES, min_size=1, max_size=2))
    def join(self, data: st.DataObject, shapes: list[Shape]) -> None:
        hand, claimed = data.draw(st.sampled_from([pair for pair in self.claims if pair[1].ties & MEMBER]))
        self.claims.remove((hand, claimed))
        planned = Planned(self.driver)
        group_id = claimed.group_id or ""
        ends = [planned.add(shape, None, (group_id, None)) for shape in shapes]
        outcome = succeed(claimed, json.dumps(claimed.id), prune_at=clock.now())
        hand.settle(outcome._replace(graft=Graft(canvas=canvas(*planned.nodes()))))
        self.slots |= planned.slots
        if group_id in self.slots:  # else it is the group of error callbacks
            # Tasks take the slots first, then groups.
            ends.sort(key=lambda end: isinstance(end, NewGroup))
            self.slots[group_id] += [end.id for end in ends]

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), edges=st.sampled_from([(THEN,), (LINK,), (THEN, LINK)]))
    def stop(self, data: st.DataObject, edges: tuple[str, ...]) -> None:
        hand, claimed = data.draw(st.sampled_from(self.claims))
        self.claims.remove((hand, claimed))
        outcome = succeed(claimed, json.dumps(claimed.id), prune_at=clock.now())
        hand.settle(outcome._replace(graft=Graft(stop=edges)))

    def _any_task(self, data: st.DataObject) -> str | None:
        ids = [task_id for (task_id,) in self._sql("SELECT id FROM litequeue_tasks ORDER BY seq")]
        return data.draw(st.sampled_from(ids)) if ids else None

    @rule(data=st.data(), shapes=st.lists(SHAPES, max_size=2), errbacks=st.integers(0, 2))
    def attach(self, data: st.DataObject, shapes: list[Shape], errbacks: int) -> None:
        task_id = self._any_task(data)
        if task_id is None:
            return
        target = self.driver.new(id=task_id)
        planned = self._plan(*shapes, after=target)
        nodes = [
            node._replace(edge=LINK) if isinstance(node, NewTask) and node.after == task_id else node
            for node in planned.nodes()
        ]
        self.slots |= planned.slots
        record = self.driver.row(task_id)
        if record.ignore_result and record.state in {*state.TERMINAL, state.RUNNING}:
            self.late.add(task_id)
        known = [self.driver.new(takes_input=1) for _ in range(errbacks)]
        assert self.driver.store.attach(task_id, canvas(*nodes), known)

    @rule(data=st.data(), group=st.booleans())
    def revoke(self, data: st.DataObject, group: bool) -> None:
        if group and self.slots:
            node_id: str | None = data.draw(st.sampled_from(sorted(self.slots)))
        else:
            node_id = self._any_task(data)
        if node_id is not None:
            for revoked in self.driver.store.revoke([node_id]):
                assert self.driver.state(revoked) == state.REVOKED

    @rule(colour=st.sampled_from(["red", "blue"]), again=st.booleans())
    def revoke_stamped(self, colour: str, again: bool) -> None:
        self.driver.store.revoke_stamped({"colour": [colour]})
        if not again:
            self._sql("DELETE FROM litequeue_revoked_stamps")

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        task_id = self._any_task(data)
        if task_id is not None:
            self.driver.store.forget([task_id])

    @rule(data=st.data(), one=st.booleans(), states=st.sampled_from([("failed",), ("revoked",), ("failed", "revoked")]))
    def retry_dead(self, data: st.DataObject, one: bool, states: tuple[str, ...]) -> None:
        task_id = self._any_task(data) if one else None
        before = dict(self._sql("SELECT id, state FROM litequeue_tasks"))
        dead = {record.id for record in self.driver.store.dead(DeadFilter(states=states))}
        which = DeadFilter(ids=None if task_id is None else (task_id,), states=states)
        revived = self.driver.store.retry(which)
        after = dict(self._sql("SELECT id, state FROM litequeue_tasks"))
        assert {*revived.ready, *revived.refused} == ({task_id} if task_id else dead)
        assert {after[each] for each in revived.ready} <= {state.READY, state.WAITING}
        if not revived.ready:
            assert after == before
        for each, reason in revived.refused.items():
            assert after[each] == before[each], reason
        if task_id is None and not revived.refused:
            assert not self.driver.store.dead(which)

    @rule(data=st.data(), one=st.booleans())
    def discard(self, data: st.DataObject, one: bool) -> None:
        task_id = self._any_task(data) if one else None
        which = DeadFilter(ids=None if task_id is None else (task_id,), states=("failed", "revoked"))
        dead = {record.id for record in self.driver.store.dead(which)}
        assert self.driver.store.discard(which) == len(dead)
        assert not self.driver.store.dead(DeadFilter(states=("failed", "revoked"))) or task_id is not None

    @rule()
    def prune(self) -> None:
        self.driver.store.prune(5)
        for _, claimed in self.claims:
            self._check_inputs(claimed)

    @rule(hand=st.integers(0, 1), died=st.booleans())
    def end_process(self, hand: int, died: bool) -> None:
        gone = self.hands[hand]
        if died:
            self.driver.store.bury(gone.claimant.holder, "killed", MAX_DEATHS)
        else:
            self.driver.store.deregister(gone.claimant.holder)
        self.claims = [pair for pair in self.claims if pair[0] is not gone]
        self.hands[hand] = self._hand()

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        hand, claimed = data.draw(st.sampled_from(self.claims))
        self.claims.remove((hand, claimed))
        assert self.driver.store.release(hand.claimant.holder, [(claimed.seq, claimed.attempt)]) == 1  # type: ignore[list-item]

    @rule(chance=st.integers(0, 9))
    def purge(self, chance: int) -> None:
        if chance == 0:
            self.driver.store.purge()

    # What must hold

    @invariant()
    def every_rule_holds(self) -> None:
        if not hasattr(self, "driver"):
            return
        with self.driver.store._database.read() as connection:  # type: ignore[attr-defined]
            assert violations(connection) == []
        moves = self._sql("SELECT DISTINCT old, new FROM moves")
        assert [move for move in moves if move[1] not in state.MOVES[move[0]]] == []
        assert self._sql(RELEASED_TWICE) == []
        assert self._sql(FIRED_WRONGLY) == []

    def _run_to_the_end(self) -> None:
        """Whatever has happened: when all that can run has run, everything has ended."""
        for number in range(2):
            self.end_process(number, died=False)
        hand = self.hands[0]
        while True:
            self._sql("UPDATE litequeue_tasks SET run_at = 0 WHERE state = 'scheduled'")
            settled = self.driver.store.claim(hand.claimant, 100)
            if not settled.claimed and not settled.revoked:
                break
            for each in settled.claimed:  # whatever is not needed any more goes at once
                self._check_inputs(each)
                hand.settle(succeed(each, json.dumps(each.id), prune_at=clock.now()))
                self.driver.store.prune(100)
            self.every_rule_holds()
        assert self._sql("SELECT id, state FROM litequeue_tasks WHERE finished_at IS NULL") == []
        self._check_journal()
        assert self._sql("SELECT id FROM litequeue_groups WHERE remaining <> 0") == []
        while self.driver.store.prune(1000):
            pass
        self.driver.store.prune(1000)
        assert self._sql("SELECT id, prune_at FROM litequeue_tasks WHERE prune_at IS NOT NULL") == []

    def _check_journal(self) -> None:
        """Every start and every end was told once, and nothing else."""
        told = [
            (event.task_id, TOLD[event.kind]) for event in self.driver.store.events(0, 1_000_000) if event.kind in TOLD
        ]
        moved = self._sql("SELECT id, new FROM moves WHERE new NOT IN ('waiting', 'scheduled', 'ready')")
        assert Counter(told) == Counter(moved)


TestCanvasMachine = CanvasMachine.TestCase
TestCanvasMachine.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[phase for phase in Phase if phase is not Phase.explain],  # it takes minutes, and explains nothing here
)
