"""hive turns mongoengine documents into a REST API for Tornado, and sends signals around every HTTP verb."""

from hive import permissions, plugins, signals
from hive.auth.google import GoogleProvider
from hive.auth.openid import OpenIDProvider
from hive.auth.provider import Provider
from hive.authhive import AuthHive, authenticated
from hive.current import context
from hive.errors import Problem
from hive.handlers import ModelHandler
from hive.routing import ModelHive, flatten
from hive.saving import delete, save
from hive.server import HTTPServer, run
from hive.serving import NotFoundHandler

__all__ = [
    "AuthHive",
    "GoogleProvider",
    "HTTPServer",
    "ModelHandler",
    "ModelHive",
    "NotFoundHandler",
    "OpenIDProvider",
    "Problem",
    "Provider",
    "authenticated",
    "context",
    "delete",
    "flatten",
    "permissions",
    "plugins",
    "run",
    "save",
    "signals",
]
