"""All that `make bench` measures, and where it was measured.

    python -m benchmarks [--write benchmarks/RESULTS.md] [options of benchmarks.speed and benchmarks.growth]

Each server runs in a process of its own, on loopback. Peers get their environments in benchmarks/.venvs.
"""

import argparse
import os
import sys
from pathlib import Path

from benchmarks import growth, speed
from benchmarks.machine import about
from benchmarks.servers import mongodb


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, help="a file for the results, beside printing them")
    speed.options(parser)
    growth.options(parser)
    chosen = parser.parse_args()
    with mongodb(os.environ.get("MONGODB_URI")) as (uri, database):
        parts = [
            "# Results",
            f"Of `python -m benchmarks {' '.join(sys.argv[1:])}`, on:".replace(" `,", "`,"),
            about(uri, chosen.designs.split(","), embedded=bool(database)),
            speed.section(uri, chosen, embedded=bool(database)),
            speed.section_alone(uri, chosen, embedded=bool(database)),
            growth.section(uri, chosen, database),
        ]
    results = "\n\n".join(parts) + "\n"
    print(results)
    if chosen.write:
        chosen.write.write_text(results)


if __name__ == "__main__":
    main()
