"""Logging: loggers for tasks, Celery's line formats, and how a worker's process sets its handlers up.

Plain `logging` everywhere: the worker logs under `litequeue`, tasks under `litequeue.task` (`get_task_logger`), and
what tasks print under `litequeue.redirected`.
"""

from __future__ import annotations

import io
import logging
import logging.handlers
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TextIO

from litequeue import signals
from litequeue.core.context import current_tasks
from litequeue.core.log_formats import PROCESS_LOG_FORMAT, TASK_LOG_FORMAT
from litequeue.exceptions import ImproperlyConfigured

__all__ = (
    "ColorFormatter",
    "LoggingProxy",
    "RecordSender",
    "TaskFormatter",
    "get_logger",
    "get_task_logger",
    "let_through",
    "log_options",
    "mlevel",
    "redirect_stdouts_to_logger",
    "replay",
    "setup",
)

LOG_LEVELS: dict[str, int] = {
    "NOTSET": logging.NOTSET,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARNING": logging.WARNING,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
    "FATAL": logging.FATAL,
}

base_logger = logging.getLogger("litequeue")
task_logger = logging.getLogger("litequeue.task")
worker_logger = logging.getLogger("litequeue.worker")

_UNKNOWN = "???"


def get_logger(name: str) -> logging.Logger:
    """The logger `name`; one that has no parent of its own comes under `litequeue`."""
    return _under(base_logger, logging.getLogger(name))


def get_task_logger(name: str) -> logging.Logger:
    """The logger `name` for use inside tasks: its lines carry the task's name and id."""
    if name in ("litequeue", "litequeue.task"):
        raise RuntimeError(f"the logger name {name!r} is reserved; use __name__")
    return _under(task_logger, logging.getLogger(name))


def _under(parent: logging.Logger, logger: logging.Logger) -> logging.Logger:
    ancestor: logging.Logger | None = logger
    while ancestor is not None:
        if ancestor is parent:
            return logger
        ancestor = ancestor.parent
    if logger is not logging.root and parent is not logger:
        logger.parent = parent
    return logger


def mlevel(level: int | str | None) -> int:
    """The number of a level given by name, in any case, or by number; None: 0. ValueError: no such level."""
    if not level:
        return 0
    if isinstance(level, int):
        return level
    if level.upper() not in LOG_LEVELS:
        raise ValueError(f"there is no log level {level!r}; there are {', '.join(LOG_LEVELS)}")
    return LOG_LEVELS[level.upper()]


# Lines


class ColorFormatter(logging.Formatter):
    """Colours a line by its level."""

    colors: ClassVar[Mapping[str, str]] = {
        "DEBUG": "\033[1;34m",
        "WARNING": "\033[1;33m",
        "ERROR": "\033[1;31m",
        "CRITICAL": "\033[1;35m",
    }
    reset = "\033[0m"

    def __init__(self, fmt: str | None = None, use_color: bool = True, datefmt: str | None = None) -> None:
        super().__init__(fmt, datefmt)
        self.use_color = use_color

    def format(self, record: logging.LogRecord) -> str:
        """The line; a record that cannot be formatted gives a line that says so."""
        try:
            line = super().format(record)
        except Exception as exc:
            line = f"<Unrepresentable {record.msg!r}: {exc!r}>"
        color = self.colors.get(record.levelname) if self.use_color else None
        return f"{color}{line}{self.reset}" if color else line


class TaskFormatter(ColorFormatter):
    """Adds `task_name` and `task_id` of the running task; `???` outside of one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        name_the_task(record)
        return super().format(record)


def name_the_task(record: logging.LogRecord) -> None:
    """Give `record` the name and id of the task that runs in this context, unless it has them."""
    fields = record.__dict__
    if "task_name" in fields and "task_id" in fields:
        return
    running = current_tasks.get()
    task = running[-1] if running else None
    fields.setdefault("task_name", task.name if task is not None else _UNKNOWN)
    fields.setdefault("task_id", (task.request.id if task is not None else None) or _UNKNOWN)


def supports_color(colorize: bool | None, logfile: str | TextIO | None) -> bool:
    """Whether lines are coloured: as asked, and if nothing was asked, on a terminal (`NO_COLOR` is honoured)."""
    if colorize is not None:
        return colorize
    if logfile is not None or os.environ.get("NO_COLOR") or os.name == "nt":
        return False
    try:
        return bool(sys.__stderr__ and sys.__stderr__.isatty())
    except ValueError:  # closed
        return False


# Set-up

_is_set_up = False


def log_options(conf: Any) -> dict[str, Any]:
    """What `setup` takes from an app's settings; plain values, so that a child process can be given the same."""
    return {
        "format": conf.worker_log_format,
        "task_format": conf.worker_task_log_format,
        "datefmt": conf.worker_log_datefmt,
        "task_datefmt": conf.worker_task_log_datefmt,
        "colorize": conf.worker_log_color,
        "hijack_root_logger": conf.worker_hijack_root_logger,
        "redirect_stdouts": conf.worker_redirect_stdouts,
        "redirect_level": conf.worker_redirect_stdouts_level,
        "as_json": conf.log_json,
    }


def setup(
    loglevel: int | str | None = None,
    logfile: str | TextIO | None = None,
    *,
    hostname: str | None = None,
    format: str = PROCESS_LOG_FORMAT,
    task_format: str = TASK_LOG_FORMAT,
    datefmt: str | None = None,
    task_datefmt: str | None = None,
    colorize: bool | None = None,
    hijack_root_logger: bool = True,
    redirect_stdouts: bool = False,
    redirect_level: int | str = "WARNING",
    as_json: bool = False,
    force: bool = False,
) -> bool:
    """Set up the handlers of this process; later calls do nothing unless `force`. Whether it was done.

    `loglevel` None is WARNING. `logfile` is a path with the placeholders of `node_format` filled for the node
    `hostname`, or a stream; None: standard error. With `as_json` each line is a JSON object, and the formats mean
    nothing. A receiver of the `setup_logging` signal takes the whole set-up over.
    ImproperlyConfigured: the log file cannot be opened.
    """
    global _is_set_up
    if _is_set_up and not force:
        return False
    level = mlevel(loglevel) or logging.WARNING
    if isinstance(logfile, str):
        logfile = _expand(logfile, hostname)
    use_color = not as_json and supports_color(colorize, logfile)
    shown = {"loglevel": level, "logfile": logfile, "format": format, "colorize": use_color}
    if not _set_up_by_receivers(shown):
        if hijack_root_logger:
            _remove_handlers()
        lines = _json_lines(hostname) if as_json else None
        _configure(logging.getLogger(), logfile, level, lines or ColorFormatter(format, use_color, datefmt))
        signals.after_setup_logger.send(sender=None, logger=logging.getLogger(), **shown)
        _configure(task_logger, logfile, level, lines or TaskFormatter(task_format, use_color, task_datefmt))
        # Its own handler writes the line; the root's would write it a second time.
        task_logger.propagate = False
        signals.after_setup_task_logger.send(sender=None, logger=task_logger, **{**shown, "format": task_format})
        if redirect_stdouts:
            redirect_stdouts_to_logger(loglevel=redirect_level)
        levels_are_ours(logging.getLogger(), task_logger)
    logging.captureWarnings(True)
    _is_set_up = True
    return True


def _json_lines(hostname: str | None) -> logging.Formatter:
    from litequeue.utils.log_json import JSONFormatter

    return JSONFormatter(hostname)


def _expand(logfile: str, hostname: str | None) -> str:
    from litequeue.utils.nodenames import default_nodename, node_format

    return node_format(logfile, hostname or default_nodename())


def _set_up_by_receivers(shown: Mapping[str, Any]) -> bool:
    answers = signals.setup_logging.send(sender=None, **shown)
    for _, answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return bool(answers)


def _remove_handlers() -> None:
    for logger in (logging.getLogger(), base_logger, task_logger, logging.getLogger("litequeue.redirected")):
        logger.handlers = []


def _configure(logger: logging.Logger, logfile: str | TextIO | None, level: int, formatter: logging.Formatter) -> None:
    if all(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
        handler = _handler(logfile)
        handler.setFormatter(formatter)
        logger.addHandler(handler)
    logger.setLevel(level)


def _handler(logfile: str | TextIO | None) -> logging.Handler:
    if not isinstance(logfile, str):
        return logging.StreamHandler(sys.__stderr__ if logfile is None else logfile)
    kind = logging.FileHandler if os.name == "nt" else logging.handlers.WatchedFileHandler
    try:
        return kind(logfile, encoding="utf-8")
    except OSError as exc:
        raise ImproperlyConfigured(f"the log file {logfile} cannot be opened: {exc.strerror or exc}") from exc


# Letting more through than is written

_ours: list[logging.Logger] = []


def levels_are_ours(*loggers: logging.Logger) -> None:
    """Remember that the levels of these loggers, and their handlers, were chosen here and not by the program."""
    _ours[:] = loggers


def let_through(level: int) -> None:
    """Let records from `level` on be made in this process, and write no others than before.

    Changes nothing in a program that has set its logging up by itself.
    """
    for logger in _ours:
        before = logger.level
        if level >= before:
            continue
        for handler in logger.handlers:
            handler.addFilter(_AsBefore(logger, before))
        if worker_logger.level == logging.NOTSET:  # what it says of each task costs time, and is not for the tasks
            worker_logger.setLevel(before)
        logger.setLevel(level)


class _AsBefore(logging.Filter):
    """Holds back the records that only `let_through` has let through."""

    def __init__(self, logger: logging.Logger, level: int) -> None:
        super().__init__()
        self._logger = logger
        self._level = level

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether its logger had let the record through."""
        return record.levelno >= self._level or _level_giver(record.name) is not self._logger


def _level_giver(name: str) -> logging.Logger:
    """The logger whose level counts for the logger `name`."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None and logger.level == logging.NOTSET:
        logger = logger.parent
    return logger or logging.getLogger()


# What tasks print


def redirect_stdouts_to_logger(
    logger: logging.Logger | None = None,
    loglevel: int | str | None = None,
    stdout: bool = True,
    stderr: bool = True,
) -> LoggingProxy:
    """Make lines of a log (`litequeue.redirected`) out of what this process prints."""
    proxy = LoggingProxy(logger or get_logger("litequeue.redirected"), loglevel)
    if stdout:
        sys.stdout = proxy
    if stderr:
        sys.stderr = proxy
    return proxy


class LoggingProxy:
    """A text stream whose lines go to `logger` at `loglevel`.

    A line is logged when its end is written, or at `flush()`. What the log's own handlers print comes out on the
    process's real standard error, so that nothing goes round in a circle.
    """

    mode = "w"
    name = "<log>"
    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    line_buffering = True
    longest_line = 8192
    """Characters after which a line without an end is logged all the same."""

    def __init__(self, logger: logging.Logger, loglevel: int | str | None = None) -> None:
        self.logger = logger
        self.loglevel = mlevel(loglevel) or logger.level or logging.ERROR
        self.closed = False
        self._thread = threading.local()

    def write(self, data: str | bytes) -> int:
        """Take `data`, and log what is a whole line by now; the number of characters taken."""
        text = data.decode(self.encoding, self.errors) if isinstance(data, bytes) else str(data)
        if self.closed or not text:
            return 0
        if getattr(self._thread, "is_logging", False):
            self._write_aside(text)
            return len(text)
        *lines, rest = (getattr(self._thread, "rest", "") + text).split("\n")
        if len(rest) > self.longest_line:
            lines.append(rest)
            rest = ""
        self._thread.rest = rest
        self._log(lines)
        return len(text)

    def _log(self, lines: Iterable[str]) -> None:
        self._thread.is_logging = True
        try:
            for line in lines:
                if line.strip():
                    self.logger.log(self.loglevel, "%s", line.rstrip())
        finally:
            self._thread.is_logging = False

    def _write_aside(self, text: str) -> None:
        try:
            if sys.__stderr__ is not None:
                sys.__stderr__.write(text)
        except (OSError, ValueError):
            pass  # nowhere left to say it

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Log what this thread wrote and did not end."""
        rest = getattr(self._thread, "rest", "")
        if rest and not getattr(self._thread, "is_logging", False):
            self._thread.rest = ""
            self._log([rest])

    def close(self) -> None:
        """Log the rest, and take no more."""
        self.flush()
        self.closed = True

    def fileno(self) -> int:
        """That of the real standard error, for programs started with this stream as their output."""
        if sys.__stderr__ is None:
            raise io.UnsupportedOperation("fileno")
        return sys.__stderr__.fileno()

    def isatty(self) -> bool:
        """False."""
        return False

    def readable(self) -> bool:
        """False."""
        return False

    def writable(self) -> bool:
        """True."""
        return not self.closed

    def seekable(self) -> bool:
        """False."""
        return False

    @property
    def buffer(self) -> LoggingProxy:
        """This stream itself: it takes bytes as well."""
        return self


# From a child process to the program that started it


class RecordSender(logging.Handler):
    """Hands each record, as a dict of plain values, to `send`; `replay` makes a record of it in the parent.

    Message and traceback are made into text here, so that a pipe can carry them whatever they were.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None], level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record; a pipe that is closed is no error of the one who logs."""
        try:
            self._send(pack(record))
        except (BrokenPipeError, EOFError):
            pass
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Say it on the process's real standard error."""
        if sys.__stderr__ is not None:
            traceback.print_exc(file=sys.__stderr__)


def pack(record: logging.LogRecord) -> dict[str, Any]:
    """The record as a dict of plain values."""
    name_the_task(record)
    fields = dict(record.__dict__)
    fields["msg"], fields["args"] = record.getMessage(), None
    if record.exc_info:
        fields["exc_text"] = record.exc_text or logging.Formatter().formatException(record.exc_info)
        fields["exc_info"] = None
    return {key: _plain(value) for key, value in fields.items()}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value)) if type(value) in (list, tuple) else repr(value)
    if type(value) is dict:
        return {str(key): _plain(item) for key, item in value.items()}
    return repr(value)


def replay(fields: Mapping[str, Any]) -> None:
    """Handle a record that `RecordSender` sent, as if it had been logged in this process."""
    record = logging.makeLogRecord(dict(fields))
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
