"""Serves the atlas until it is interrupted.

`PORT` is 8888 and `ATLAS_HOST` 127.0.0.1 unless set. `MONGODB_URI` chooses the MongoDB; without it, the
embedded one is started, which keeps its files in ./hive-data.
"""

import asyncio
import os
import signal
import sys

from mongoengine import connect
from pymongo.errors import PyMongoError
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from hive import HTTPServer, ModelHive, NotFoundHandler, flatten, run
from hive.embedded import mongodb

from . import receivers  # noqa: F401 - importing it connects them
from .loading import load
from .models import City, Country

GREETING = """
The atlas is served, Ctrl-C ends it:
  {root}/country
  {root}/city

Try, in another terminal:
  curl {root}/country/CH
  curl -X PUT -d population=8800000 {root}/country/CH
  curl {root}/country/CH/neighbours/IT/capital
  curl '{root}/country?continent=EU&sort=name'
  curl '{root}/country/BR?expand=capital,neighbours&fields=name,capital.name,neighbours.name'
  curl '{root}/city?country=BR&sort=-population&per_page=5&fields=name,population'
  curl '{root}/city?country=BR&name__istartswith=rio&any_of=population__gte=1000000,timezone=America/Manaus'
  curl '{root}/city?country=BR&location__within_box=-44,-24,-43,-22'
  curl -H 'Accept: application/x-ndjson' '{root}/city?per_page=all&fields=name,location'
"""


class Root(RequestHandler):
    def get(self):
        self.write({"countries": "/country", "cities": "/city", "data": "GeoNames, CC BY 4.0"})


def application():
    return Application(
        flatten([("/", Root), ModelHive.routes_for(Country), ModelHive.routes_for(City, stream=True)]),
        default_handler_class=NotFoundHandler,
    )


async def serve(sockets):
    HTTPServer(application()).add_sockets(sockets)
    print(GREETING.format(root=f"http://127.0.0.1:{sockets[0].getsockname()[1]}"), flush=True)
    await asyncio.Event().wait()


def main():
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also while it loads; then it is run's
    try:
        # Before anything is loaded, for the port may be in use.
        sockets = bind_sockets(int(os.environ.get("PORT", "8888")), os.environ.get("ATLAS_HOST", "127.0.0.1"))
        with mongodb() as uri, connect("atlas", host=uri, serverSelectionTimeoutMS=5000):
            load()
            run(serve(sockets))
    except KeyboardInterrupt:
        pass
    except (OSError, RuntimeError, ValueError, PyMongoError) as error:
        sys.exit(f"The atlas cannot be served: {error}")
    print("The atlas is closed.")


if __name__ == "__main__":
    main()
