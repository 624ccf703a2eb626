"""What somebody who is to help must know."""

from __future__ import annotations

import platform
import pprint
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from litequeue.core import clock

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue

_LIBRARIES: Final = ("apsw", "click", "filelock", "psutil")


def bugreport(app: LiteQueue) -> str:
    """Versions, the file, the settings that differ from their defaults, and the workers; passwords hidden."""
    return as_text(facts(app))


def facts(app: LiteQueue) -> dict[str, Any]:
    """The same as a dict: `versions`, `platform`, `app`, `file`, `workers`, `settings`."""
    from litequeue import __version__

    settings = app.conf.table()
    if settings["deprecated_settings"] is None:
        del settings["deprecated_settings"]
    return {
        "versions": {"litequeue": __version__, "python": platform.python_version(), **_libraries()},
        "platform": {
            "system": platform.platform(),
            "machine": platform.machine(),
            "implementation": platform.python_implementation(),
            "start_method": app.conf.worker_pool_start_method,
        },
        "app": app.main or "__main__",
        **_of_the_file(app),
        "settings": settings,
    }


def _libraries() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _of_the_file(app: LiteQueue) -> dict[str, Any]:
    """The file, and the workers that are registered in it; or why it cannot be opened."""
    try:
        info, processes = dict(app.store.connection_info()), app.store.processes()
    except Exception as exc:
        return {"file": {"error": f"cannot be opened: {' '.join(str(exc).split())}"}, "workers": []}
    workers = [
        {
            "node": record.worker,
            "pid": record.identity.pid,
            "pool": record.info.get("pool"),
            "concurrency": record.info.get("concurrency"),
            "queues": list(record.queues),
            "started_at": clock.to_datetime(record.started_at).isoformat(),
        }
        for record in processes
        if record.role == "worker"
    ]
    return {"file": info, "workers": workers}


def as_text(found: dict[str, Any]) -> str:
    """`facts` as lines."""
    versions, system, file = found["versions"], found["platform"], found["file"]
    libraries = ", ".join(f"{name} {version}" for name, version in versions.items() if name in _LIBRARIES)
    lines = [
        f"litequeue {versions['litequeue']}, {system['implementation']} {versions['python']}, {system['system']}",
        f"libraries: {libraries}",
        f"start method: {system['start_method']}",
        f"app: {found['app']}",
        *(f"file: {value}" if name == "error" else f"{name}: {value}" for name, value in file.items()),
    ]
    lines += [
        f"worker {worker['node']}: pid {worker['pid']}, {worker['pool']}, {worker['concurrency']} slots, "
        f"queues {', '.join(worker['queues'])}"
        for worker in found["workers"]
    ]
    settings = [f"{name}: {pprint.pformat(value, width=50)}" for name, value in found["settings"].items()]
    return "\n".join([*lines, "", *settings])
