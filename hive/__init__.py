"""hive turns mongoengine documents into a REST API for Tornado, and sends signals around every HTTP verb."""

from hive import signals
from hive.errors import Problem
from hive.exchange import NotFoundHandler
from hive.handlers import ModelHandler
from hive.routing import ModelHive, flatten

__all__ = ["ModelHandler", "ModelHive", "NotFoundHandler", "Problem", "flatten", "signals"]
