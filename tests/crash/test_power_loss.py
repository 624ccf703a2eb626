"""The power-cut simulator bites: it finds the losses that SQLite's settings are known to allow, and no others."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from .power_loss import Image, images
from .vfs import Fault, RecordingVFS, sweep

COMMITS = 12


def run_toy(vfs: RecordingVFS, path: Path, journal: str, synchronous: str) -> None:
    """Commit numbered rows one after the other, marking each as it is acknowledged; small cache, so pages spill."""
    db = apsw.Connection(str(path), vfs=vfs.name)
    for pragma in ("page_size=1024", f"journal_mode={journal}", f"synchronous={synchronous}", "wal_autocheckpoint=6"):
        db.execute(f"pragma {pragma}").fetchall()
    db.execute("create table t(n integer primary key, pad text); create index i on t(pad)")
    vfs.mark(0)
    for n in range(1, COMMITS + 1):
        db.execute("begin immediate")
        db.execute("insert into t values(?1, ?2)", (n, "x" * 700 + str(n)))
        db.execute("update t set pad = ?2 where n % 4 = ?1 % 4", (n, "y" * 700 + str(n)))
        db.execute("commit")
        vfs.mark(n)
    db.close()


def look(image: Image, vfs: RecordingVFS, folder: Path) -> tuple[str, int]:
    """('ok' | 'corrupt' | 'lost' | 'torn', rows lost) of one image."""
    placed = image.write(folder)
    acked = [mark for mark in image.marks(vfs.log)[1]]
    if not acked:
        return "ok", 0
    path = next((new for old, new in placed.items() if old.endswith(".db")), None)
    if path is None:
        return "lost", len(acked)
    db = apsw.Connection(path)
    try:
        if db.execute("pragma integrity_check").get != "ok":
            return "corrupt", 0
        if not db.table_exists(None, "t"):
            return "lost", len(acked)
        rows = [n for (n,) in db.execute("select n from t order by n")]
    except apsw.Error:
        return "corrupt", 0
    finally:
        db.close()
    if rows != list(range(1, len(rows) + 1)):
        return "torn", 0
    return ("lost", acked[-1] - len(rows)) if len(rows) < acked[-1] else ("ok", 0)


def verdicts(vfs: RecordingVFS, tmp_path: Path, limit: int) -> dict[str, int]:
    """How many images there are of each kind."""
    found: dict[str, int] = {}
    for image in images(vfs.log, limit=limit):
        verdict, _ = look(image, vfs, tmp_path / "image")
        found[verdict] = found.get(verdict, 0) + 1
    return found


@pytest.mark.parametrize("journal", ["wal", "persist", "truncate"])
def test_full_never_loses_an_acknowledged_commit(vfs, tmp_path, journal):
    run_toy(vfs, tmp_path / "toy.db", journal, "full")
    assert set(verdicts(vfs, tmp_path, 500)) == {"ok"}


def test_normal_in_wal_loses_acknowledged_commits_but_is_never_corrupt(vfs, tmp_path):
    run_toy(vfs, tmp_path / "toy.db", "wal", "normal")
    found = verdicts(vfs, tmp_path, 400)
    assert set(found) == {"ok", "lost"}
    assert found["lost"] > 20


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_off_gives_corrupt_images(vfs, tmp_path, journal):
    run_toy(vfs, tmp_path / "toy.db", journal, "off")
    assert verdicts(vfs, tmp_path, 300).get("corrupt", 0) > 5


def test_a_lying_disk_defeats_full(tmp_path):
    vfs = RecordingVFS(lying_sync=True)
    run_toy(vfs, tmp_path / "toy.db", "wal", "full")
    found = verdicts(vfs, tmp_path, 300)
    assert found.get("lost", 0) + found.get("corrupt", 0) > 20
    vfs.close()


def test_a_deleted_journal_may_come_back(vfs, tmp_path):
    """In delete mode FULL does not sync the folder, so the last commit may be rolled back: SQLite documents it."""
    run_toy(vfs, tmp_path / "toy.db", "delete", "full")
    found = verdicts(vfs, tmp_path, 300)
    assert set(found) == {"ok", "lost"}


def test_images_are_the_same_for_the_same_seed(vfs, tmp_path):
    run_toy(vfs, tmp_path / "toy.db", "wal", "normal")
    one, two, other = ([image.files for image in images(vfs.log, limit=60, seed=seed)] for seed in (1, 1, 2))
    assert one == two
    assert one != other


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ("read", "ioerr"),
        ("write", "ioerr"),
        ("write", "full"),
        ("write", "short"),
        ("sync", "ioerr"),
        ("truncate", "ioerr"),
        ("delete", "ioerr"),
        ("open", "cantopen"),
        ("lock", "busy"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_each_call_fails_once_and_sqlite_keeps_what_it_acknowledged(vfs, tmp_path, operation, error):
    runs = iter(range(1000))

    def run(fault: Fault) -> None:
        path = tmp_path / f"{next(runs)}.db"
        vfs.log.clear()
        try:
            with vfs.failing(fault):
                run_toy(vfs, path, "wal", "full")
        except apsw.Error:
            assert fault.fired
        acked = [event.mark for event in vfs.log if event.kind == "mark"]
        if acked:
            db = apsw.Connection(str(path))
            assert db.execute("pragma integrity_check").get == "ok"
            assert db.execute("select count(*) from t").get >= acked[-1]
            db.close()

    assert sweep(run, operation, error=error) > 0
