"""Logging: task loggers, line formats, set-up, what tasks print, and records of child processes."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import pickle
import re
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from litequeue import signals
from litequeue.config import Settings
from litequeue.core.context import Context, current_tasks
from litequeue.exceptions import ImproperlyConfigured
from litequeue.utils import log, nodenames


class RunningTask:
    name = "proj.add"

    def __init__(self, id: str | None) -> None:
        self.request = Context(id=id)


@contextlib.contextmanager
def running(id: str | None = "id-1") -> Iterator[None]:
    token = current_tasks.set((RunningTask(id),))
    try:
        yield
    finally:
        current_tasks.reset(token)


def state_of(logger: logging.Logger) -> tuple[list[logging.Handler], int, bool]:
    return list(logger.handlers), logger.level, logger.propagate


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Handlers, levels and standard streams are put back after each test."""
    names = ("", "litequeue", "litequeue.task", "litequeue.redirected", "litequeue.worker", "py.warnings")
    before = {name: state_of(logging.getLogger(name)) for name in names}
    streams, done = (sys.stdout, sys.stderr), log._is_set_up
    yield
    sys.stdout, sys.stderr = streams
    log._is_set_up = done
    log._ours.clear()
    logging.captureWarnings(False)
    nodenames.set_process_number(None)
    for name, (handlers, level, propagate) in before.items():
        logger = logging.getLogger(name)
        for handler in logger.handlers:
            if handler not in handlers and isinstance(handler, logging.FileHandler):
                handler.close()
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def set_up(stream: Any = None, **options: Any) -> io.StringIO:
    stream = io.StringIO() if stream is None else stream
    assert log.setup(logfile=stream, force=True, **options)
    return stream  # type: ignore[no-any-return]


# Loggers and levels


def test_a_task_logger_is_the_logger_of_that_name_under_the_task_logger() -> None:
    logger = log.get_task_logger("proj.tasks_a")
    assert logger is logging.getLogger("proj.tasks_a")
    assert logger.parent is logging.getLogger("litequeue.task")
    assert log.get_task_logger("proj.tasks_a") is logger


def test_a_task_logger_below_another_one_keeps_its_parent() -> None:
    above = log.get_task_logger("proj_b")
    below = log.get_task_logger("proj_b.tasks")
    assert below.parent is above


def test_a_plain_logger_comes_under_litequeue() -> None:
    assert log.get_logger("proj_c").parent is logging.getLogger("litequeue")
    assert log.get_logger("litequeue.x").parent is logging.getLogger("litequeue")
    assert log.get_logger("litequeue").parent is logging.root


@pytest.mark.parametrize("name", ["litequeue", "litequeue.task"])
def test_reserved_names_are_refused(name: str) -> None:
    with pytest.raises(RuntimeError, match=f"{name}.*reserved"):
        log.get_task_logger(name)


@pytest.mark.parametrize(
    ("level", "number"), [("info", 20), ("INFO", 20), ("Warn", 30), ("fatal", 50), (15, 15), (None, 0), ("", 0)]
)
def test_levels_by_name_and_number(level: Any, number: int) -> None:
    assert log.mlevel(level) == number


def test_an_unknown_level_is_an_error_that_lists_the_levels() -> None:
    with pytest.raises(ValueError, match=r"'loud'.*DEBUG"):
        log.mlevel("loud")


# Lines


def test_lines_have_celerys_formats() -> None:
    stream = set_up(loglevel="info")
    logging.getLogger("proj_d").info("started")
    with running():
        log.get_task_logger("proj_e").info("adding %d", 3)
    log.get_task_logger("proj_e").info("outside")
    first, second, third = stream.getvalue().splitlines()
    process = "INFO/MainProcess]"
    assert first.startswith("[") and first.endswith(f": {process} started")
    assert second.endswith(f": {process} proj.add[id-1]: adding 3")
    assert third.endswith(f": {process} ???[???]: outside")


def test_a_task_called_as_a_function_has_a_name_and_no_id() -> None:
    stream = set_up(loglevel="info", task_format="%(task_name)s[%(task_id)s] %(message)s")
    with running(id=None):
        log.get_task_logger("proj_e").info("x")
    assert stream.getvalue() == "proj.add[???] x\n"


def test_formats_and_dates_can_be_chosen() -> None:
    stream = set_up(
        loglevel="info",
        format="%(asctime)s %(message)s",
        datefmt="day",
        task_format="%(asctime)s %(task_id)s %(message)s",
        task_datefmt="night",
    )
    logging.getLogger("proj_d").info("a")
    log.get_task_logger("proj_e").info("b")
    assert stream.getvalue() == "day a\nnight ??? b\n"


def test_a_level_holds_back_what_is_below_it() -> None:
    stream = set_up()
    logging.getLogger("proj_d").info("too low")
    logging.getLogger("proj_d").warning("shown")
    assert "too low" not in stream.getvalue() and "shown" in stream.getvalue()


@pytest.mark.parametrize("level", ["DEBUG", "WARNING", "ERROR", "CRITICAL"])
def test_colour_marks_levels_where_it_is_asked_for(level: str) -> None:
    stream = set_up(loglevel="debug", colorize=True, format="%(message)s")
    logging.getLogger("proj_d").log(log.mlevel(level), "x")
    assert stream.getvalue().startswith(log.ColorFormatter.colors[level]) and "x\033[0m" in stream.getvalue()


def test_no_colour_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            super().isatty()  # raises where the stream is closed
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert not log.supports_color(None, "x.log")
    monkeypatch.setattr(sys, "__stderr__", io.StringIO())
    assert not log.supports_color(None, None) and log.supports_color(True, None)
    monkeypatch.setattr(sys, "__stderr__", Terminal())
    assert log.supports_color(None, None) is (os.name != "nt") and not log.supports_color(False, None)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not log.supports_color(None, None)
    sys.__stderr__.close()  # type: ignore[union-attr]
    monkeypatch.delenv("NO_COLOR")
    assert not log.supports_color(None, None)


def test_a_record_that_cannot_be_formatted_still_gives_a_line() -> None:
    stream = set_up(loglevel="info")
    logging.getLogger("proj_d").info("%d apples", "no")
    assert "<Unrepresentable '%d apples'" in stream.getvalue()


# Set-up


def test_the_set_up_is_done_once_unless_forced() -> None:
    first = set_up(loglevel="info")
    second = io.StringIO()
    assert not log.setup("debug", second)
    logging.getLogger("proj_d").info("x")
    assert "x" in first.getvalue() and second.getvalue() == ""


def test_the_root_loggers_handlers_are_replaced_or_left_as_the_setting_says() -> None:
    mine = logging.StreamHandler(io.StringIO())
    logging.root.handlers = [mine]
    stream = set_up(loglevel="info", hijack_root_logger=False)
    assert logging.root.handlers == [mine]
    logging.getLogger("proj_d").info("kept")
    assert stream.getvalue() == "" and "kept" in mine.stream.getvalue()
    logging.getLogger("litequeue.task").handlers = []
    stream = set_up(loglevel="info")
    logging.getLogger("proj_d").info("taken")
    assert "taken" in stream.getvalue() and mine not in logging.root.handlers


def test_a_log_file_is_named_for_its_node_and_child_and_appended_to(tmp_path: Path) -> None:
    nodenames.set_process_number(2)
    path = tmp_path / "w1-2.log"
    path.write_text("before\n")
    for text in ("first æ", "second"):
        log.setup("info", str(tmp_path / "%n%I.log"), hostname="w1@box", force=True)
        logging.getLogger("proj_d").info(text)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "before" and lines[1].endswith("first æ") and lines[2].endswith("second")


def test_a_log_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"log file .*no.*w\.log cannot be opened: No such"):
        log.setup("info", str(tmp_path / "no" / "w.log"), force=True)


def test_warnings_become_log_lines() -> None:
    stream = set_up(loglevel="info")
    warnings.warn("look out", UserWarning, stacklevel=1)
    assert "look out" in stream.getvalue()


def test_options_come_from_the_settings_as_plain_values() -> None:
    conf = Settings({"worker_log_format": "%(message)s", "worker_log_color": True, "worker_hijack_root_logger": False})
    options = pickle.loads(pickle.dumps(log.log_options(conf)))
    assert options["format"] == "%(message)s" and options["colorize"] is True and options["hijack_root_logger"] is False
    set_up(loglevel="info", **{**options, "redirect_stdouts": False})


def test_a_receiver_of_setup_logging_takes_the_set_up_over() -> None:
    given: dict[str, Any] = {}
    before = state_of(logging.root)

    def receiver(**named: Any) -> None:
        given.update(named)

    signals.setup_logging.connect(receiver)
    try:
        stream = set_up(loglevel="debug", redirect_stdouts=True)
    finally:
        signals.setup_logging.disconnect(receiver)
    assert state_of(logging.root) == before and not isinstance(sys.stdout, log.LoggingProxy)
    assert (given["loglevel"], given["logfile"], given["colorize"]) == (10, stream, False)
    assert given["format"] == log.PROCESS_LOG_FORMAT


def test_what_a_receiver_of_setup_logging_raises_is_raised() -> None:
    def receiver(**_: Any) -> None:
        raise LookupError("no config")

    signals.setup_logging.connect(receiver)
    log._is_set_up = False
    try:
        with pytest.raises(LookupError):
            log.setup("info", io.StringIO())
        assert not log._is_set_up
    finally:
        signals.setup_logging.disconnect(receiver)


def test_receivers_may_change_the_loggers_after_the_set_up() -> None:
    seen: list[str] = []

    def receiver(logger: Any = None, format: str = "", **_: Any) -> None:
        seen.append(f"{logger.name} {'task_id' in format}")

    signals.after_setup_logger.connect(receiver)
    signals.after_setup_task_logger.connect(receiver)
    try:
        set_up()
    finally:
        signals.after_setup_logger.disconnect(receiver)
        signals.after_setup_task_logger.disconnect(receiver)
    assert seen == ["root False", "litequeue.task True"]


# JSON


def json_lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_of_json_says_everything_of_a_record() -> None:
    stream = set_up(loglevel="info", as_json=True, hostname="w1@box", colorize=True)
    logging.getLogger("proj_d").info("one\n%s", "two æ")
    with running():
        log.get_task_logger("proj_e").warning("three")
        logging.getLogger("proj_d").info("four")
    first, second, third = json_lines(stream)
    assert list(first) == ["time", "level", "logger", "message", "process", "thread", "node"]
    assert first["level"] == "INFO" and first["logger"] == "proj_d" and first["message"] == "one\ntwo æ"
    assert first["process"] == os.getpid() and first["thread"] == "MainThread" and first["node"] == "w1@box"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["time"])
    assert [(line["task_name"], line["task_id"]) for line in (second, third)] == [("proj.add", "id-1")] * 2
    assert stream.getvalue().isascii()


def test_what_the_caller_adds_stands_in_the_json_as_well() -> None:
    class Odd:
        def __repr__(self) -> str:
            return "<odd>"

    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError

    circle: list[Any] = []
    circle.append(circle)
    stream = set_up(loglevel="info", as_json=True)
    values = {
        "order": 7,
        "tags": ["a", {"b": None}],
        "odd": Odd(),
        "inside": [Odd()],
        "nan": float("nan"),
        "mute": Mute(),
    }
    logging.getLogger("proj_d").info("x", extra={**values, "keys": {(1, 2): 3}, "circle": circle, "time": "mine"})
    (line,) = json_lines(stream)
    assert line["order"] == 7 and line["tags"] == ["a", {"b": None}] and line["odd"] == "<odd>"
    assert line["inside"] == ["<odd>"] and line["nan"] == "nan" and line["keys"] == "{(1, 2): 3}"
    assert line["mute"] == "<Mute: repr() raised RuntimeError>" and line["circle"] == "[[...]]"
    assert line["extra_time"] == "mine" and line["time"] != "mine"


def test_an_exception_is_text_in_the_json() -> None:
    stream = set_up(loglevel="info", as_json=True)
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("proj_d").exception("failed", stack_info=True)
    logging.getLogger("proj_d").info("%d apples", "no")
    logging.getLogger("proj_d").error("without one", exc_info=True)
    failed, apples, without = json_lines(stream)
    assert failed["exception"].startswith("Traceback") and failed["exception"].endswith("ValueError: no")
    assert "test_an_exception_is_text" in failed["stack"]
    assert apples["message"].startswith("<Unrepresentable '%d apples'")
    assert without["exception"] == "NoneType: None"


def test_a_task_without_an_id_has_none_in_the_json() -> None:
    stream = set_up(loglevel="info", as_json=True)
    with running(id=None):
        log.get_task_logger("proj_e").info("x")
    (line,) = json_lines(stream)
    assert line["task_name"] == "proj.add" and "task_id" not in line


def test_the_setting_log_json() -> None:
    options = log.log_options(Settings({"log_json": True, "worker_redirect_stdouts": False}))
    stream = set_up(loglevel="info", **options)
    logging.getLogger("proj_d").info("x")
    assert json_lines(stream)[0]["message"] == "x"


# Letting more through than is written


def test_more_is_made_and_no_more_is_written() -> None:
    chatty = logging.getLogger("proj_f.chatty")
    chatty.setLevel(logging.DEBUG)
    stream = set_up(format="%(message)s", task_format="%(message)s")
    log.let_through(logging.INFO)
    log.let_through(logging.INFO)
    quiet, task = logging.getLogger("proj_d"), log.get_task_logger("proj_e")
    for logger in (quiet, task, chatty):
        assert logger.isEnabledFor(logging.INFO)
        logger.info("info of %s", logger.name)
        logger.warning("warning of %s", logger.name)
    chatty.debug("its own level")
    assert stream.getvalue().splitlines() == [
        "warning of proj_d",
        "warning of proj_e",
        "info of proj_f.chatty",
        "warning of proj_f.chatty",
        "its own level",
    ]
    assert not quiet.isEnabledFor(logging.DEBUG) and not log.worker_logger.isEnabledFor(logging.INFO)


def test_nothing_more_is_made_where_enough_is_or_the_program_decides() -> None:
    set_up(loglevel="info")
    log.let_through(logging.WARNING)
    assert logging.getLogger().level == logging.INFO
    log._ours.clear()
    log.let_through(logging.DEBUG)
    assert logging.getLogger().level == logging.INFO


# What tasks print


def test_what_is_printed_becomes_lines_of_the_log() -> None:
    stream = set_up(loglevel="info", redirect_stdouts=True, redirect_level="error", format="%(levelname)s %(message)s")
    print("one", "two", 3)
    print("to stderr", file=sys.stderr)
    assert stream.getvalue() == "ERROR one two 3\nERROR to stderr\n"


def make_proxy() -> tuple[log.LoggingProxy, list[str]]:
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = logging.Logger("printed")
    logger.addHandler(Keep())
    return log.LoggingProxy(logger, "INFO"), lines


def test_a_line_is_logged_when_it_ends() -> None:
    proxy, lines = make_proxy()
    assert proxy.write("half") == 4
    assert lines == []
    proxy.write(" a line\nand")
    assert lines == ["half a line"]
    proxy.flush()
    assert lines == ["half a line", "and"]
    proxy.writelines(["x\n", "\n", "  \n", "y%s\n"])
    assert lines[2:] == ["x", "y%s"]


def test_bytes_are_taken_as_text_and_nothing_is_lost_in_a_long_line() -> None:
    proxy, lines = make_proxy()
    proxy.buffer.write(b"bytes \xc3\xa6 \xff\n")
    assert lines == ["bytes æ \\xff"]
    proxy.write("z" * (proxy.longest_line + 1))
    assert lines[1] == "z" * (proxy.longest_line + 1)


def test_threads_do_not_mix_their_lines() -> None:
    proxy, lines = make_proxy()
    barrier = threading.Barrier(3)

    def work(name: str) -> None:
        for _ in range(50):
            barrier.wait()
            for part in (name, name, name, "\n"):
                proxy.write(part)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(lines) == ["aaa"] * 50 + ["bbb"] * 50 + ["ccc"] * 50


def test_a_handler_that_prints_does_not_go_round_in_a_circle(monkeypatch: pytest.MonkeyPatch) -> None:
    aside = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", aside)

    class Printing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print("printed by the handler:", record.getMessage())
            raise RuntimeError("and it fails")

    logger = logging.Logger("circle")
    logger.addHandler(Printing())
    log.redirect_stdouts_to_logger(logger, "INFO")
    with contextlib.suppress(RuntimeError):
        print("hello")
    with contextlib.suppress(RuntimeError):
        print("again")
    assert aside.getvalue().splitlines() == ["printed by the handler: hello", "printed by the handler: again"]


def test_it_is_a_stream_that_other_code_can_ask_about(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, lines = make_proxy()
    assert not proxy.isatty() and proxy.writable() and not proxy.readable() and not proxy.seekable()
    assert proxy.encoding == "utf-8"
    proxy.write("rest")
    proxy.close()
    assert lines == ["rest"] and proxy.closed and proxy.write("more") == 0 and not proxy.writable()
    monkeypatch.setattr(sys, "__stderr__", None)
    with pytest.raises(io.UnsupportedOperation):
        proxy.fileno()


def test_a_program_started_by_a_task_writes_to_the_real_standard_error() -> None:
    """In a process of its own, because pytest holds the standard streams of this one."""
    script = """
        import subprocess, sys
        from litequeue.utils import log
        log.setup("info", redirect_stdouts=True, format="log: %(message)s")
        print("printed", flush=True)
        subprocess.run([sys.executable, "-c", "print('from a program')"], stdout=sys.stdout, check=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert done.stdout.splitlines() == ["log: printed", "from a program"]


# Records of child processes


def test_a_record_crosses_as_plain_values_and_is_handled_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    class Odd:
        def __repr__(self) -> str:
            return "<odd>"

    sent: list[dict[str, Any]] = []
    logger = logging.Logger("proj_f")
    logger.addHandler(log.RecordSender(sent.append))
    with running():
        try:
            raise ValueError("broken")
        except ValueError:
            logger.exception("%s failed", Odd(), extra={"data": {"id": "1", "args": (Odd(), [1])}, "odd": Odd()})
    with caplog.at_level(logging.INFO):
        log.replay(pickle.loads(pickle.dumps(sent[0])))
    (record,) = caplog.records
    assert record.getMessage() == "<odd> failed" and record.name == "proj_f"
    assert record.data == {"id": "1", "args": ("<odd>", [1])}  # type: ignore[attr-defined]
    assert record.odd == "<odd>"  # type: ignore[attr-defined]
    assert (record.task_name, record.task_id) == ("proj.add", "id-1")  # type: ignore[attr-defined]
    assert "ValueError: broken" in caplog.text


def test_a_record_below_the_level_here_is_not_handled(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[dict[str, Any]] = []
    logger = logging.Logger("proj_g")
    logger.addHandler(log.RecordSender(sent.append))
    logger.info("quiet")
    with caplog.at_level(logging.ERROR):
        log.replay(sent[0])
    assert caplog.records == []


def test_a_closed_pipe_is_no_error_and_any_other_is_said_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    aside = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", aside)

    def fail(error: Exception) -> None:
        def send(_: dict[str, Any]) -> None:
            raise error

        logger = logging.Logger("proj_h")
        logger.addHandler(log.RecordSender(send))
        logger.warning("x")

    fail(BrokenPipeError())
    assert aside.getvalue() == ""
    fail(RuntimeError("odd pipe"))
    assert "RuntimeError: odd pipe" in aside.getvalue()
