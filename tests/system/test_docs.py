"""What the documents show works: every Python block runs, links lead somewhere."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hive import signals
from hive.testing import Client

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text())


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.parent.name == "docs" and blocks(page)],
    ids=lambda page: page.stem,
)
def test_every_python_block_of_the_docs_runs(page, mongomock_database):
    space = {"__name__": page.stem}
    try:
        for block in blocks(page):
            exec(compile(block, str(page), "exec"), space)
        for name, test in space.items():
            if name.startswith("test_"):
                test(mongomock_database)
    finally:
        for signal in (*signals.core.values(), *signals.ext.values()):
            signal._clear_state()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_to_a_file(page):
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


def test_the_application_of_the_readme_has_15_lines_and_serves(mongodb_server):
    [source] = blocks(ROOT / "README.md")
    assert len([line for line in source.splitlines() if line.strip()]) == 15
    port = 20_000 + os.getpid() % 10_000  # below those that others get when they ask for any
    source = source.replace("8888", str(port)).replace(
        "mongodb://127.0.0.1:27017/app", f"{mongodb_server}/readme"
    )
    environment = os.environ | {"PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            client = Client(port)
            await_answer(client)
            created = client.post("/api/user", form={"name": "Ann", "email": "a@x.org"})
            assert created.status == 201
            changed = client.put(created.headers["Location"], form={"email": "b@x.org"})
            assert changed.json["email"] == "b@x.org"
            client.delete(created.headers["Location"])
        finally:
            process.terminate()
        assert process.stdout.read() == "Ann {'email': {'from': 'a@x.org', 'to': 'b@x.org'}}\n"


def await_answer(client: Client) -> None:
    for _ in range(100):
        try:
            client.get("/api/user")
        except ConnectionError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the application of the README does not answer")
