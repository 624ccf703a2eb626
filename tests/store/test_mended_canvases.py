"""Random canvases that fail and are revoked, and are retried until all of it has succeeded."""

from __future__ import annotations

import hashlib
import json
import os
import random
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from litequeue.core import state
from litequeue.core.steering import DeadFilter, Revived
from litequeue.core.ties import ERRBACK
from litequeue.store import open_store
from litequeue.store.contract import StoreOptions
from tests.store.conftest import Driver, plain
from tests.store.test_canvas_model import Planned, Shape

EXAMPLES = int(os.environ.get("LITEQUEUE_MODEL_EXAMPLES", "100"))
"""How many random canvases are tried."""
BOTH = (state.FAILED, state.REVOKED)

KINDS = ("task", "task", "task", "chain", "group", "chord", "chord")


def shapes(rng: random.Random, depth: int) -> Shape:
    """A random canvas; each of its tasks keeps its value."""
    kind = rng.choice(KINDS) if depth else "task"
    if kind == "task":
        options: list[tuple[str, Any]] = [("errbacks", rng.randint(1, 2))] if rng.random() < 0.2 else []
        options += [("links", rng.randint(1, 2))] if rng.random() < 0.2 else []
        options += [("immutable", 1)] if rng.random() < 0.15 else []
        return Shape("task", (), tuple(options))
    parts = tuple(shapes(rng, depth - 1) for _ in range(rng.randint(1, 4)))
    if kind == "chord":
        return Shape(
            "chord", (*parts, shapes(rng, rng.choice([0, 0, depth - 1]))), (("tolerant", rng.choice([0, 0, 1])),)
        )
    return Shape(kind, parts)


@dataclass
class Life:
    """A canvas, as it is run by one hand."""

    driver: Driver
    shape: Shape
    labels: dict[str, int] = field(default_factory=dict)
    """The place of each task in the canvas: the same in every life of one shape."""
    values: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        planned = Planned(self.driver)
        planned.add(self.shape, None, None)
        self.tolerant = {group.id for group in planned.groups if group.tolerant}
        self.labels = {task.id: place for place, task in enumerate(planned.tasks)}
        self.hand = self.driver.hand()
        self.driver.write(*planned.nodes())

    def run(self, rng: random.Random | None = None, failing: float = 0.0, steps: int = 10**6) -> None:
        """End up to so many tasks, in any order; a part of them badly."""
        for _ in range(steps):
            self.hand.claim()
            if not self.hand.held:
                return
            held = sorted(self.hand.held, key=lambda each: self.labels.get(each, -1))
            task_id = held[0] if rng is None else rng.choice(held)
            if rng is not None and rng.random() < failing:
                self.hand.fail(task_id)
                continue
            claimed = self.hand.held[task_id]
            inputs = self.driver.store.inputs(claimed) if claimed.takes_input else None
            given = None if inputs is None or claimed.edge == ERRBACK else plain(inputs.value)
            place = self.labels.get(task_id)
            value = hashlib.sha1(json.dumps([place, given]).encode()).hexdigest()
            if place is not None:
                self.values[place] = value
            self.hand.succeed(task_id, value=json.dumps(value))

    def dead(self) -> set[str]:
        return {record.id for record in self.driver.store.dead(DeadFilter(states=BOTH))}


def memory() -> Driver:
    return Driver(open_store(":memory:", StoreOptions(failure_retention=None)))


@settings(
    max_examples=EXAMPLES * 3,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
@given(seed=st.integers(0, 10**9))
@example(seed=588131)
@example(seed=2002937)
@example(seed=2004529)
def test_a_canvas_that_was_mended_gives_what_one_gives_that_never_failed(seed: int) -> None:
    """Tasks fail and are revoked at random, are retried at random, alone or all at once, in the middle and at the end;
    every rule holds at every step."""
    rng = random.Random(seed)
    shape = shapes(rng, 4)
    well, ill = Life(memory(), shape), Life(memory(), shape)
    well.run()
    tolerant = bool(ill.tolerant)
    for _ in range(rng.randint(1, 4)):
        ill.run(rng, failing=rng.choice([0.1, 0.4, 0.8]), steps=rng.randint(1, 20))
        if rng.random() < 0.4:
            ill.driver.store.revoke(rng.sample(sorted(ill.labels), min(2, len(ill.labels))))
            ill.driver.check()
        if rng.random() < 0.7:
            dead = sorted(ill.dead())
            some = tuple(rng.sample(dead, rng.randint(0, len(dead))))
            revived = ill.driver.store.retry(DeadFilter(ids=some, states=BOTH))
            assert {*revived.ready, *revived.refused} == set(some)
            ill.driver.check()
    ill.run(rng, failing=0.3)
    ill.run()
    while dead := ill.dead():
        revived = ill.driver.store.retry(DeadFilter(states=BOTH))
        assert revived.refused == {}
        assert set(revived.ready) == dead
        ill.driver.check()
        ill.run()
    states = ill.driver.store.states(list(ill.labels))
    assert set(states.values()) == {state.SUCCEEDED}
    if not tolerant:  # else a body may have run with the exceptions of members that were retried after it
        assert ill.values == well.values
    well.driver.store.close()
    ill.driver.store.close()


def test_a_task_comes_back_with_the_member_that_what_follows_it_waits_for():
    """Two are revoked at once; the body waits for the group of the one, and ended because of the other."""
    task = Shape("task")
    life = Life(memory(), Shape("chain", (task, Shape("chord", (task, task), (("tolerant", 0),)))))
    first, member, body = sorted(life.labels, key=life.labels.__getitem__)
    store = life.driver.store
    store.revoke([first, member])

    alone = store.retry(DeadFilter(ids=(first,), states=BOTH))
    together = store.retry(DeadFilter(states=BOTH))

    assert alone.ready == ()
    assert alone.refused[first].endswith(f"ended badly too: retry it together with {member}")
    assert together == Revived(ready=(first, member), refused={})
    life.driver.check()
    life.run()
    assert set(store.states([first, member, body]).values()) == {state.SUCCEEDED}
    store.close()


def test_a_revoked_body_comes_back_with_the_group_that_failed_before_it():
    """It is in one more group, so it is looked at as soon as another failure of that is opened; and what it waits for
    still stands as failed then."""
    task, strict = Shape("task"), (("tolerant", 0),)
    bodies = Shape("chord", (task, Shape("group", (task, Shape("group", (task,))))), strict)
    life = Life(memory(), Shape("chord", (task, bodies, task), strict))
    first, member, other, revoked, last = sorted(life.labels, key=life.labels.__getitem__)
    life.driver.store.revoke([revoked])
    life.hand.claim()
    life.hand.fail(first)
    life.hand.fail(member)
    states = life.driver.store.states(list(life.labels))
    assert states[revoked] == state.REVOKED
    assert {states[each] for each in (first, member, other, last)} == {state.FAILED}

    revived = life.driver.store.retry(DeadFilter(states=BOTH))

    assert revived == Revived(ready=(first, member, revoked), refused={})
    life.driver.check()
    life.run()
    assert set(life.driver.store.states(list(life.labels)).values()) == {state.SUCCEEDED}
    life.driver.store.close()
