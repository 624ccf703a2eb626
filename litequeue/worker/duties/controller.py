"""Carries out what the worker is told: commands, and the ends of running tasks that were revoked."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from litequeue import exceptions
from litequeue.core import json_codec, process
from litequeue.core.records import NewProcess
from litequeue.worker.control import State, carry_out, nok
from litequeue.worker.duties import Duty

if TYPE_CHECKING:
    from litequeue.core.steering import Command
    from litequeue.worker.supervisor import Worker

logger = logging.getLogger("litequeue.worker")

ROLE: Final = "control"
"""The role of the part of a worker that is woken when there is something for it to do."""
LOOK: Final = 1.0
"""Seconds between looks at the file where no wake-up arrives."""
PATIENCE: Final = 5.0
"""Seconds that the end of a worker waits for a command of a program's own."""


class Controller(Duty):
    """A part of the worker with a process row, and so a port, of its own: it hears of commands while all slots work.

    Without `worker_enable_remote_control` it carries out no commands; what is in the file it obeys all the same.
    """

    name = "control"

    def __init__(self, worker: Worker) -> None:
        super().__init__(interval=0)
        self._worker = worker
        self._store = worker.runtime.store
        self._obeys = worker.options.remote_control
        self._channel = self._store.open_channel()
        self._interrupt, self._interrupter = socket.socketpair()
        self._holder = 0
        self._seen = 0
        self._changes = -1
        self._state = State(worker.runtime.app, self._store, worker.options.node, worker=worker)

    def start(self, on_lost: Callable[[str], None]) -> None:
        """Register, so that commands are sent here from now on, and carry them out until stopped."""
        self._seen = self._store.last_command()  # those before were not meant for this worker
        self._holder = self._store.register(
            NewProcess(
                worker=self._worker.options.node,
                role=ROLE,
                parent=self._worker.holder,
                identity=process.current(),
                queues=(),
                info={"commands": self._obeys},
            ),
            self._channel,
        )
        super().start(on_lost)

    def stop(self) -> None:
        """End, after the command that is being carried out; one that takes its time is left behind."""
        self._stop.set()
        with suppress(OSError):
            self._interrupter.send(b"!")
        if self._thread is not None:
            self._thread.join(PATIENCE)
            if self._thread.is_alive():
                logger.warning("Remote control: a command is still being carried out; the worker stops without it")
        if self._holder:
            with suppress(exceptions.OperationalError):  # whoever looks next sees that this process is gone
                self._store.deregister(self._holder)
        if self._thread is None or not self._thread.is_alive():
            self._channel.close()
            self._interrupt.close()
            self._interrupter.close()

    def run_once(self) -> None:
        """Wait for something to do, and do it."""
        woken = self._store.wait_for_work(self._channel, LOOK, self._interrupt)
        while woken and self._store.wait_for_work(self._channel, 0):
            pass  # many commands are one reason to look
        changes = self._store.changes()
        if self._stop.is_set() or (changes == self._changes and not woken):
            return
        self._changes = changes
        self._worker.terminate_revoked()
        for command in self._store.commands(self._worker.options.node, self._seen) if self._obeys else ():
            self._seen = command.id
            self._carry_out(command)
            self._worker.terminate_revoked()  # a command may take its time

    def _carry_out(self, command: Command) -> None:
        logger.debug("Remote control: %s%s", command.name, command.arguments)
        stops: BaseException | None = None
        try:
            answer = self._answer(command)
        except BaseException as error:  # no command ends this thread, whatever it raises
            answer, stops = nok(repr(error)), error
        try:
            text = json_codec.dumps(answer, "the answer")
        except exceptions.EncodeError as error:
            logger.error("Remote control: %s: %s", command.name, error)
            text = json_codec.dumps(nok(repr(error)))
        self._store.reply(command, self._worker.holder, self._worker.options.node, text)
        if isinstance(stops, exceptions.WorkerShutdown | exceptions.WorkerTerminate):
            self._worker.stop(warm=isinstance(stops, exceptions.WorkerShutdown), timeout=0)

    def _answer(self, command: Command) -> Any:
        try:
            arguments = json_codec.loads(command.arguments)
            if not isinstance(arguments, dict):
                raise exceptions.DecodeError("they are no object")
        except exceptions.DecodeError as error:  # a row that somebody else wrote
            logger.error("Remote control: %s: the arguments cannot be read: %s", command.name, error)
            return nok(repr(error))
        self._state.nodes = [record for record in self._store.processes() if record.id == self._worker.holder]
        return carry_out(self._state, command.name, arguments)
