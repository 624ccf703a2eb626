"""`litequeue shell`: Python with the app at hand."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, Final

import click

from litequeue.cli.invocation import Invocation
from litequeue.cli.options import Option, SectionedHelp
from litequeue.exceptions import LiteQueueCommandException

NAMES: Final = ("Task", "chain", "chord", "chunks", "group", "signature", "subtask", "xmap", "xstarmap")
"""What of litequeue is bound to its own name."""
APP_NAMES: Final = ("app", "celery", "litequeue")
_BUILTIN: Final = ("celery.", "litequeue.")


def _refused(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        raise click.UsageError(f"litequeue has no {param.name}; leave --{param.name} out: any shell will do", ctx)


@click.command(cls=SectionedHelp)
@click.option("-I", "--ipython", "which", flag_value="ipython", cls=Option, help="Use IPython.")
@click.option("-B", "--bpython", "which", flag_value="bpython", cls=Option, help="Use bpython.")
@click.option("-P", "--python", "which", flag_value="python", cls=Option, help="Use Python's own shell.")
@click.option("-T", "--without-tasks", is_flag=True, cls=Option, help="Do not bind the names of the tasks.")
@click.option("--eventlet", is_flag=True, hidden=True, expose_value=False, callback=_refused)
@click.option("--gevent", is_flag=True, hidden=True, expose_value=False, callback=_refused)
@click.pass_obj
def shell(call: Invocation, which: str | None, without_tasks: bool) -> int:
    """Start a Python shell with the app, its tasks and the canvas at hand.

    The app is `app`, `celery` and `litequeue`; each task has the name of its function. Without an option: IPython or
    bpython where one is installed.

    Example: litequeue -A proj shell --python
    """
    app = call.load_tasks()
    names = namespace(app, without_tasks)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name, run in SHELLS.items():
        if which not in (None, name):
            continue
        try:
            shown = importlib.import_module(_MODULES[name])
        except ImportError:
            if which is not None:
                raise LiteQueueCommandException(
                    f"{which} is not installed here; install it, or leave --{which} out"
                ) from None
            continue
        try:
            run(shown, names, "" if call.quiet else _banner(app, names))
        except SystemExit as exc:
            return exc.code if isinstance(exc.code, int) else 0
        break
    return 0


def namespace(app: Any, without_tasks: bool = False) -> dict[str, Any]:
    """What the shell knows. A task does not hide what is bound in any case, and of two with one name the first counts:
    both are in `app.tasks`."""
    import litequeue

    names = {name: app for name in APP_NAMES} | {name: getattr(litequeue, name) for name in NAMES}
    if not without_tasks:
        for name, task in sorted(app.tasks.items()):
            if not name.startswith(_BUILTIN):
                names.setdefault(task.__name__, task)
    return names


def _banner(app: Any, names: dict[str, Any]) -> str:
    from litequeue import __version__

    tasks = ", ".join(name for name in names if name not in (*APP_NAMES, *NAMES)) or "none"
    return f"litequeue {__version__}, Python {sys.version.split()[0]}, {app!r}\nTasks: {tasks}"


def _ipython(module: Any, names: dict[str, Any], banner: str) -> None:
    if banner:
        click.echo(banner)
    module.start_ipython(argv=[], user_ns=names)


def _bpython(module: Any, names: dict[str, Any], banner: str) -> None:
    module.embed(names, args=[], banner=banner)


def _python(module: Any, names: dict[str, Any], banner: str) -> None:
    try:
        import readline
        import rlcompleter
    except ImportError:  # Windows
        pass
    else:
        readline.set_completer(rlcompleter.Completer(names).complete)
        readline.parse_and_bind("tab: complete")
    module.interact(banner=banner, local=names, exitmsg="")


SHELLS: Final[dict[str, Callable[[Any, dict[str, Any], str], None]]] = {
    "ipython": _ipython,
    "bpython": _bpython,
    "python": _python,
}
_MODULES: Final = {"ipython": "IPython", "bpython": "bpython", "python": "code"}
