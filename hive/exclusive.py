"""One operation at a time, in whatever thread, with room for what garbage collection wants in its midst."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

logger = logging.getLogger("hive")
T = TypeVar("T")


class Exclusive:
    """A lock that garbage collection cannot make wait for itself.

    It may come in the midst of an operation, and the ``__del__`` or the weak reference that it calls may ask
    for another. That one runs after the first, and is told None.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._is_busy = False
        self._waiting: deque[Callable[[], Any]] = deque()

    def __call__(self, operation: Callable[[], T]) -> T | None:
        """Run it when all others have ended. What it raises comes out here, unless it had to wait."""
        try:
            with self._lock:
                if self._is_busy:
                    self._waiting.append(operation)
                    return None
                with self._alone():
                    return operation()
        finally:
            self._let_in()

    def soon(self, operation: Callable[[], Any]) -> None:
        """Run it now, or let whoever is at it run it: never wait, for who calls may hold any other lock."""
        self._waiting.append(operation)
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._lock.acquire(blocking=False):
            try:
                if self._is_busy:  # garbage collection came in the midst of one, whose end comes here again
                    return
                with self._alone():
                    pass
            finally:
                self._lock.release()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """A block that nobody interrupts, after those that wait."""
        self._is_busy = True
        try:
            while self._waiting:
                run(self._waiting.popleft())
            yield
        finally:
            self._is_busy = False


def run(operation: Callable[[], Any]) -> None:
    try:
        operation()
    except Exception:
        logger.exception("What was asked for during garbage collection failed")
