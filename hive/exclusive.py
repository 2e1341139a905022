"""One operation at a time, in whatever thread, with room for what garbage collection wants in its midst."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

logger = logging.getLogger("hive")
T = TypeVar("T")


class Exclusive:
    """A lock that knows what to do where its own thread wants it again: later.

    Garbage collection may come in the midst of an operation, and the ``__del__`` or the weak reference that
    it calls may ask for another. That one waits for the end of the first, and is told None.
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
                self._is_busy = True
                try:
                    self._run_waiting()
                    return operation()
                finally:
                    self._is_busy = False
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
                self._is_busy = True
                self._run_waiting()
                self._is_busy = False
            finally:
                self._lock.release()

    def _run_waiting(self) -> None:
        while self._waiting:
            try:
                self._waiting.popleft()()
            except Exception:
                logger.exception("What was asked for during garbage collection failed")
