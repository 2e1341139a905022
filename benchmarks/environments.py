"""The Pythons that the designs run in: hive's own, and one for each that names packages of its own."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).parent
DESIGNS = HERE / "designs"
ENVIRONMENTS = HERE / ".venvs"
OURS = ("tornado", "mongoengine", "pymongo", "orjson", "uvloop")


class NotMeasured(RuntimeError):
    """Why a design cannot be measured here, in a line."""


def python_for(design: str) -> str:
    """The path of a Python with what the design needs, which is installed if it is not there yet."""
    wanted = DESIGNS / f"{design}.txt"
    if not wanted.exists():
        return sys.executable
    environment = ENVIRONMENTS / design
    python, installed = environment / "bin" / "python", environment / "installed.txt"
    if not installed.exists() or installed.read_text() != wanted.read_text():
        print(f"Installing what {design} needs", file=sys.stderr)
        run(sys.executable, "-m", "venv", "--clear", environment)
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted)
        installed.write_text(wanted.read_text())
    return str(python)


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasured(last_line(done.stderr))


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it ended without a word"


def versions(designs: list[str]) -> list[str]:
    """A line for each environment: its name, and what of interest is installed in it."""
    ours = [f"{name} {found}" for name in OURS if (found := version_of(name))]
    theirs = [
        f"{design}: {', '.join((DESIGNS / f'{design}.txt').read_text().replace('==', ' ').splitlines())}"
        for design in designs
        if (DESIGNS / f"{design}.txt").exists()
    ]
    return [f"hive and what is written by hand: {', '.join(ours)}", *theirs]


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
