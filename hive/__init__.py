"""hive turns mongoengine documents into a REST API for Tornado, and sends signals around every HTTP verb."""

from hive import plugins, signals
from hive.current import context
from hive.errors import Problem
from hive.handlers import ModelHandler
from hive.routing import ModelHive, flatten
from hive.serving import NotFoundHandler

__all__ = [
    "ModelHandler",
    "ModelHive",
    "NotFoundHandler",
    "Problem",
    "context",
    "flatten",
    "plugins",
    "signals",
]
