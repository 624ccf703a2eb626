"""`litequeue service`: what a system's service manager has to be told so that it keeps a worker running."""

from __future__ import annotations

import copy
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import click

from litequeue.cli.invocation import Invocation
from litequeue.cli.options import POSITIVE, Option, SectionedHelp
from litequeue.cli.worker import worker

_NOT_IN_A_SERVICE: Final = frozenset({"detach", "uid", "gid", "umask", "executable"})
_HANDED_ON: Final = {"app_spec": "-A", "broker": "-b", "result_backend": "--result-backend", "config": "--config"}
_NAME: Final = re.compile(r"[^A-Za-z0-9_.@-]+")
_QUIET: Final = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")  # what needs no quotes in a unit file


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What is to be run, and how."""

    name: str
    app: str
    user: str | None
    """As whom, where it belongs to the system; None: it belongs to the user who installs it."""
    folder: str
    command: tuple[str, ...]
    stop_timeout: int
    """Seconds."""

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return f"litequeue worker of {self.app}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """The text of one service manager."""

    path: str
    """Where it belongs."""
    text: str
    install: tuple[str, ...]
    """The commands that install it, once it is there."""


class ServiceCommand(SectionedHelp):
    """Takes every option of the worker too, and keeps what was given of them as it was written."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse twice: once for the words as they were written."""
        given, _, _ = self.make_parser(ctx).parse_args(list(args)) if not ctx.resilient_parsing else ({}, [], [])
        ctx.meta[__name__] = given
        return super().parse_args(ctx, args)


def _worker_options() -> list[click.Parameter]:
    """Hidden copies of the worker's options."""
    found: list[click.Parameter] = []
    for param in worker.params:
        if isinstance(param, click.Option) and param.expose_value and param.name not in _NOT_IN_A_SERVICE:
            option = copy.copy(param)
            option.hidden, option.allow_from_autoenv, option.expose_value = True, False, False
            found.append(option)
    return found


def default_kind(platform: str = sys.platform) -> str:
    """The service manager of the system."""
    return {"darwin": "launchd", "win32": "windows"}.get(platform, "systemd")


@click.command(cls=ServiceCommand, params=_worker_options())
@click.argument("words", nargs=-1, metavar="[systemd|launchd|windows] [SETTING=VALUE]...")
@click.option(
    "--user/--system", "of_user", cls=Option, default=True, help="Whose it is: yours (default), or the system's."
)
@click.option("--name", cls=Option, metavar="NAME", help="What it is called; default: the app's name and -worker.")
@click.option("--run-as", cls=Option, metavar="USER", help="With --system: the user it runs as; default: you.")
@click.option(
    "--stop-timeout",
    cls=Option,
    type=POSITIVE,
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How long a stop may take: longer than your longest task.",
)
@click.pass_context
def service(
    ctx: click.Context, words: tuple[str, ...], of_user: bool, name: str | None, run_as: str | None, stop_timeout: int
) -> int:
    """Print the text that makes a service of a worker: a systemd unit, a launchd plist, or a Windows task.

    Every option of `litequeue worker` may be given, and goes into it. Without a word it is for the system this runs on.
    The commands that install it stand at its top.

    Example: litequeue -A proj service systemd -c 4 -Q mail > ~/.config/systemd/user/proj-worker.service
    """
    call = ctx.ensure_object(Invocation)
    kind, assignments = (words[0], words[1:]) if words and "=" not in words[0] else (default_kind(), words)
    if kind not in KINDS:
        raise click.UsageError(f"no kind of service {kind!r}; there are: {', '.join(KINDS)}.", ctx)
    if call.app_spec is None:
        raise click.UsageError("no app given; write `litequeue -A proj service`", ctx)
    if run_as is not None and of_user:
        raise click.UsageError("--run-as belongs to --system; a service of yours runs as you", ctx)
    folder = os.path.abspath(os.path.expanduser(call.workdir or "."))
    made = Service(
        name=_NAME.sub("-", name or f"{call.app_spec.partition(':')[0]}-worker"),
        app=call.app_spec,
        user=None if of_user else run_as or _me(),
        folder=folder,
        command=(*_program(call, folder), "worker", *_written(ctx), *assignments),
        stop_timeout=stop_timeout,
    )
    unit = KINDS[kind](made)
    if call.as_json:
        scope = "user" if of_user else "system"
        described = {"kind": kind, "scope": scope, "name": made.name, "command": made.command}
        call.print_json({**described, "path": unit.path, "install": unit.install, "text": unit.text})
    else:
        click.echo(unit.text, nl=False)
    return 0


def _me() -> str:
    import getpass

    return getpass.getuser()


def _program(call: Invocation, folder: str) -> list[str]:
    """The Python in use, litequeue, and the global options."""
    words = [os.path.abspath(sys.executable), "-m", "litequeue"]
    for field, flag in _HANDED_ON.items():
        value = getattr(call, field)
        if value is None:
            continue
        if flag == "-b" and "://" not in value and value != ":memory:":
            value = os.path.join(folder, os.path.expanduser(value))
        words += [flag, value] if len(flag) == 2 else [f"{flag}={value}"]
    return words


def _written(ctx: click.Context) -> list[str]:
    """The worker's options that were given, each by its long name."""
    given, words = ctx.meta[__name__], []
    for option in worker.params:
        if not isinstance(option, click.Option) or option.name not in given or option.name in _NOT_IN_A_SERVICE:
            continue
        if not option.expose_value:  # a global option, which has its place, or one that has no effect
            continue
        value, flag = given[option.name], _longest(option.opts)
        if option.is_flag:
            words.append(flag if value else _longest(option.secondary_opts))
        else:
            words += [f"{flag}={one}" for one in (value if option.multiple else [value])]
    return words


def _longest(flags: list[str]) -> str:
    return next(flag for flag in flags if flag.startswith("--"))


# systemd


def systemd(service: Service) -> Unit:
    """A unit file."""
    of_user = service.user is None
    file = f"{service.name}.service"
    path = f"~/.config/systemd/user/{file}" if of_user else f"/etc/systemd/system/{file}"
    systemctl = "systemctl --user" if of_user else "systemctl"
    install = [f"{systemctl} daemon-reload", f"{systemctl} enable --now {service.name}"]
    if of_user:
        install.append("loginctl enable-linger")
    log = f"journalctl {'--user ' if of_user else ''}-u {service.name} -f"
    lines = [
        f"# Save this as {path}, then:",
        *(f"#   {line}" for line in install),
        *(["# The last one keeps it running while you are not logged in."] if of_user else []),
        f"# Its log: {log}",
        "",
        "[Unit]",
        f"Description={_plain(service.title)}",
        "",
        "[Service]",
        "Type=exec",
        *([] if of_user else [f"User={service.user}"]),
        f"WorkingDirectory={_plain(service.folder)}",
        f"ExecStart={' '.join(map(_systemd_word, service.command))}",
        "# Only the worker itself is told to stop: it finishes what runs, gives the rest back, and ends its children.",
        "KillMode=mixed",
        "KillSignal=SIGTERM",
        "# Longer than the longest task. What is killed after that is run again by the next worker.",
        f"TimeoutStopSec={service.stop_timeout}",
        "Restart=on-failure",
        "RestartSec=5",
        "# A command line that cannot be understood does not get better.",
        "RestartPreventExitStatus=2",
        "",
        "[Install]",
        f"WantedBy={'default.target' if of_user else 'multi-user.target'}",
    ]
    return Unit(path=path, text="\n".join(lines) + "\n", install=tuple(install))


def _plain(text: str) -> str:
    return text.replace("%", "%%")


def _systemd_word(word: str) -> str:
    """One word of a command, so that systemd changes nothing in it."""
    word = word.replace("%", "%%").replace("$", "$$")
    if _QUIET.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


# launchd


def launchd(service: Service) -> Unit:
    """A property list."""
    import plistlib

    of_user = service.user is None
    file = f"{service.name}.plist"
    path = f"~/Library/LaunchAgents/{file}" if of_user else f"/Library/LaunchDaemons/{file}"
    domain = "gui/$(id -u)" if of_user else "system"
    log = os.path.expanduser(f"~/Library/Logs/{service.name}.log") if of_user else f"/var/log/{service.name}.log"
    content: dict[str, Any] = {
        "Label": service.name,
        "ProgramArguments": list(service.command),
        "WorkingDirectory": service.folder,
        "RunAtLoad": True,
        # Started again after a failure, not after a stop that was asked for.
        "KeepAlive": {"SuccessfulExit": False},
        # launchd sends SIGTERM, and SIGKILL so many seconds later.
        "ExitTimeOut": service.stop_timeout,
        "StandardErrorPath": log,
        "ProcessType": "Adaptive",
    }
    if not of_user:
        content["UserName"] = service.user
    sudo = "" if of_user else "sudo "
    install = (f"{sudo}launchctl bootstrap {domain} {path}",)
    comment = [
        f"Save this as {path}, then:",
        f"  {install[0]}",
        f"To stop it: {sudo}launchctl bootout {domain}/{service.name}",
        f"Its log: {log}",
    ]
    text = plistlib.dumps(content, sort_keys=False).decode("utf-8")
    return Unit(path=path, text=_with_comment(text, "<plist", comment), install=install)


def _with_comment(text: str, before: str, lines: list[str]) -> str:
    """An XML text with a comment before its first element."""
    inner = "\n".join(f"  {line.replace('--', '- -')}" for line in lines)  # a comment may not hold two dashes
    return text.replace(before, f"<!--\n{inner}\n-->\n{before}", 1)


# Windows


_TASK: Final = """\
<?xml version="1.0"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>{title}</Description>
  </RegistrationInfo>
  <Triggers>
    <{trigger}>
      <Enabled>true</Enabled>
    </{trigger}>
  </Triggers>
  <Principals>
    <Principal id="Author">{whose}
      <LogonType>{logon}</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <RestartOnFailure>
      <Interval>PT1M</Interval>
      <Count>999</Count>
    </RestartOnFailure>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Enabled>true</Enabled>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{program}</Command>
      <Arguments>{arguments}</Arguments>
      <WorkingDirectory>{folder}</WorkingDirectory>
    </Exec>
  </Actions>
</Task>
"""


def windows(service: Service) -> Unit:
    """A task of the Task Scheduler."""
    from subprocess import list2cmdline
    from xml.sax.saxutils import escape

    path = f"{service.name}.xml"
    install = (f'schtasks /Create /TN "{service.name}" /XML "{path}"', f'schtasks /Run /TN "{service.name}"')
    of_user = service.user is None
    text = _TASK.format(
        title=escape(service.title),
        trigger="LogonTrigger" if of_user else "BootTrigger",
        whose="" if of_user else f"\n      <UserId>{escape(str(service.user))}</UserId>",
        logon="InteractiveToken" if of_user else "S4U",
        program=escape(service.command[0]),
        arguments=escape(list2cmdline(service.command[1:])),
        folder=escape(service.folder),
    )
    comment = [
        f"Save this as {path}, then:",
        *(f"  {line}" for line in install),
        "The Task Scheduler ends a process at once. To stop the worker after what it runs:",
        f"  litequeue -A {service.app} control shutdown",
    ]
    # Characters beyond ASCII by their numbers: right in whatever encoding the shell saves it.
    ascii_only = _with_comment(text, "<Task ", comment).encode("ascii", "xmlcharrefreplace").decode("ascii")
    return Unit(path=path, text=ascii_only, install=install)


KINDS: Final[dict[str, Callable[[Service], Unit]]] = {"systemd": systemd, "launchd": launchd, "windows": windows}
