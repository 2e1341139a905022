"""One operation at a time, in whatever thread, with room for what garbage collection wants in its midst."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

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
        with self._lock:
            if self._is_busy:
                self._waiting.append(operation)
                return None
            self._is_busy = True
            try:
                return operation()
            finally:
                self._let_in()

    def _let_in(self) -> None:
        while self._is_busy:
            while self._waiting:
                self._waiting.popleft()()
            self._is_busy = False
            if self._waiting:  # by one that came before the line above
                self._is_busy = True
