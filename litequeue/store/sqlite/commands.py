"""Commands to workers, and their answers.

A command is a row. Each worker remembers the number of the last one that it has looked at, beginning with the highest
at its start, so that it carries out each at most once, and none that is older than itself.
"""

from __future__ import annotations

import json

from litequeue.core import clock
from litequeue.core.records import NORMAL
from litequeue.core.steering import Command, NewCommand, Reply
from litequeue.store.sqlite.engine import fetch
from litequeue.store.sqlite.release import Releasing


class Commands(Releasing):
    """The verbs of `contract.Controller` that are about commands.

    None of them syncs the disk: a power cut ends the workers with the commands to them.
    """

    _SEND = """
        INSERT INTO litequeue_commands (name, arguments, destination, reply_port, sent_at, expires_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?5 + ?6)
    """
    _DROP_COMMANDS = "DELETE FROM litequeue_commands WHERE expires_at <= ?"
    _DROP_REPLIES = "DELETE FROM litequeue_replies WHERE command NOT IN (SELECT id FROM litequeue_commands)"

    def send_command(self, command: NewCommand) -> int:
        """Write a command, wake who carries it out, and return its number."""
        now = clock.now()
        destination = None if command.destination is None else json.dumps(command.destination)
        row = (command.name, command.arguments, destination, command.reply_port, now, command.lifetime)
        with self._database.write(NORMAL) as connection:
            connection.execute(self._DROP_COMMANDS, (now,))
            if connection.changes():
                connection.execute(self._DROP_REPLIES)
            connection.execute(self._SEND, row)
            number = connection.last_insert_rowid()
            ports = self._control_ports(connection)
        self._sender.send_all(ports)
        return number

    _COMMANDS = """
        SELECT id, name, arguments, reply_port FROM litequeue_commands
        WHERE id > ?2 AND expires_at > ?3
        AND (destination IS NULL
            OR json_valid(destination) AND EXISTS (SELECT 1 FROM json_each(destination) WHERE value = ?1))
        ORDER BY id
    """

    def commands(self, worker: str, after: int) -> list[Command]:
        """The commands to the node `worker` with numbers above `after` that are still to be carried out."""
        with self._database.read() as connection:
            return [Command._make(row) for row in fetch(connection, self._COMMANDS, (worker, after, clock.now()))]

    _LAST_COMMAND = "SELECT seq FROM sqlite_sequence WHERE name = 'litequeue_commands'"

    def last_command(self) -> int:
        """The highest number of a command so far."""
        with self._database.read() as connection:
            return connection.execute(self._LAST_COMMAND).get or 0

    # A second answer of one worker to one command takes the place of the first; one to a command that has been deleted
    # is not kept.
    _REPLY = """
        INSERT OR REPLACE INTO litequeue_replies (command, process, worker, reply, replied_at)
        SELECT id, ?2, ?3, ?4, ?5 FROM litequeue_commands WHERE id = ?1
    """

    def reply(self, command: Command, process_id: int, worker: str, reply: str) -> None:
        """Write a worker's answer, and wake who asked."""
        with self._database.write(NORMAL) as connection:
            connection.execute(self._REPLY, (command.id, process_id, worker, reply, clock.now()))
        if command.reply_port is not None:
            self._sender.send(command.reply_port)

    _REPLIES = "SELECT process, worker, reply FROM litequeue_replies WHERE command = ? ORDER BY replied_at, process"

    def replies(self, command_id: int) -> list[Reply]:
        """The answers so far, oldest first."""
        with self._database.read() as connection:
            return [Reply._make(row) for row in fetch(connection, self._REPLIES, (command_id,))]
