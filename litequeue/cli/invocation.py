"""What the global options say, and the app they lead to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO, TypeVar

import click

from litequeue.cli.options import Option
from litequeue.exceptions import LiteQueueCommandException, LiteQueueWarning

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(slots=True)
class Invocation:
    """One call of the command line. Commands get it with `@click.pass_obj`."""

    app: Any = None
    """The app itself, when a program calls us; then `-A` is not needed."""
    argv: list[str] = field(default_factory=list)
    """The command line, without the program's name."""
    app_spec: str | None = None
    broker: str | None = None
    result_backend: str | None = None
    config: str | None = None
    workdir: str | None = None
    no_color: bool = False
    quiet: bool = False
    as_json: bool = False
    """Whether the answer is to be JSON on stdout, and nothing else."""
    notes: list[str] = field(default_factory=list)
    """What the command told the user on the way, each once."""

    def note(self, text: str, file: TextIO | None = None) -> None:
        """One line on stderr (`file` where that has been redirected), once; not with `--quiet`."""
        if text not in self.notes:
            self.notes.append(text)
            if not self.quiet:
                from litequeue.inspect.text import sayable

                said = sayable(" ".join(text.split()), getattr(file or sys.stderr, "encoding", None))
                click.echo(f"litequeue: {said}", file=file, err=True)

    def echo(self, text: str, *, nl: bool = True) -> None:
        """Text on stdout, unless `--quiet`."""
        if not self.quiet:
            click.echo(text, nl=nl)

    def print_json(self, value: Any, indent: int | None = 2) -> None:
        """`value` as JSON on stdout; what JSON cannot say is text, and a number that it cannot say is null."""
        import json

        try:
            text = json.dumps(value, indent=indent, default=str, allow_nan=False)
        except ValueError:
            text = json.dumps(json.loads(json.dumps(value, default=str), parse_constant=_null), indent=indent)
        click.echo(text)

    def print_text(self, text: str) -> None:
        """`text` on stdout, as far as it can be shown there: what would steer the terminal is written out."""
        from litequeue.inspect.text import sayable

        click.echo(sayable(text, sys.stdout.encoding), color=self.color)

    @contextmanager
    def telling_warnings(self) -> Iterator[None]:
        """Make a note, of one line, of each warning of ours."""
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("always", LiteQueueWarning)
            before = warnings.showwarning

            def show(message: Warning | str, category: type[Warning], *args: Any, **kwargs: Any) -> None:
                if issubclass(category, LiteQueueWarning):
                    self.note(str(message))
                else:
                    before(message, category, *args, **kwargs)

            warnings.showwarning = show
            yield

    @property
    def color(self) -> bool | None:
        """False when colour is not wanted; None: as the terminal allows."""
        return False if self.no_color or os.environ.get("NO_COLOR") else None

    def enter_workdir(self) -> None:
        """Go into `--workdir`."""
        if self.workdir is None:
            return
        try:
            os.chdir(self.workdir)
        except OSError as exc:
            raise LiteQueueCommandException(f"--workdir: {self.workdir}: {exc.strerror}", exit_code=2) from exc

    def set_environment(self) -> None:
        """Hand the global options on by the environment, which child processes read too, before the settings."""
        for name, value in (
            ("LITEQUEUE_BROKER_URL", self.broker),
            ("LITEQUEUE_RESULT_BACKEND", self.result_backend),
        ):
            if value is not None:
                os.environ[name] = value

    def load_app(self, *, with_tasks: bool = False, creates: bool = False) -> Any:
        """The app that a program gave us, or that of `-A`, with the global options applied.

        Without `-A` a file is enough for what needs no tasks; it must be there when it is opened, unless the command
        `creates` it. LiteQueueCommandException: there is no app, or it cannot be imported.
        """
        self.enter_workdir()
        self.set_environment()
        if self.app is None:
            self.app = self._find_app(with_tasks, creates)
        if self.config is not None:
            with _told(f"--config {self.config}"):
                self.app.config_from_object(self.config, force=True)
        return self.app

    def load_tasks(self, *, with_tasks: bool = False, creates: bool = False) -> Any:
        """`load_app`, and import the modules with tasks that a worker of the app imports."""
        app = self.load_app(with_tasks=with_tasks, creates=creates)
        from litequeue.app.loading import import_default_modules

        with _told("the app's tasks" if self.app_spec is None else f"-A {self.app_spec}"):
            import_default_modules(app)
            app.finalize()
        return app

    def _find_app(self, with_tasks: bool, creates: bool) -> Any:
        if self.app_spec is not None:
            with _told(f"-A {self.app_spec}"):
                from litequeue.app.loading import find_app

                return find_app(self.app_spec)
        if with_tasks or not os.environ.get("LITEQUEUE_BROKER_URL"):
            raise LiteQueueCommandException(
                "no app given; write `litequeue -A proj ...` where proj is the module that makes your LiteQueue app, "
                "or set LITEQUEUE_APP",
                exit_code=2,
            )
        from litequeue import LiteQueue

        app = LiteQueue("litequeue.cli", set_as_current=False)
        if not creates:  # a slip in the file's name is not to leave an empty queue behind
            app._open_file().expect()
        return app


def _null(_name: str) -> None:
    """What stands in JSON for NaN and Infinity, which it does not have."""


@contextmanager
def _told(option: str) -> Iterator[None]:
    """Make one line, that begins with the option, of whatever the user's modules raise when they are imported."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        raise LiteQueueCommandException(f"{option}: {describe(exc)}") from exc


def describe(exc: BaseException) -> str:
    """The exception in one line: its type unless it is ours, its text, and the user's line that raised it."""
    from litequeue.exceptions import LiteQueueError

    text = " ".join(str(exc).split())
    if isinstance(exc, LiteQueueError):
        return text or type(exc).__name__
    text = f"{type(exc).__name__}: {text}" if text else type(exc).__name__
    place = _place(exc)
    return f"{text} ({place})" if place and place not in text else text


def _place(exc: BaseException) -> str | None:
    """`file:line` of the innermost frame outside Python's import machinery and litequeue."""
    found, tb = None, exc.__traceback__
    ours = os.path.dirname(os.path.dirname(__file__))
    while tb is not None:
        filename = tb.tb_frame.f_code.co_filename
        if not filename.startswith("<") and not filename.startswith(ours + os.sep) and "importlib" not in filename:
            found = f"{filename}:{tb.tb_lineno}"
        tb = tb.tb_next
    if isinstance(exc, SyntaxError) and exc.filename:
        return f"{exc.filename}:{exc.lineno}"
    return found


_JSON_FLAGS = ("-j", "--json", "as_json")


def json_option(function: _Function) -> _Function:
    """`--json` on a command whose help is to show it; `Invocation.as_json` has it, as for every command."""
    return click.option(*_JSON_FLAGS, cls=Option, **_of_all({"is_flag": True, "help": "Print JSON."}))(function)


def global_options(*, hidden: bool = False) -> list[click.Option]:
    """Fresh options for everything that holds for every command; `hidden` for the copies that each command takes."""
    names: list[tuple[tuple[str, ...], Mapping[str, Any]]] = [
        (
            ("-A", "--app", "app_spec"),
            {"metavar": "APP", "envvar": "LITEQUEUE_APP", "help": "The app: module, package or module:attribute."},
        ),
        (
            ("-b", "--broker", "broker"),
            {
                "metavar": "FILE",
                "help": "The queue's file (path or sqlite:/// URL).",
                "shell_complete": lambda _ctx, _param, text: _paths("file", text),
            },
        ),
        (("--result-backend", "result_backend"), {"metavar": "FILE", "help": "Where results are kept."}),
        (
            ("--config", "config"),
            {"metavar": "MODULE", "envvar": "LITEQUEUE_CONFIG_MODULE", "help": "Module with the settings."},
        ),
        (
            ("--workdir", "workdir"),
            {
                "metavar": "FOLDER",
                "envvar": "LITEQUEUE_WORKDIR",
                "help": "Go into this folder first.",
                "shell_complete": lambda _ctx, _param, text: _paths("dir", text),
            },
        ),
        (("-C", "--no-color", "no_color"), {"is_flag": True, "help": "No colour."}),
        (("-q", "--quiet", "quiet"), {"is_flag": True, "help": "Print no banner and no notes."}),
        (_JSON_FLAGS, {"is_flag": True, "help": "Print JSON."}),
        (("--version", "version"), {"is_flag": True, "callback": _print_version, "help": "Print the version."}),
        (("--loader", "loader"), {"hidden": True, "metavar": "CLASS", "help": "Accepted from Celery."}),
        (("--skip-checks", "skip_checks"), {"hidden": True, "is_flag": True, "help": "Accepted from Celery."}),
    ]
    return [_global_option(flags, attrs, hidden) for flags, attrs in names]


def _global_option(flags: tuple[str, ...], attrs: Mapping[str, Any], hidden: bool) -> click.Option:
    settings = _of_all({"section": "Global options", **attrs})
    if hidden:
        # The copy on a command speaks only when it is written there; the environment has spoken for the group.
        settings |= {"hidden": True, "envvar": None}
    return Option(flags, **settings)


def _of_all(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {"expose_value": False, "callback": _keep, "is_eager": True, "allow_from_autoenv": False, **attrs}


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from litequeue import __version__

        click.echo(__version__)
        ctx.exit()


def _paths(kind: str, text: str) -> Any:
    """Have the shell complete `text` as a path."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(text, type=kind)]


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Write a global option that was given into the Invocation; completion asks for them too."""
    if not value:
        return
    invocation = ctx.ensure_object(Invocation)
    if ctx.resilient_parsing and param.name in ("loader", "skip_checks"):
        return
    if param.name == "loader":
        invocation.note("--loader is ignored: litequeue has one way to load an app")
    elif param.name != "skip_checks":
        setattr(invocation, str(param.name), value)
