"""What several tests send, and what they see of what is sent to MongoDB."""

import threading

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


def at_once(requests):
    """The answers to requests that are sent at the same time, each by a client of its own."""
    barrier, replies = threading.Barrier(len(requests)), [None] * len(requests)

    def send(index, request):
        barrier.wait()
        replies[index] = request()

    threads = [threading.Thread(target=send, args=pair) for pair in enumerate(requests)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies
