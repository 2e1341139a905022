"""The commands that MongoDB gets."""

import threading

from pymongo.monitoring import CommandListener

from tests.support.threads import PATIENCE


class Listener(CommandListener):
    """Hears of commands when they are sent."""

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass


class Commands(Listener):
    """The names of the commands that MongoDB gets."""

    def __init__(self):
        self.names = []

    def started(self, event):
        self.names.append(event.command_name)


class Holding(Listener):
    """Holds commands of one name back before they are sent, in the threads that send them.

    It begins with ``hold()`` and ends with ``let_go()``; `held` is how many have been held since.
    """

    def __init__(self, name):
        self.name = name
        self.held = 0
        self.lock = threading.Lock()
        self.free = threading.Event()
        self.free.set()

    def started(self, event):
        if event.command_name == self.name and not self.free.is_set():
            with self.lock:
                self.held += 1
            self.free.wait(PATIENCE)

    def hold(self):
        self.held = 0
        self.free.clear()

    def let_go(self):
        self.free.set()
