"""What must be true of a path before SQLite opens it."""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress

from litequeue import exceptions

NETWORK_TYPES = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "ocfs2"}
    | {"gfs2", "davfs", "virtiofs", "vboxsf", "prl_fs", "vmhgfs", "drvfs", "afpfs", "webdav", "remote"}
)

_NO_SPACE = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})


def refuse_folder(path: str) -> None:
    """StoreForeign: `path` is a folder."""
    if os.path.isdir(path):
        raise exceptions.StoreForeign(f"{path} is a folder. Give broker= the path of a file.")


def prepare(path: str, *, private: bool, allow_network: bool, existing: bool = False) -> None:
    """Check the folder, and make the file if there is none (unless `existing`), readable by its owner alone.

    Raises StoreMissing, StoreForeign, StoreReadOnly, SecurityError or OperationalError (network file system).
    """
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise exceptions.StoreMissing(
            f"{path}: the folder {folder} does not exist. Make it, or give broker= another path."
        )
    refuse_folder(path)
    if not allow_network and (kind := network_type(folder)):
        raise exceptions.OperationalError(
            f"{path} is on a network file system ({kind}), where SQLite's WAL mode loses data. Put the file on a local"
            " disk; where only this one host uses it and its locks work, set allow_network_file_system=True."
        )
    if private:
        _refuse_world_writable(path, folder)
    _refuse_orphaned_log(path)
    if existing:
        refuse_missing(path)
        return
    try:
        # 0600 from the first moment: SQLite gives -wal and -shm the same mode. O_EXCL also means that a file which
        # somebody has open is never opened and closed here, which would drop that process's locks.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    except PermissionError as error:
        raise exceptions.StoreReadOnly(
            f"{path}: the file cannot be made ({error.strerror}). Let this user write in {folder}."
        ) from error
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise exceptions.StoreFull(f"{path}: there is no space for the file ({error.strerror}).") from error
        if error.errno == errno.EROFS:
            raise exceptions.StoreReadOnly(f"{path}: the file system is read-only.") from error
        raise exceptions.StoreMissing(f"{path}: the file cannot be made ({error.strerror}).") from error


def identity(path: str) -> tuple[int, int]:
    """What tells this file from another one under the same path; StoreMoved when there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise exceptions.StoreMoved(
            f"{path} was moved or deleted while it was open. Put it back, or restart the programs that use it."
        ) from None
    return found.st_dev, found.st_ino


def network_type(folder: str) -> str | None:
    """The type of the file system when it is one that other hosts may share, else None."""
    kind, shared = file_system_of(folder)
    return kind if shared else None


def file_system_of(folder: str) -> tuple[str, bool]:
    """The type of the file system (empty: not known), and whether other hosts may share it."""
    best, kind = "", ""
    real = os.path.realpath(folder)
    for mount, file_system in _mounts():
        inside = real == mount or real.startswith(mount.rstrip(os.sep) + os.sep)
        if inside and len(mount) >= len(best):
            best, kind = mount, file_system
    if real.startswith("\\\\"):
        return "UNC path", True
    return kind, kind in NETWORK_TYPES or kind.startswith("fuse.sshfs") or kind == "fuse.glusterfs"


def _mounts() -> list[tuple[str, str]]:
    if sys.platform.startswith("linux"):
        with suppress(OSError, IndexError), open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            return [
                (_unescape(before.split()[4]), after.split()[0])
                for before, _, after in (line.partition(" - ") for line in file)
            ]
    import psutil

    return [
        (part.mountpoint, "remote" if "remote" in part.opts.split(",") else part.fstype)
        for part in psutil.disk_partitions(all=True)
    ]


def _unescape(text: str) -> str:
    return text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


def refuse_missing(path: str) -> None:
    """StoreMissing where there is no file at `path`."""
    if not os.path.exists(path):
        raise exceptions.StoreMissing(
            f"{path}: there is no such file. The first call of a task, or a worker, makes it; or give the path of the"
            " queue that is meant."
        )


def _refuse_orphaned_log(path: str) -> None:
    """A -wal without its file would be replayed into the file that is made now."""
    if os.path.exists(path):
        return
    for name in (f"{path}-wal", f"{path}-journal"):
        if os.path.exists(name):
            raise exceptions.StoreForeign(
                f"{name} is left over from a file that was moved or deleted. Put that file back; or stop the programs"
                " that still have it open, and delete what is left of it."
            )


def _refuse_world_writable(path: str, folder: str) -> None:
    if sys.platform == "win32":
        return
    for name in (folder, path):
        with suppress(FileNotFoundError):
            if os.stat(name).st_mode & stat.S_IWOTH:
                raise exceptions.SecurityError(
                    f"{name} may be written by every user of this machine, and accept_content has pickle: any of them"
                    " could run code in your workers. Run `chmod o-w` on it, use another folder, or leave pickle out."
                )
