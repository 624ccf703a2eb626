"""Every image that a power cut can leave, from the log of a `RecordingVFS`.

What is assumed of the disk and the file system is the weakest that SQLite is built for (sqlite.org/atomiccommit.html):

* What was written to a file before a sync of that file returned is on the disk, its size included.
* Of writes and truncations after the last sync, any subset is there: none, all, a prefix, or any choice, across files
  and without regard to order. A truncation that is skipped leaves the old bytes; a write that is skipped below a later
  one leaves zeros.
* A write may be torn: any choice of its 512-byte sectors is there, and one sector may end in the middle. Bytes outside
  the range of a write are never harmed (SQLite calls this powersafe overwrite and its unix VFS assumes it).
* A folder's entries (files created, files deleted) reach the disk in the order in which they were made, and are only
  certain after a sync of the folder: the first sync of a new `-wal` or `-journal`, or a deletion that asks for it.
  A sync of a file does not make its name durable. A deleted name may come back with what was durable in it.

Not assumed: that syncs lie. A disk that reports a sync it has not done can lose anything.

Cost: planning is a walk over the log that keeps choices (tuples of numbers), not bytes; an image is built when it is
asked for, from the durable bytes of that moment.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .vfs import Event

SECTOR = 512

IMAGES = int(os.environ.get("LITEQUEUE_CRASH_IMAGES", "800"))
"""How many images one scenario checks at most. More on demand: `LITEQUEUE_CRASH_IMAGES=20000`."""
SEED = int(os.environ.get("LITEQUEUE_CRASH_SEED", "1"))
"""The seed of the random choices: `LITEQUEUE_CRASH_SEED=2` makes others. A failure prints it."""

_ROUNDS = 100
"""How often the random choices are made again, at most, when a walk over the log gives fewer images than asked for."""

Piece = tuple[int, tuple[tuple[int, int], ...] | None]
"""An unsynced event that is on the disk: its index in the log, and the byte ranges of its data that are (None: all)."""


@dataclass
class _Inode:
    """A file's contents, apart from its name."""

    durable: bytearray = field(default_factory=bytearray)
    version: int = 0
    """Changes when `durable` does."""
    pending: list[int] = field(default_factory=list)
    """Indexes into the log of what was not synced yet."""


@dataclass
class _Disk:
    """What is certain, and what is not, at one moment of the log."""

    inodes: list[_Inode] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    """What the process sees: name -> inode."""
    durable_names: dict[str, int] = field(default_factory=dict)
    pending_names: list[tuple[str, int | None]] = field(default_factory=list)

    def apply(self, index: int, event: Event) -> None:
        """Move on by one event."""
        kind, path = event.kind, event.path
        if kind in {"write", "truncate"}:
            self.inodes[self.names[path]].pending.append(index)
        elif kind == "create":
            self.names[path] = len(self.inodes)
            self.pending_names.append((path, len(self.inodes)))
            self.inodes.append(_Inode())
        elif kind == "exists":
            self.names[path] = self.durable_names[path] = len(self.inodes)
            self.inodes.append(_Inode(bytearray(event.data)))
        elif kind == "delete":
            self.names.pop(path, None)
            self.pending_names.append((path, None))
        elif kind == "dirsync":
            self.durable_names = self.entries(len(self.pending_names))
            self.pending_names = []

    def sync(self, path: str, log: Sequence[Event]) -> None:
        """Make durable what was written to `path`."""
        inode = self.inodes[self.names[path]]
        if inode.pending:
            for index in inode.pending:
                _write(inode.durable, log[index], None)
            inode.pending = []
            inode.version += 1

    def entries(self, count: int) -> dict[str, int]:
        """The folder when the first `count` pending changes of it reached the disk."""
        names = dict(self.durable_names)
        for name, inode in self.pending_names[:count]:
            if inode is None:
                names.pop(name, None)
            else:
                names[name] = inode
        return names

    def pending(self, entries: dict[str, int]) -> list[int]:
        """The unsynced events of the files in `entries`, in the order of the log."""
        return sorted(index for inode in set(entries.values()) for index in self.inodes[inode].pending)


def _write(content: bytearray, event: Event, ranges: tuple[tuple[int, int], ...] | None) -> None:
    """Apply one write or truncation, or the parts `ranges` of a write, to `content`."""
    if event.kind == "truncate":
        size = event.offset
        if size < len(content):
            del content[size:]
        else:
            content.extend(bytes(size - len(content)))
        return
    for start, end in ((0, len(event.data)),) if ranges is None else ranges:
        begin, stop = event.offset + start, event.offset + end
        if len(content) < begin:
            content.extend(bytes(begin - len(content)))
        content[begin:stop] = event.data[start:end]


@dataclass(frozen=True)
class Image:
    """One legal state of the disk after a power cut."""

    first: int
    """The earliest length of the log at which a cut leaves this image: nothing begun later may be in it."""
    last: int
    """The latest: everything acknowledged up to there must be in it."""
    kind: str
    files: dict[str, bytes]

    def write(self, folder: Path) -> dict[str, str]:
        """Write the files into `folder` (emptied first) and return {old path: new path}."""
        folder.mkdir(exist_ok=True)
        for entry in os.scandir(folder):
            os.unlink(entry.path)
        placed = {}
        for path, data in self.files.items():
            target = os.path.join(folder, os.path.basename(path))
            fd = os.open(target, os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(fd, data)
            os.close(fd)
            placed[path] = target
        return placed

    def marks(self, log: Sequence[Event]) -> tuple[list[Any], list[Any]]:
        """(what was marked up to `first`, what was marked up to `last`)."""
        upto = lambda end: [event.mark for event in log[:end] if event.kind == "mark"]  # noqa: E731
        return upto(self.first), upto(self.last)


_Key = tuple[tuple[tuple[str, int, int], ...], tuple[Piece, ...]]


def images(log: Sequence[Event], *, limit: int = IMAGES, seed: int = SEED) -> Iterator[Image]:
    """Yield up to `limit` different legal images, in the order of the cuts; the same for the same log and seed.

    The plain ones (nothing unsynced is there; everything is) come first in the choice, then whole writes, then torn.
    """
    plan = _plan(log, random.Random(seed))
    for further in range(1, _ROUNDS):
        if len(plan) >= limit:
            break
        plan = {**_plan(log, random.Random(f"{seed} {further}")), **plan}
    chosen = _choose(plan, limit, random.Random(seed))
    disk, done = _Disk(), 0
    for first, last, kind, (entries, pieces) in sorted(chosen, key=lambda item: item[0]):
        while done < first:
            _step(disk, log, done)
            done += 1
        yield Image(first, last, kind, _build(disk, log, entries, pieces))


def _step(disk: _Disk, log: Sequence[Event], index: int) -> None:
    event = log[index]
    if event.kind == "sync":
        disk.sync(event.path, log)
    elif event.kind != "mark":
        disk.apply(index, event)


def _plan(log: Sequence[Event], rng: random.Random) -> dict[_Key, tuple[int, int, str]]:
    """Walk the log; for every cut point choose what may be on the disk. {choice: (first cut, last cut, kind)}"""
    disk = _Disk()
    plan: dict[_Key, tuple[int, str]] = {}
    until: dict[Any, int] = {}
    for index in range(len(log)):
        _step(disk, log, index)
        if index + 1 < len(log) and log[index + 1].kind == "mark":
            continue  # A mark does not touch the disk: the cut after it asks for more of the same image.
        cut = index + 1
        for count in range(len(disk.pending_names) + 1):
            entries = disk.entries(count)
            if not entries:
                continue
            where = tuple(sorted((name, inode, disk.inodes[inode].version) for name, inode in entries.items()))
            until[where] = cut
            for kind, pieces in _choices(log, disk.pending(entries), rng):
                plan.setdefault((where, pieces), (cut, kind))
    # What was unsynced at the first cut still is while nothing more of these files became durable.
    return {key: (first, until[key[0]], kind) for key, (first, kind) in plan.items()}


def _choices(log: Sequence[Event], pending: list[int], rng: random.Random) -> Iterator[tuple[str, tuple[Piece, ...]]]:
    """What of the unsynced events `pending` may be on the disk."""
    whole: list[Piece] = [(index, None) for index in pending]
    yield "none", ()
    if not whole:
        return
    yield "all", tuple(whole)
    count = len(whole)
    if count <= 3:
        for bits in range(1, (1 << count) - 1):
            yield "subset", tuple(piece for at, piece in enumerate(whole) if bits >> at & 1)
    else:
        # Prefixes of every length appear over the cuts; here a random one, and random subsets, thin and thick.
        yield "prefix", tuple(whole[: rng.randrange(1, count)])
        for share in (0.2, 0.5, 0.8):
            yield "subset", tuple(piece for piece in whole if rng.random() < share)
        yield "subset", tuple(whole[1:])
    kept = whole[:-1] if rng.random() < 0.5 else [piece for piece in whole[:-1] if rng.random() < 0.5]
    yield "torn", (*kept, _tear(log, whole[-1], rng))
    yield "torn", tuple(_tear(log, piece, rng) for piece in whole if rng.random() < 0.5)


def _tear(log: Sequence[Event], piece: Piece, rng: random.Random) -> Piece:
    """Some of the sectors of a write; a truncation is whole or not at all."""
    event = log[piece[0]]
    size = len(event.data)
    if event.kind != "write" or size < 2:
        return piece
    edges = [0, *range(SECTOR - event.offset % SECTOR, size, SECTOR), size]
    sectors = list(itertools.pairwise(edges))
    style = rng.random()
    if style < 0.4:  # in order, up to a sector
        taken = sectors[: rng.randrange(len(sectors))]
    elif style < 0.6:  # backwards
        taken = sectors[rng.randrange(1, len(sectors) + 1) :]
    else:
        taken = [sector for sector in sectors if rng.random() < 0.5]
    if rng.random() < 0.3:  # and half of one more
        start, end = rng.choice(sectors)
        taken = sorted({*taken, (start, rng.randrange(start, end))})
    return piece[0], tuple(taken)


def _choose(plan: dict[_Key, tuple[int, int, str]], limit: int, rng: random.Random) -> list[tuple[int, int, str, _Key]]:
    """At most `limit` of the plan: the plain images first, the rest by lot."""
    rows = [(first, last, kind, key) for key, (first, last, kind) in plan.items()]
    if len(rows) <= limit:
        return rows
    plain = [row for row in rows if row[2] in {"none", "all"}]
    other = [row for row in rows if row[2] not in {"none", "all"}]
    if len(plain) > limit // 2:
        plain = rng.sample(plain, limit // 2)
    return plain + rng.sample(other, min(len(other), limit - len(plain)))


def _build(disk: _Disk, log: Sequence[Event], entries: Any, pieces: tuple[Piece, ...]) -> dict[str, bytes]:
    """The files of one image; `disk` stands at a cut where the image's durable part holds."""
    files = {name: bytearray(disk.inodes[inode].durable) for name, inode, _ in entries}
    for index, ranges in pieces:
        event = log[index]
        _write(files[event.path], event, ranges)
    return {name: bytes(content) for name, content in files.items()}
