"""hive, with somebody who listens to its lists: they are made of documents then."""

import asyncio
import sys

from benchmarks.designs.hive import serve
from benchmarks.models import Person
from hive import signals


@signals.post_get_list.connect_via(Person)
def hear(sender, items):
    pass


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
