"""What the documents show works: every Python block runs, and every link leads to a file."""

import re
import signal
from pathlib import Path

import pytest

from hive import signals
from hive.testing import Client
from tests.support.programs import ROOT, Program, database_on, reserved_port
from tests.support.threads import wait_for

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


def test_every_link_leads_to_a_file():
    links = [(page, link) for page in PAGES for link in LINK.findall(page.read_text())]
    assert [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()] == []


def test_the_application_of_the_readme_has_15_lines_and_serves(tmp_path, mongodb_server):
    [source] = blocks(ROOT / "README.md")
    assert len([line for line in source.splitlines() if line.strip()]) == 15
    with database_on(mongodb_server) as uri, reserved_port() as port:
        source = source.replace("mongodb://127.0.0.1:27017/app", uri).replace("8888", str(port))
        with Program(tmp_path, "-c", source, PYTHONWARNINGS="ignore") as program:
            client = Client(port)
            wait_for(lambda: answers(client, program))
            created = client.post("/api/user", form={"name": "Ann", "email": "a@x.org"})
            assert created.status == 201
            changed = client.put(created.headers["Location"], form={"email": "b@x.org"})
            assert changed.json["email"] == "b@x.org"
            assert client.delete(created.headers["Location"]).status == 204
            program.end(signal.SIGTERM)
    assert program.output == "Ann {'email': {'from': 'a@x.org', 'to': 'b@x.org'}}\n"


def answers(client: Client, program: Program) -> bool:
    assert program.process.poll() is None, program.output
    try:
        return client.get("/api/user").status == 200
    except ConnectionError:
        return False
