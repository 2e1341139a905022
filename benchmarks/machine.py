"""On what it was measured."""

import os
import platform
import subprocess
from pathlib import Path

import pymongo

from benchmarks.environments import version_of, versions


def machine() -> str:
    system = f"{platform.system()} {platform.release()}"
    return f"{processor()}, {os.cpu_count()} cores; {system}; Python {platform.python_version()}"


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def commit() -> str:
    """Which hive it is; "dirty" where files differ from the commit."""
    git = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(git, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return f"hive at {done.stdout.strip() or 'an unknown commit'}"


def database(uri: str, *, embedded: bool) -> str:
    if embedded:
        return f"SecantusDB {version_of('secantusdb')}, embedded, in memory"
    with pymongo.MongoClient(uri) as client:
        return f"MongoDB {client.server_info()['version']}"


def about(uri: str, designs: list[str], *, embedded: bool) -> str:
    """The machine, the database and the versions, a line of a list for each."""
    lines = [machine(), commit(), database(uri, embedded=embedded), *versions(designs)]
    return "\n".join(f"- {line}" for line in lines) + "\n"
