"""Where the file is: folder, permissions, file system, space; and what the system allows a process."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from typing import Final

from litequeue.app.broker import MEMORY
from litequeue.doctor.findings import Case, Verdict, error, listed, ok, warning
from litequeue.utils.words import size

_BESIDE: Final = ("", "-wal", "-shm", ".lock")
_LEAST_SPACE: Final = 64 << 20
_LITTLE_SPACE: Final = 512 << 20
_SYNCED: Final = (
    "dropbox",
    "onedrive",
    "google drive",
    "googledrive",
    "my drive",
    "mobile documents",  # iCloud on macOS
    "com~apple~clouddocs",
    "iclouddrive",
    "cloudstorage",
    "box sync",
    "nextcloud",
    "owncloud",
    "pcloud",
    "syncthing",
    "yandex.disk",
)
_FORGETFUL: Final = ("tmpfs", "ramfs", "overlay")
_FILES: Final = 256
_FILES_A_SLOT: Final = 16


def folder(case: Case) -> Verdict | None:
    """Whether this user may read and write the file, and in its folder."""
    if case.path == MEMORY:
        return warning(
            "The queue is in memory, of one process, and ends with it.", "Give broker= the path of a file for a worker."
        )
    if not os.path.isdir(case.folder):
        return error(f"The folder {case.folder} does not exist.", "Make it, or give broker= another path.")
    if not os.access(case.folder, os.W_OK | os.X_OK):
        return error(
            f"This user may not write in {case.folder}, where SQLite keeps its -wal and -shm files.",
            f"Let the user of the workers write there: chown or chmod {case.folder}.",
        )
    closed = [
        name
        for name in (case.path + suffix for suffix in _BESIDE)
        if os.path.exists(name) and not os.access(name, os.R_OK | os.W_OK)
    ]
    if closed:
        return error(
            f"This user may not read and write {listed(closed)}; another user has made it.",
            "Run clients and workers as one user, or give them a group and chmod g+rw the files.",
        )
    return ok(f"{case.folder} can be read and written.")


def permissions(case: Case) -> Verdict | None:
    """Who else may write the file: with pickle, that is who else may run code."""
    if sys.platform == "win32" or not os.path.exists(case.path):
        return None
    everybody = [name for name in (case.folder, case.path) if _mode(name) & stat.S_IWOTH]
    sticky = bool(_mode(case.folder) & stat.S_ISVTX)
    if sticky and not _mode(case.path) & stat.S_IWOTH:
        everybody = []  # as /tmp: others may not replace the file
    codecs = case.app.derived
    pickle = "pickle" in codecs.codec.accept or "pickle" in codecs.result_codec.accept
    if everybody and pickle:
        return error(
            f"Every user may write {listed(everybody)}, and accept_content has pickle: each of them could run code.",
            "Run chmod o-w on it, or leave pickle out of accept_content.",
        )
    if everybody:
        return warning(
            f"Every user may write {listed(everybody)}, and so enqueue tasks and change them.",
            "Run chmod o-w on it, unless that is meant.",
        )
    readable = ", and everybody may read it" if _mode(case.path) & stat.S_IROTH else ""
    return ok(f"The file has mode {stat.S_IMODE(_mode(case.path)):04o}{readable}.")


def _mode(path: str) -> int:
    return os.stat(path).st_mode


def file_system(case: Case) -> Verdict | None:
    """Whether the file system keeps what is written, and its locks count."""
    if case.path == MEMORY or not os.path.isdir(case.folder):
        return None
    from litequeue.store import file_system_of

    kind, shared = file_system_of(case.folder)
    synced = [part for part in case.folder.split(os.sep) if part.lower().startswith(_SYNCED)]
    if shared and not case.app.conf.allow_network_file_system:
        return error(
            f"{case.folder} is on a network file system ({kind}), where SQLite's WAL mode loses data.",
            "Put the file on a local disk.",
        )
    if shared:
        return warning(
            f"{case.folder} is on a network file system ({kind}).",
            "One host alone may use the file, and its locks must work; better put it on a local disk.",
        )
    if synced:
        return warning(
            f"{case.folder} seems to be synchronised with other machines ({synced[0]}), file by file.",
            "Put the file elsewhere: a copy of the file without its WAL, taken in between, is damaged.",
        )
    if kind in _FORGETFUL:
        return warning(
            f"{case.folder} is on {kind}, which is gone when the machine, or the container, is.",
            "Put the file on a disk, or a volume, if tasks are to survive that.",
        )
    if _inside(case.folder, tempfile.gettempdir()):
        return warning(
            f"{case.folder} is in the folder for temporary files, which the system cleans.",
            "Put the file elsewhere, such as /var/lib.",
        )
    return ok(f"The file is on {kind}." if kind else "The file is on a local disk.")


def _inside(folder: str, other: str) -> bool:
    folder, other = os.path.realpath(folder), os.path.realpath(other)
    return folder == other or folder.startswith(other.rstrip(os.sep) + os.sep)


def space(case: Case) -> Verdict | None:
    """Whether the disk has room for what is written next."""
    if case.path == MEMORY or not os.path.isdir(case.folder):
        return None
    free = shutil.disk_usage(case.folder).free
    text = f"{size(free)} are free on the disk."
    if free < _LEAST_SPACE:
        return error(text, "Free some: without room nothing can be enqueued, and no task can end.")
    if free < _LITTLE_SPACE:
        return warning(text, "Free some; `litequeue vacuum` gives back what the file does not need.")
    return ok(text)


def open_files(case: Case) -> Verdict | None:
    """Whether a process may open enough files for a worker."""
    if sys.platform == "win32":
        return None
    import resource

    from litequeue.utils.cores import available_cores

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    slots = case.app.conf.worker_concurrency
    slots = slots if isinstance(slots, int) else available_cores()
    needed = _FILES + _FILES_A_SLOT * slots
    if soft != resource.RLIM_INFINITY and soft < needed:
        return warning(
            f"A process may open {soft} files; a worker of {slots} slots may need {needed}.",
            f"Raise the limit: ulimit -n {max(needed, 1024)}, or LimitNOFILE= in the systemd unit.",
        )
    return ok("A process may open enough files.")
