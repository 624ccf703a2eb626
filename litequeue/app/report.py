"""What somebody who is to help must know."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from litequeue.app.base import LiteQueue


def bugreport(app: LiteQueue) -> str:
    """Versions, the file and the settings that differ from their defaults, passwords hidden."""
    from litequeue import __version__

    python = f"{platform.python_implementation()} {platform.python_version()}"
    lines = [
        f"litequeue {__version__}, {python}, {platform.platform()}",
        f"start method: {sys.platform}, {app.conf.worker_pool_start_method}",
    ]
    try:
        lines += [f"{name}: {value}" for name, value in app.store.connection_info().items()]
    except Exception as exc:
        lines.append(f"file: cannot be opened: {exc}")
    return "\n".join([*lines, "", app.conf.humanize()])
