"""The power goes off at every point of every operation: what was promised is there, nothing is half there (P1, P10).

`LITEQUEUE_CRASH_IMAGES=20000` checks more images of each story, `LITEQUEUE_CRASH_SEED=2` others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from litequeue.core import clock
from litequeue.core.records import FULL, NORMAL, Encoded
from litequeue.core.viewing import TaskFilter
from litequeue.exceptions import OperationalError
from litequeue.store.sqlite import migrations
from litequeue.store.sqlite.store import SQLiteStore

from . import canvases
from .power_loss import images
from .story import (
    Said,
    Story,
    TakeAll,
    carry_on,
    checkpoint_often,
    claimant,
    failure,
    image_folder,
    log_lines,
    new_task,
    open_store,
    register,
    retry,
    success,
    tickets,
)
from .vfs import RecordingVFS

DURABILITIES = [FULL, NORMAL]


def tell_enqueues(story: Story) -> None:
    """One at a time, many at once, with the durability of the call, refused, revoked, forgotten, purged."""
    store = story.store
    tasks = [new_task(payload=f'[["{"x" * 50 * n}"], {{}}]') for n in range(6)]
    for task in tasks[:4]:
        story.do("enqueue one", lambda task=task: store.enqueue([task]))
    story.do("enqueue many", lambda: store.enqueue([new_task(queue="other") for _ in range(20)]))
    story.do("enqueue at NORMAL", lambda: store.enqueue([tasks[4]], NORMAL), durable=False)
    story.do("enqueue at FULL", lambda: store.enqueue([tasks[5]], FULL), durable=True)
    story.do("enqueue many at NORMAL", lambda: store.enqueue([new_task() for _ in range(3)], NORMAL), durable=False)
    story.do("enqueue for later", lambda: store.enqueue([new_task(run_at=clock.now() + 3600)]))
    story.do("revoke", lambda: store.revoke([tasks[0].id, tasks[1].id]))
    story.close()
    story.do("enqueue a large one", lambda: store.enqueue([new_task(payload=f'[["{"y" * 9000}"], {{}}]')]))
    story.do("forget", lambda: store.forget([tasks[0].id, tasks[2].id]))
    story.do("update_state", lambda: store.update_state(tasks[3].id, "PROGRESS", Encoded("{}", "json")), durable=False)
    story.do("purge", lambda: store.purge(["other"]))
    story.do("enqueue after the purge", lambda: store.enqueue([new_task()]))
    story.end()


def tell_a_life(story: Story) -> None:
    """Claims, ends, retries, releases, deaths, at-most-once tasks, unknown names, expiry and pruning."""
    store, full = story.store, story.durability == FULL
    story.do("enqueue", lambda: store.enqueue([new_task() for _ in range(12)]))
    story.do("enqueue once", lambda: store.enqueue([new_task("once"), new_task("unknown"), new_task("once")]))
    story.do("enqueue expired", lambda: store.enqueue([new_task(expires_at=clock.now() - 1)]))
    supervisor = story.do("register", lambda: register(store), durable=False)
    child = story.do("register child", lambda: register(store, role="child", parent=supervisor), durable=False)
    me = claimant(child)
    first = story.do("claim", lambda: store.claim(me, 5), durable=False).claimed
    story.do("heartbeat", lambda: store.heartbeat([supervisor, child]), durable=False)
    second = story.do(
        "settle",
        lambda: store.settle(me, [success(first[0]), failure(first[1]), retry(first[2]), retry(first[3], 60)], 3),
    ).claimed
    story.do("release", lambda: store.release(child, tickets(*second, first[4])), durable=False)
    third = story.do("claim again", lambda: store.claim(me, 4), durable=False).claimed
    story.do("settle without a claim", lambda: store.settle(me, [success(third[0], '"' + "z" * 6000 + '"')]))
    story.do("bury", lambda: store.bury(child, "killed", 3))
    other = claimant(
        story.do("register another", lambda: register(store, role="child", parent=supervisor), durable=False)
    )
    claimed = story.do("claim what is left", lambda: store.claim(other, 50), durable=full).claimed
    assert {row.name for row in claimed} == {"add", "once"}, "the batch ends with the at-most-once task"
    claimed = story.do("settle and claim", lambda: store.settle(other, [success(row) for row in claimed], 50)).claimed
    story.do("deregister", lambda: store.deregister(other.holder))
    story.do("late settle", lambda: store.settle(other, [success(row) for row in claimed]))
    story.do("prune", lambda: store.prune(100), durable=False)
    story.end()


def tell_canvases(story: Story) -> None:
    """Canvases written, attached to, ended in every way, replaced, joined, revoked, found by stamps, and pruned."""
    store, me = story.store, claimant(1, queues=("celery", "other"))
    story.do("register", lambda: register(store), durable=False)
    story.do("enqueue a canvas", lambda: store.enqueue_canvas(canvases.canvas(*canvases.SUITE)))
    late = canvases.canvas(*canvases.in_queue("late", *canvases.LATE))
    story.do("enqueue a canvas at NORMAL", lambda: store.enqueue_canvas(late, NORMAL), durable=False)
    held = {row.id: row for row in story.do("claim", lambda: store.claim(me, 50), durable=False).claimed}
    ends = [canvases.succeeds(held.pop(name)) for name in ("m1", "i1")]
    held |= {row.id: row for row in story.do("settle first members", lambda: store.settle(me, ends, 9)).claimed}
    story.do("attach to what runs", lambda: canvases.VERBS["attach to a task"](store))
    ends = [canvases.ENDS.get(name, canvases.succeeds)(held.pop(name)) for name in canvases.HELD]
    held |= {row.id: row for row in story.do("settle each kind", lambda: store.settle(me, ends, 3)).claimed}
    story.do("release the rest", lambda: store.release(1, tickets(*held.values())), durable=False)
    story.do("revoke", lambda: store.revoke(["r"]))
    story.do("revoke by a stamp", lambda: store.revoke_stamped({"colour": ["red"]}))
    story.do("enqueue under that stamp", lambda: store.enqueue_canvas(canvases.canvas(*canvases.FRESH)))
    story.do("attach to what has ended", lambda: store.attach("m1", canvases.canvas(canvases.task("z", "m1", "link"))))
    story.do("prune what expired", lambda: store.prune(100), durable=False)
    claimed = story.do("claim what is left", lambda: store.claim(me, 50), durable=False).claimed
    story.do("bury", lambda: store.bury(1, "killed", 1))
    story.do("late settle", lambda: store.settle(me, [canvases.succeeds(row) for row in claimed]))
    story.do("forget", lambda: store.forget(["m1", "c1", "c2"]))
    story.end()


def tell_what_is_seen(story: Story) -> None:
    """A life with events on: moves, what somebody publishes, kept log lines, counts, and the file written anew."""
    store = story.store
    supervisor = story.do("register", lambda: register(store), durable=False)
    child = story.do("register child", lambda: register(store, role="child", parent=supervisor), durable=False)
    story.do("set_events", lambda: store.set_events(supervisor, True), durable=False)
    story.do("enqueue", lambda: store.enqueue([new_task(payload=f'[["{"x" * 900}"], {{}}]') for _ in range(12)]))
    me = claimant(child)
    held = story.do("claim", lambda: store.claim(me, 5), durable=False).claimed
    story.do("publish", lambda: store.publish([("my-event", {"n": 1}), ("my-event", {"n": 2})]), durable=False)
    story.do("keep_log", lambda: store.keep_log(*tickets(held[0]), log_lines(3), 4), durable=False)
    story.do("set_slots", lambda: store.set_slots(supervisor, 5), durable=False)
    store._counted_at = 0.0  # so that the next transaction writes the counts
    ends = [success(held[0], log=Said(log_lines(3))), failure(held[1]), retry(held[2]), retry(held[3], 60)]
    held = story.do("settle and claim", lambda: store.settle(me, ends, 3)).claimed
    story.do("keep_log again", lambda: store.keep_log(*tickets(held[0]), log_lines(9), 4), durable=False)
    story.do("revoke", lambda: store.revoke([row.id for row in store.find(TaskFilter(states=("ready",)), 2).tasks]))
    story.close()
    story.do("settle", lambda: store.settle(me, [success(row, log=Said(log_lines(9))) for row in held[:2]]))
    story.do("compact", store.compact, durable=False)
    story.do("release", lambda: store.release(child, tickets(held[2])), durable=False)
    story.do("claim again", lambda: store.claim(me, 4), durable=False)
    story.do("bury", lambda: store.bury(child, "killed", 3))
    story.do("no events", lambda: store.set_events(supervisor, False), durable=False)
    story.do("purge", lambda: store.purge(["celery"]))
    story.do("prune", lambda: store.prune(100), durable=False)
    story.end()


@pytest.mark.parametrize(
    ("tell", "durability", "checkpoints"),
    [
        *((tell, d, often) for tell in (tell_enqueues, tell_a_life) for d in DURABILITIES for often in ("few", "many")),
        (tell_canvases, FULL, "many"),
        (tell_canvases, NORMAL, "few"),
        (tell_what_is_seen, FULL, "many"),
        (tell_what_is_seen, NORMAL, "few"),
    ],
)
def test_every_image_after_a_power_cut_keeps_what_was_promised(
    vfs, tmp_path, monkeypatch, durability, tell, checkpoints
):
    """At FULL nothing acknowledged is lost; at NORMAL what is left is what the file was at some moment."""
    if checkpoints == "many":
        checkpoint_often(monkeypatch, 4)
    story = Story(vfs, tmp_path / "queue.db", durability)
    tell(story)
    assert story.check_images(then=carry_on) > 200


@pytest.mark.parametrize("journal", ["delete", "truncate", "persist", "wal"])
def test_a_queue_in_another_programs_file_keeps_what_was_promised_too(vfs, tmp_path, journal):
    """The file keeps its owner's journal mode, and FULL means the same in it."""
    path = tmp_path / "theirs.db"
    owner = apsw.Connection(str(path), vfs=vfs.name)
    for pragma in (f"journal_mode={journal}", "synchronous=extra"):
        owner.execute(f"PRAGMA {pragma}").fetchall()
    owner.execute("CREATE TABLE theirs(n)")
    owner.close()
    story = Story(vfs, path, FULL)
    with story.store._database.read() as connection:
        assert connection.execute("PRAGMA journal_mode").get == ("wal" if journal == "wal" else "delete")
    begun = len(vfs.log)
    tell_enqueues(story)
    assert story.check_images(then=carry_on, since=begun) > 100


def test_the_check_bites(vfs, tmp_path):
    """A store that says FULL but commits at NORMAL is found out."""
    story = Story(vfs, tmp_path / "queue.db", NORMAL)
    story.durability = FULL
    tell_enqueues(story)
    with pytest.raises(AssertionError, match="but is as after number"):
        story.check_images()


def test_a_disk_that_lies_is_not_survived(tmp_path, monkeypatch):
    """What guarantees.md does not promise: a disk that reports a sync which it has not done."""
    vfs = RecordingVFS(lying_sync=True)
    checkpoint_often(monkeypatch)
    story = Story(vfs, tmp_path / "queue.db", FULL)
    tell_enqueues(story)
    with pytest.raises((AssertionError, OperationalError)):
        story.check_images()
    vfs.close()


# A second schema version, as the next release would bring one


def _add_column(connection: apsw.Connection) -> None:
    connection.execute("ALTER TABLE litequeue_tasks ADD COLUMN colour TEXT")
    connection.execute("UPDATE litequeue_tasks SET colour = 'blue'")
    connection.execute("CREATE INDEX litequeue_tasks_colour ON litequeue_tasks (colour)")
    connection.execute("CREATE TABLE litequeue_colours (name TEXT PRIMARY KEY) STRICT")


def use_next_version(monkeypatch: Any) -> int:
    """Make this process know one more schema version; returns its number."""
    version = migrations.VERSION + 1
    monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, migrations.Step(version, _add_column)))
    monkeypatch.setattr(migrations, "VERSION", version)
    return version


def schema_of(path: str) -> tuple[int, bool, int]:
    """(schema version, whether the new column is there, how many rows) of a file."""
    db = apsw.Connection(path)
    try:
        assert db.execute("PRAGMA integrity_check").get == "ok"
        version = db.execute("SELECT value FROM litequeue_meta WHERE key = 'schema_version'").get
        columns = [name for (name,) in db.execute("SELECT name FROM pragma_table_info('litequeue_tasks')")]
        return version, "colour" in columns, db.execute("SELECT count(*) FROM litequeue_tasks").get
    finally:
        db.close()


@pytest.mark.parametrize("checkpoints", ["few", "many"])
def test_a_migration_is_there_whole_or_not_at_all(vfs, tmp_path, monkeypatch, checkpoints):
    if checkpoints == "many":
        checkpoint_often(monkeypatch, 4)
    path = tmp_path / "queue.db"
    old = open_store(path, FULL, vfs)
    old.enqueue([new_task(payload=f'[["{"x" * 300}"], {{}}]') for _ in range(40)])
    old.close()
    before = migrations.VERSION
    version = use_next_version(monkeypatch)
    begun = len(vfs.log)
    store = open_store(path, FULL, vfs)
    store.processes()
    vfs.mark("migrated")
    store.close()
    seen = set()
    with image_folder() as folder:
        for image in images(vfs.log):
            if image.last < begun:
                continue
            image.write(folder)
            found = schema_of(str(folder / path.name))
            assert found in {(before, False, 40), (version, True, 40)}, image
            if image.marks(vfs.log)[1]:
                assert found[0] == version, "an acknowledged migration was lost"
            seen.add(found[0])
            again = open_store(folder / path.name)
            again.processes()
            again.close()
            assert schema_of(str(folder / path.name)) == (version, True, 40)
    assert seen == {before, version}


def test_a_new_file_is_a_queue_or_nothing(vfs, tmp_path):
    """The power goes off while the file is made: whatever is left opens as an empty queue."""
    path = tmp_path / "queue.db"
    store = open_store(path, FULL, vfs)
    store.processes()
    store.close()
    with image_folder() as folder:
        count = 0
        for image in images(vfs.log):
            image.write(folder)
            again: SQLiteStore = open_store(folder / path.name)
            assert again.counts() == {}
            assert again.connection_info()["journal_mode"] == "wal"
            me = claimant(register(again), TakeAll())
            again.enqueue([new_task()])
            assert len(again.claim(me, 1).claimed) == 1
            again.close()
            count += 1
    assert count > 50
    assert Path(path).exists()
