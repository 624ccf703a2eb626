"""Where the queue is: from what a program writes for `broker` and `backend` to the path of a file."""

from __future__ import annotations

import os

from litequeue.exceptions import ImproperlyConfigured

MEMORY = ":memory:"
"""The path of a queue that lives and dies with this process."""

_MEMORY_URLS = (MEMORY, "memory://", "sqlite://", "sqlite:///:memory:", "sqlite:///")
_DISABLED = ("disabled", "disabled://", "false")
_WRITE = (
    "write the path of a file, as in broker='app.db' (relative), 'sqlite:////var/lib/app.db' (absolute) or ':memory:'"
)


def broker_path(url: str | None) -> str:
    """The absolute path of the queue's file, or `:memory:`; a relative path is relative to the working directory now.

    ImproperlyConfigured: there is none, or it names a message broker.
    """
    if not url:
        raise ImproperlyConfigured(
            "no queue is configured: give the app a file, as in LiteQueue('proj', broker='app.db'), or set broker_url "
            "or the environment variable LITEQUEUE_BROKER_URL"
        )
    if url in _MEMORY_URLS:
        return MEMORY
    if url.startswith("sqlite:///"):
        path, _, query = url.removeprefix("sqlite:///").partition("?")
        if query:
            raise ImproperlyConfigured(
                f"broker {url!r}: options after '?' are not read; how the file is opened is settings"
            )
        url = _unquoted(path)
    elif "://" in url:
        scheme = url.partition("://")[0]
        if scheme in ("sqlite", "file"):
            raise ImproperlyConfigured(
                f"broker {url!r}: three slashes begin a relative path, four an absolute one; {_WRITE}"
            )
        raise ImproperlyConfigured(f"broker {_hidden(url)!r}: litequeue needs no {scheme} server; {_WRITE}")
    return os.path.abspath(os.path.expanduser(url))


def results_disabled(backend: object, broker: str | None) -> bool:
    """Whether `result_backend` says that no results are kept.

    ImproperlyConfigured: it names another place than the queue's file.
    """
    if backend is None or backend == "":
        return False
    if backend is False or (isinstance(backend, str) and backend.lower() in _DISABLED):
        return True
    try:
        same = isinstance(backend, str) and (backend == broker or broker_path(backend) == broker_path(broker))
    except ImproperlyConfigured:
        same = False
    if same:
        return False
    raise ImproperlyConfigured(
        f"result_backend {_hidden(str(backend))!r}: results are kept in the queue's own file; leave result_backend "
        "out, or write 'disabled://' to keep none"
    )


def _unquoted(path: str) -> str:
    if "%" not in path:
        return path
    from urllib.parse import (
        unquote,
    )  # not at the top: few paths need it, and the first call of a process is to be quick

    return unquote(path)


def _hidden(url: str) -> str:
    """The URL without the password that it may hold."""
    scheme, found, rest = url.partition("://")
    if not found or "@" not in rest:
        return url
    user, _, host = rest.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}:***@{host}"
