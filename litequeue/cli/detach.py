"""`-D`, `--detach`: a worker or beat that runs in the background.

The command line is started again as a process of its own session, with a folder in its environment. There it leaves
word when it is up, and what goes wrong before that; we wait for one or the other. Nothing is forked, so no open SQLite
file is either.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from litequeue.cli.invocation import Invocation, describe
from litequeue.cli.options import AnyParamType, Option
from litequeue.exceptions import LiteQueueCommandException

ENVIRONMENT: Final = "LITEQUEUE_DETACHED"
"""Where a process in the background finds the folder in which it leaves word."""

_LOOK: Final = 0.02  # seconds between looks
_NEEDS_DETACH: Final = "belongs to --detach; without it, set it in the service that starts litequeue"
_SAME_PYTHON: Final = "child processes run the same Python as the worker"
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Umask(AnyParamType):
    """A file mode mask in octal digits."""

    name = "umask"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The mask."""
        try:
            mask = value if isinstance(value, int) else int(str(value), 8)
        except ValueError:
            mask = -1
        if not 0 <= mask <= 0o777:
            self.fail(f"{value!r} is not a mask; write octal digits, as in 022", param, ctx)
        return mask


def daemon_options(function: _Function) -> _Function:
    """The options of a command that can run in the background."""
    declared: list[tuple[tuple[str, ...], dict[str, Any]]] = [
        (("-D", "--detach", "detach"), {"is_flag": True, "help": "Run in the background; wait until it is up."}),
        (("--uid",), {"metavar": "USER", "help": "With --detach: run as this user, by name or number."}),
        (("--gid",), {"metavar": "GROUP", "help": "With --detach: run as this group."}),
        (("--umask",), {"type": Umask(), "metavar": "MASK", "help": "With --detach: the file mode mask, as in 022."}),
        (("--executable",), {"metavar": "PYTHON", "help": "With --detach: the Python that runs it."}),
    ]
    for flags, attrs in reversed(declared):
        function = click.option(*flags, cls=Option, section="Background", **attrs)(function)
    return function


class Background:
    """What --detach means for this process, which may be the one in the background."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._handler: _Teller | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a process that does our work finds in its environment."""
        return {} if self._folder is None else {ENVIRONMENT: str(self._folder)}

    @contextlib.contextmanager
    def telling(self, up: Any) -> Iterator[None]:
        """Leave word when the signal `up` is sent, and why the block ends where it raises."""
        if self._folder is None:
            yield
            return

        def ready(**_: Any) -> None:
            self._leave("up", str(os.getpid()))
            self._forget()

        up.connect(ready, weak=False)
        try:
            yield
        except Exception as exc:
            self._leave("failed", describe(exc))
            raise
        finally:
            up.disconnect(ready)
            self._forget()

    def let_go(self, logfile: str | None) -> None:
        """From here on what is written to stderr, by whatever this process starts too, goes to the log file or nowhere.

        To be called when logging is set up, and before a process or the work begins.
        """
        if self._folder is None:
            return
        self._handler = _Teller(lambda text: self._leave("failed", text))
        logging.getLogger().addHandler(self._handler)
        logging.getLogger("litequeue").addHandler(self._handler)
        with open(logfile or os.devnull, "a", encoding="utf-8") as target:
            for stream in (sys.__stdout__, sys.__stderr__):
                if stream is not None:
                    stream.flush()
            os.dup2(target.fileno(), 2)

    def _leave(self, name: str, text: str) -> None:
        assert self._folder is not None
        part = self._folder / f"{name}.part"
        with contextlib.suppress(OSError):  # nobody waits any more
            part.write_text(text, encoding="utf-8")
            part.replace(self._folder / name)

    def _forget(self) -> None:
        if self._handler is not None:
            logging.getLogger().removeHandler(self._handler)
            logging.getLogger("litequeue").removeHandler(self._handler)
            self._handler = None


class _Teller(logging.Handler):
    """Hands the message of an error on."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):
            self._tell(" ".join(record.getMessage().split()))


def asked_for(call: Invocation, given: dict[str, Any], node: str) -> Background | int:
    """What --detach means here: to be called before anything is opened.

    An exit code: the command runs in the background now, or could not, and this process has no more to do.
    LiteQueueCommandException: an option that needs --detach; a program of the user's own has called us, which cannot be
    started again.
    """
    folder = os.environ.pop(ENVIRONMENT, None)  # what a task starts is not ours
    if not given["detach"]:
        _check_alone(call, given)
        return Background()
    if folder is not None:
        return Background(Path(folder))
    if call.app is not None:
        raise LiteQueueCommandException(
            "--detach: it starts the command line again, so write `litequeue -A proj worker --detach ...` in place of"
            " calling the app",
            exit_code=2,
        )
    options = _process_options(given)
    with tempfile.TemporaryDirectory(prefix="litequeue-", ignore_cleanup_errors=True) as name:
        return _start(call, given, node, Path(name), options)


def _check_alone(call: Invocation, given: dict[str, Any]) -> None:
    for option in ("uid", "gid", "umask"):
        if given[option] is not None:
            raise LiteQueueCommandException(f"--{option}: {_NEEDS_DETACH}", exit_code=2)
    if given["executable"]:
        call.note(f"--executable is ignored: {_SAME_PYTHON}")


def _start(call: Invocation, given: dict[str, Any], node: str, folder: Path, options: dict[str, Any]) -> int:
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    command = [given["executable"] or sys.executable, *flags, "-m", "litequeue", *call.argv]
    if "group" in options:
        shutil.chown(folder, options.get("user"), options["group"])
        folder.chmod(0o770)
    with open(folder / "stderr", "w+", encoding="utf-8", errors="replace") as stderr:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={**os.environ, ENVIRONMENT: str(folder)},
                **options,
            )
        except (OSError, subprocess.SubprocessError) as exc:
            raise LiteQueueCommandException(f"--detach: {command[0]}: {exc}") from exc
        pid = _wait(process, folder)
        stderr.seek(0)
        return _say(call, node, process, pid, stderr.read(), _word(folder, "failed"))


if sys.platform == "win32":

    def _process_options(given: dict[str, Any]) -> dict[str, Any]:
        """How the process is made. LiteQueueCommandException: an option that Windows has no such thing for."""
        for option in ("uid", "gid", "umask"):
            if given[option] is not None:
                raise LiteQueueCommandException(f"--{option}: Windows has no such thing", exit_code=2)
        # With a console that nobody sees: without any, each child process would open one of its own.
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}

else:
    import grp
    import pwd

    def _process_options(given: dict[str, Any]) -> dict[str, Any]:
        """How the process is made. LiteQueueCommandException: there is no such user or group."""
        options: dict[str, Any] = {"start_new_session": True}
        if given["umask"] is not None:
            options["umask"] = given["umask"]
        try:
            if (gid := given["gid"]) is not None:
                options["group"] = (grp.getgrgid(int(gid)) if gid.isdecimal() else grp.getgrnam(gid)).gr_gid
            if (uid := given["uid"]) is not None:
                user = pwd.getpwuid(int(uid)) if uid.isdecimal() else pwd.getpwnam(uid)
                options["user"] = user.pw_uid
                options.setdefault("group", user.pw_gid)
                options["extra_groups"] = os.getgrouplist(user.pw_name, options["group"])
        except KeyError as exc:
            raise LiteQueueCommandException(f"--uid, --gid: {' '.join(map(str, exc.args))}", exit_code=2) from exc
        return options


def _wait(process: subprocess.Popen[bytes], folder: Path) -> int | None:
    """The pid of what is up; None: it has ended before."""
    try:
        while True:
            try:
                process.wait(_LOOK)
            except subprocess.TimeoutExpired:
                pass
            if word := _word(folder, "up"):
                return int(word)
            if process.returncode is not None:
                return None
    except BaseException:
        process.terminate()
        raise


def _word(folder: Path, name: str) -> str | None:
    try:
        return (folder / name).read_text(encoding="utf-8")
    except OSError:
        return None


def _say(
    call: Invocation, node: str, process: subprocess.Popen[bytes], pid: int | None, stderr: str, failed: str | None
) -> int:
    said = {f"litequeue: {note}" for note in call.notes}  # the other process has read the same command line
    stderr = "\n".join(line for line in stderr.splitlines() if line not in said)
    if stderr:
        click.echo(stderr, err=True)
    code = process.returncode or 0
    if pid is None and code:
        if not stderr or (failed is not None and failed not in stderr):
            what = failed or (f"it ended by signal {-code}" if code < 0 else f"it ended with exit code {code}")
            click.echo(f"litequeue: {node} did not start: {what}", err=True)
        return code if code > 0 else 1
    if call.as_json:
        call.print_json({"node": node, "pid": pid, "up": pid is not None})
    else:
        call.echo(f"{node} is up: process {pid}" if pid is not None else f"{node} has ended already: nothing to do")
    return 0
