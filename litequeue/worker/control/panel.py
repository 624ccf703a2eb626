"""The registry of commands, and how one is carried out."""

from __future__ import annotations

import difflib
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, NoReturn, TypeVar, overload

from litequeue.core.records import ProcessRecord
from litequeue.exceptions import LiteQueueError

if TYPE_CHECKING:
    from litequeue.store.contract import Store

logger = logging.getLogger("litequeue.worker")

Command = Callable[..., Any]
Function = TypeVar("Function", bound=Command)
Replies = dict[int, Any]
"""What each worker answers, by the number of its process."""

CONTROL: Final = "control"
INSPECT: Final = "inspect"


def ok(value: Any) -> dict[str, Any]:
    """The answer that a command was carried out."""
    return {"ok": value}


def nok(value: Any) -> dict[str, Any]:
    """The answer that it was not."""
    return {"error": value}


class Refused(Exception):
    """A command cannot be carried out as it was given."""

    def __init__(self, answer: str, error: Exception) -> None:
        """`answer` is what workers reply; `error` is raised at the caller where nobody replies."""
        super().__init__(answer)
        self.answer = answer
        self.error = error


def refuse(error: Exception) -> NoReturn:
    """Say that the command was wrong, and not that something went wrong in it."""
    raise Refused(repr(error), error) from None


class State:
    """What a command is given as its first argument."""

    def __init__(
        self, app: Any, store: Store, hostname: str, nodes: Sequence[ProcessRecord] = (), worker: Any = None
    ) -> None:
        self.app = app
        self.store = store
        """The queue in its file."""
        self.hostname = hostname
        """The node name of the worker."""
        self.nodes = nodes
        """The worker, or all that were asked, as they are registered in the file."""
        self.memory: dict[str, Any] = {}
        """What commands keep for one another, as long as the worker runs."""
        self._worker = worker

    @property
    def worker(self) -> Any:
        """The worker (`litequeue.worker.supervisor.Worker`) that carries out the command."""
        assert self._worker is not None, "only a command that runs in a worker asks for it"
        return self._worker

    @property
    def consumer(self) -> Any:
        """The worker, under the name by which Celery's commands reach it."""
        return self.worker

    @property
    def pool(self) -> Any:
        """The worker's pool. Its own thread works with it: hand what changes it to `state.worker.call(function)`."""
        return self.worker.pool

    def all(self, answer: Any) -> Replies:
        """The same answer from everybody who was asked."""
        return {node.id: answer for node in self.nodes}


class CommandInfo(NamedTuple):
    """What is known of a command beside its function."""

    alias: str | None
    type: str
    """`control`, for what changes something, or `inspect`."""
    visible: bool
    """Whether the command line lists it."""
    default_timeout: float
    """Seconds that the command line waits for answers."""
    help: str
    """One line."""
    signature: str | None
    """Its arguments, as the command line shows them."""
    args: Sequence[tuple[str, Callable[[str], Any]]] | None
    """Names and types of its arguments on the command line, in their order."""
    variadic: str | None
    """The argument that takes all the others of the command line, as a list."""
    group: str | None
    """The heading under which the command line lists it."""
    in_file: bool
    """Whether the file alone has all it needs, so that the caller carries it out, for all workers at once."""


class Panel:
    """Every command that this process knows."""

    data: ClassVar[dict[str, Command]] = {}
    """The functions by name, and by alias."""
    meta: ClassVar[dict[str, CommandInfo]] = {}
    """What is known of each, by name."""
    aliases: ClassVar[dict[str, str]] = {}

    @classmethod
    def register(cls, *args: Any, **options: Any) -> Any:
        """Register a function, or make a decorator that does."""
        if args:
            return cls._register(args[0], **options)
        return functools.partial(cls._register, **options)

    @classmethod
    def _register(
        cls,
        function: Function,
        *,
        name: str | None = None,
        alias: str | None = None,
        type: str = CONTROL,
        visible: bool = True,
        default_timeout: float = 1.0,
        help: str | None = None,
        signature: str | None = None,
        args: Sequence[tuple[str, Callable[[str], Any]]] | None = None,
        variadic: str | None = None,
        group: str | None = None,
        in_file: bool = False,
    ) -> Function:
        name = name or function.__name__
        help = help or (function.__doc__ or "").strip().partition("\n")[0]
        cls.data[name] = function
        cls.meta[name] = CommandInfo(
            alias, type, visible, default_timeout, help, signature, args, variadic, group, in_file
        )
        cls.aliases.pop(name, None)
        if alias:
            cls.data[alias] = function
            cls.aliases[alias] = name
        return function

    @classmethod
    def info(cls, name: str) -> CommandInfo | None:
        """What is known of the command `name`, which may be an alias; None: there is none."""
        return cls.meta.get(cls.aliases.get(name, name))

    @classmethod
    def unknown(cls, name: str) -> str:
        """The sentence for a name that is no command."""
        near = difflib.get_close_matches(name, cls.data, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(cls.meta))}."
        return f"no command {name!r}; {hint}"


@overload
def control_command(function: Function) -> Function: ...
@overload
def control_command(**options: Any) -> Callable[[Function], Function]: ...
def control_command(*args: Any, **options: Any) -> Any:
    """Make a command of a function: `@control_command(args=[("n", int)], signature="[N=1]")`.

    `name` is that of the function where it is not given, `help` the first line of its docstring. `args` are names and
    types of the arguments on the command line, `variadic` the name of the one that takes the rest of them, `signature`
    how they are shown; `visible=False` keeps it out of the list of commands, `group` is the heading there;
    `default_timeout` is how many seconds the command line waits for answers.
    """
    return Panel.register(*args, type=CONTROL, **options)


@overload
def inspect_command(function: Function) -> Function: ...
@overload
def inspect_command(**options: Any) -> Callable[[Function], Function]: ...
def inspect_command(*args: Any, **options: Any) -> Any:
    """`control_command`, for a command that changes nothing."""
    return Panel.register(*args, type=INSPECT, **options)


def carry_out(state: State, name: str, arguments: Mapping[str, Any]) -> Any:
    """What a worker answers to a command; what the command raises is an answer too, and in the log."""
    function = Panel.data.get(name)
    if function is None:
        sentence = Panel.unknown(name)
        logger.error("Remote control: %s", sentence)
        return nok(sentence)
    info = Panel.info(name)
    try:
        answer = function(state, **arguments)
        if info is not None and info.in_file:
            answer = next(iter(answer.values()), None)
    except Refused as refused:
        logger.error("Remote control: %s: %s", name, refused)
        return nok(refused.answer)
    except LiteQueueError as error:  # says by itself what is wrong
        logger.error("Remote control: %s: %s", name, error)
        return nok(repr(error))
    except Exception as error:
        logger.exception("Remote control: %s raised %r", name, error)
        return nok(repr(error))
    return answer
