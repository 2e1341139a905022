"""The commands that MongoDB gets."""

from pymongo.monitoring import CommandListener


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
