"""What every design is asked, and what it has to answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import load
from benchmarks.people import Values, moment, person, stored, typed

Key = str | None


@dataclass(frozen=True)
class Operation:
    """One request, of the document that was stored as the index-th, and has the key."""

    name: str
    scans: bool
    """Whether the embedded MongoDB looks at every document for it, where one of the designs asks."""
    request: Callable[[int, str], bytes]
    status: int
    expected: Callable[[int], Any]
    """The people in the answer: one, a list, or None where it has no body."""


class WrongAnswer(RuntimeError):
    """A design answers something else than the others."""


def new(index: int) -> Values:
    return person(index) | {"name": f"New {index}"}


def changes(index: int) -> Values:
    return {"age": 100 + index}


def changed(index: int) -> Values:
    return person(index) | changes(index)


def list_of(size: int) -> Operation:
    return Operation(
        f"list of {size}",
        True,
        lambda index, key: load.http("GET", f"/person?per_page={size}"),
        200,
        lambda index: [person(place) for place in range(size)],
    )


READ = Operation("read one", False, lambda index, key: load.http("GET", f"/person/{key}"), 200, person)
CREATE = Operation("create", False, lambda index, key: load.http("POST", "/person", new(index)), 201, new)
UPDATE = Operation(
    "update", True, lambda index, key: load.http("PATCH", f"/person/{key}", changes(index)), 200, changed
)
DELETE = Operation(
    "delete", False, lambda index, key: load.http("DELETE", f"/person/{key}"), 204, lambda index: None
)
# In this order nothing that one of them does changes the answer to another.
OPERATIONS = (list_of(20), list_of(100), READ, UPDATE, CREATE, DELETE)


def check(design: str, operation: Operation, port: int, uri: str, keys: Sequence[str]) -> None:
    """Ask once, about the last document. Raises `WrongAnswer`."""
    index = len(keys) - 1
    reply = load.ask(port, operation.request(index, keys[index]))
    where = f"{design}, {operation.name}"
    if reply.status != operation.status:
        raise WrongAnswer(f"{where}: {reply.status} {reply.body.decode()[:300]}")
    wanted = operation.expected(index)
    require(where, people_in(reply.json) if reply.body else None, plain(wanted))
    if not isinstance(wanted, list):
        kept = [typed(wanted)] if wanted else []
        require(f"{where}, in MongoDB", stored(uri, (wanted or person(index))["name"]), kept)


def require(where: str, given: Any, wanted: Any) -> None:
    if given != wanted:
        raise WrongAnswer(f"{where}: {str(given)[:500]} is not {str(wanted)[:500]}")


def people_in(answer: Any) -> Any:
    """What an answer tells of people, whatever its design puts around them."""
    if isinstance(answer, dict):
        for name in ("_items", "results"):  # of Eve, and of Django REST framework
            if name in answer:
                return people_in(answer[name])
        if not (answer.get("id") or answer.get("_id")):
            raise WrongAnswer(f"No id in {answer!r}")
    return plain(answer)


def plain(answer: Any) -> Any:
    """The fields that all designs have, with times as times."""
    if isinstance(answer, list):
        return [plain(item) for item in answer]
    if answer is None:
        return None
    return {name: answer.get(name) for name in person(0)} | {"born": moment(answer["born"])}
