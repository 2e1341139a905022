"""A clock that goes on when it is told to, for what counts the time of requests."""

import time

import pymongo

from hive import outcomes, pool, threads


class Clock:
    """Takes the place of `time` where hive and pymongo count the seconds of a request."""

    TICK = 1e-5
    """It goes on by so many seconds with each look at it, so that no time is up and yet not over."""

    sleep = staticmethod(time.sleep)

    def __init__(self, monkeypatch):
        self.now = time.monotonic()
        for module in (pool, threads, outcomes, pymongo._csot):
            monkeypatch.setattr(module, "time", self)

    def monotonic(self):
        self.now += self.TICK
        return self.now

    def go_on(self, seconds):
        self.now += seconds
