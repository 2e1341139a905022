"""hive on uvloop, which the extra `fast` brings."""

import sys

import uvloop

from benchmarks.designs.hive import serve

if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
