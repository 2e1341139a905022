"""A proxy in front of the embedded server that answers as a mongod of a replica set does, or a mongos.

SecantusDB 0.7 does a write twice that a driver retries, and allows in transactions what mongod refuses. The
proxy does neither, and it fails on request. Beside each behaviour stands its source: a page of MongoDB's
manual, or a driver specification (github.com/mongodb/specifications).
"""

import socket
import struct
import threading
from collections import defaultdict
from contextlib import closing, suppress

import bson
from pymongo.uri_parser import parse_uri

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
MORE_TO_COME = 2
ENDS = ("commitTransaction", "abortTransaction")
RESTRICTED = ("count", "listCollections", "listIndexes", "killSessions")
"""Source: manual, "Transactions and Operations", "Restricted Operations". ``createIndexes`` is restricted to
collections that the transaction has created."""
GREETINGS = ("hello", "isMaster", "ismaster")
OF_REPLICA_SETS = (
    "arbiters", "electionId", "hosts", "lastWrite", "me", "passives", "primary", "secondary", "setName",
    "setVersion",
)  # fmt: skip


def forward(name, command):
    """What the proxy does with every command, unless a test says otherwise."""
    return "forward"


def once(command, action):
    """A rule that takes an action at the first command of this name."""
    left = [action]

    def rule(name, _):
        return left.pop() if name == command and left else "forward"

    return rule


def always(command, action):
    """A rule that takes an action at every command of this name."""
    return lambda name, _: action if name == command else "forward"


def then_nothing(command, action):
    """A rule that takes an action at the first command of this name, and lets nothing through after it."""
    state = ["forward"]

    def rule(name, _):
        if name == command and state[0] == "forward":
            state[0] = "swallow"
            return action
        return state[0]

    return rule


class Refusal(dict):
    """The answer to a command that is not done."""


def refusal(code, *labels, name="Error", message="refused"):
    """The action that refuses a command with an error code and error labels."""
    answer = {"ok": 0.0, "code": code, "codeName": name, "errmsg": message}
    return Refusal(answer | ({"errorLabels": list(labels)} if labels else {}))


class Mongod:
    """The proxy. `rule(name, command)` gives the action that it takes at a command:

    forward     the command is answered
    lose        it is done, and then the connection ends
    hold        it is done, and nothing comes back
    cut         it does not arrive, for the connection ends
    swallow     it does not arrive, and nothing comes back
    a dict      it is done, and these members are put into the answer
    a Refusal   it is not done, and this is the answer

    `seen` has the name of each command and the action, `commands` the commands. `is_sharded` makes it a
    mongos; `kills_sessions` says whether it takes ``killSessions``, `undoes` whether it undoes a transaction
    that is aborted.
    """

    def __init__(self, uri, *, is_sharded=False, kills_sessions=True, undoes=True):
        self.address = parse_uri(uri)["nodelist"][0]
        self.rule = forward
        self.is_sharded, self.kills_sessions, self.undoes = is_sharded, kills_sessions, undoes
        self.seen, self.commands = [], []
        self.connections, self.lock = [], threading.Lock()
        self.sessions = defaultdict(threading.Lock)
        self.answers = {}  # to retryable writes, by session and number
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def uri(self):
        return f"mongodb://127.0.0.1:{self.port}/?serverMonitoringMode=poll"

    def accept(self):
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                with self.lock:
                    self.connections.append(client)
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with suppress(OSError), closing(client), socket.create_connection(self.address) as server:
            while (message := received(client)) is not None:
                if not self.pass_on(message, client, server):
                    return

    def pass_on(self, message, client, server):
        """Take the action for one message. Return whether the connection goes on."""
        name, command = command_in(message)
        with self.lock:
            action = self.rule(name, command)
            self.seen.append((name, action))
            self.commands.append(command)
        if action == "cut":
            return False
        if action == "swallow":
            return True
        if isinstance(action, Refusal):
            client.sendall(reply_to(message, action))
            return True
        answer = self.answer(message, name, command, server)
        if answer is None or action == "lose":
            return False
        if isinstance(action, dict):
            answer = with_members(answer, action)
        if action != "hold":
            client.sendall(answer)
        return True

    def answer(self, message, name, command, server):
        """The server's answer to a message, b"" where none is to come, None where the server is gone."""
        refused = self.refused(name, command)
        if refused is not None:
            return reply_to(message, refused)
        number = command.get("txnNumber")
        if number is None or "autocommit" in command:
            return self.exchange(message, name, command, server)
        # A retryable write of one session and number is done once; who sends it again, gets the same answer.
        # A session is at one command at a time. Source: specification retryable-writes, "Terms".
        session = bytes(command["lsid"]["id"])
        with self.lock:
            turn = self.sessions[session]
        with turn:
            if (session, number) not in self.answers:
                self.answers[session, number] = self.exchange(message, name, command, server)
            answer = self.answers[session, number]
        return answer and answer[:8] + message[4:8] + answer[12:]

    def refused(self, name, command):
        """What mongod says of a command that it refuses, None of one that it does."""
        if name == "killSessions" and not self.kills_sessions:
            # Manual, "Unsupported Commands in Atlas Free and Flex Clusters".
            return refusal(8000, name="AtlasError", message="killSessions is not allowed")
        if "autocommit" not in command or not self.undoes:
            return None
        is_restricted = name in RESTRICTED or (
            name == "createIndexes" and self.has(command["$db"], command[name])
        )
        if is_restricted:
            return refusal(263, name="OperationNotSupportedInTransaction")
        reason = invalid_in_transaction(name, command)
        return reason and refusal(72, name="InvalidOptions", message=reason)

    def has(self, database, collection):
        """Whether there is a collection."""
        with socket.create_connection(self.address) as server:
            asked = {"listCollections": 1, "filter": {"name": collection}, "$db": database}
            server.sendall(request(asked))
            return bool(body_of(received(server))["cursor"]["firstBatch"])

    def exchange(self, message, name, command, server):
        """Send a message to the server, as it would stand a mongod or a mongos, and return the answer."""
        if "autocommit" in command and not self.undoes:
            if name in ENDS:
                return reply_to(message, {"ok": 1.0})
            dropped = ("autocommit", "startTransaction", "txnNumber", "readConcern")
            message = with_body(message, {key: command[key] for key in command if key not in dropped})
        elif "autocommit" in command:
            # Manual, "Transactions": an error aborts it, so that no insertion follows the first error.
            changes = {"ordered": True} if name == "insert" else {}
            body = {key: value for key, value in command.items() if key != "recoveryToken"}
            message = with_body(message, body | changes)
        server.sendall(message)
        if struct.unpack_from("<i", message, 12)[0] == OP_MSG and message[16] & MORE_TO_COME:
            return b""
        answer = received(server)
        if answer is not None and name in GREETINGS:
            return self.introduced(answer)
        if answer is not None and self.is_sharded and "autocommit" in command:
            # Specification transactions, "recoveryToken": the commit sends it back.
            return with_members(answer, {"recoveryToken": {"recoveryShardId": "shard"}})
        return answer

    def introduced(self, answer):
        """The greeting of a server at the address of the proxy: the primary of a replica set, or a mongos.

        Source: specification server-discovery-and-monitoring.
        """
        start = 36 if struct.unpack_from("<i", answer, 12)[0] == OP_REPLY else 21
        size = struct.unpack_from("<i", answer, start)[0]
        greeting, own = bson.decode(answer[start : start + size]), f"127.0.0.1:{self.port}"
        if self.is_sharded:
            greeting = {key: greeting[key] for key in greeting if key not in OF_REPLICA_SETS}
            greeting["msg"] = "isdbgrid"
        else:
            greeting |= {"hosts": [own], "me": own, "primary": own}
        data = answer[4:start] + bson.encode(greeting) + answer[start + size :]
        return struct.pack("<i", 4 + len(data)) + data

    def close(self):
        """End. Who waits for an answer learns that there will be none."""
        self.rule = forward
        self.listener.close()
        with self.lock:
            for client in self.connections:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)


def invalid_in_transaction(name, command):
    """Why mongod does not take the options of a command in a transaction, None where it does."""
    if "writeConcern" in command and name not in ENDS:
        # Manual, "Transactions and Write Concern"; specification transactions, "writeConcern".
        return "writeConcern is not allowed within a multi-statement transaction"
    if "readConcern" in command and not command.get("startTransaction"):
        # Manual, "Transactions and Read Concern": it is that of the transaction.
        return "Only the first command in a transaction may specify a readConcern"
    if command.get("$readPreference", {}).get("mode", "primary") != "primary":
        # Manual, "Transactions and Read Preference".
        return "Read preference in a transaction must be primary"
    return None


def received(connection):
    """The next message of MongoDB's wire protocol, None at the end of the connection."""
    head = exactly(connection, 4)
    if head is None:
        return None
    rest = exactly(connection, struct.unpack("<i", head)[0] - 4)
    return None if rest is None else head + rest


def exactly(connection, size):
    data = bytearray()
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            return None
        data += more
    return bytes(data)


def command_in(message):
    """The name of the command in a message, and the command without its sequences of documents."""
    if struct.unpack_from("<i", message, 12)[0] != OP_MSG:
        return "hello", {}
    command = body_of(message)
    return next(iter(command)), command


def body_of(message):
    size = struct.unpack_from("<i", message, 21)[0]
    return bson.decode(message[21 : 21 + size])


def with_body(message, body):
    """The same message with another body; its sequences of documents stay."""
    size = struct.unpack_from("<i", message, 21)[0]
    data = message[4:21] + bson.encode(body) + message[21 + size :]
    return struct.pack("<i", 4 + len(data)) + data


def with_members(message, members):
    """The answer that MongoDB gave, changed."""
    return with_body(message, body_of(message) | members)


def request(body):
    data = struct.pack("<iiiIB", 1, 0, OP_MSG, 0, 0) + bson.encode(body)
    return struct.pack("<i", 4 + len(data)) + data


def reply_to(message, body):
    identifier = struct.unpack_from("<i", message, 4)[0]
    data = struct.pack("<iiiIB", 1, identifier, OP_MSG, 0, 0) + bson.encode(body)
    return struct.pack("<i", 4 + len(data)) + data
