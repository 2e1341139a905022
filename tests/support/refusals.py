"""What every refused request must answer, and what the server answers to bytes."""

import http.client
import socket

from tests.support.threads import PATIENCE

INTERNALS = (b"Traceback", b"mongo", b"bson", b"<html", b'File "', b"int_max", b"object at 0x")


def refused(reply, status=400):
    """The problem of a refused request, which tells nothing of what the server is made of."""
    assert reply.status == status, (reply.status, reply.body[:500])
    assert reply.headers["Content-Type"] == "application/problem+json"
    problem = reply.json
    assert problem["type"] == "about:blank"
    assert problem["status"] == status
    assert problem["title"] == http.client.responses[status]
    assert isinstance(problem["detail"], str)
    assert all(error.keys() == {"field", "message"} for error in problem.get("errors", []))
    assert not any(word in reply.body for word in INTERNALS)
    return problem


def talk(client, *chunks, ends=False):
    """All that the server answers to these bytes until it closes the connection.

    With `ends`, the client sends no more, and says so.
    """
    answer = b""
    with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) as connection:
        for chunk in chunks:
            connection.sendall(chunk)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        while received := connection.recv(65536):
            answer += received
    return answer
