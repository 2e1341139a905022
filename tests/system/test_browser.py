"""Sign-in end to end: the journal example, a mock OpenID provider and headless Chromium."""

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Error, sync_playwright
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from hive.testing import serve

CHECKOUT = Path(__file__).parent.parent
CHROMIUM = os.environ.get("HIVE_TEST_CHROMIUM") or shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium, nor does HIVE_TEST_CHROMIUM name it"
)


@contextmanager
def running(port, *arguments, log, **environment):
    """A program that answers at a port of this machine while the block runs."""
    inherited = os.environ | {"PYTHONPATH": str(CHECKOUT), "PYTHONWARNINGS": "ignore"} | environment
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, *arguments], env=inherited, stdout=output, stderr=output)
        try:
            while not answers(f"http://localhost:{port}/"):
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(30)


def answers(url):
    try:
        urllib.request.urlopen(url, timeout=10).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


def free_port():
    socket, port = bind_unused_port()
    socket.close()
    return port


@pytest.fixture(scope="module")
def journal(tmp_path_factory, mongodb_server):
    """The URL of the journal."""
    directory, port, provider = tmp_path_factory.mktemp("journal"), free_port(), free_port()
    mock = running(provider, "-m", "oidc_provider_mock", "--port", str(provider), log=directory / "provider")
    environment = {
        "PORT": str(port),
        "OIDC_ISSUER": f"http://localhost:{provider}",
        "MONGODB_URI": mongodb_server,
    }
    with mock, running(port, "-m", "examples.journal", log=directory / "journal", **environment):
        yield f"http://localhost:{port}"
        assert "Traceback" not in (directory / "journal").read_text()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


@pytest.fixture
def page(browser):
    with browser.new_context() as context:
        yield context.new_page()


def fetch(page, method, path, body=None):
    """The status and the text that a script of the page gets."""
    return page.evaluate(
        """async ([method, path, body]) => {
            const headers = body ? {"Content-Type": "application/json"} : {};
            const answer = await fetch(path, {method, body, headers});
            return [answer.status, await answer.text()];
        }""",
        [method, path, body],
    )


def sign_in(page, name):
    page.fill("input[name=sub]", name)
    page.click("text=Authorize >> nth=-1")


def test_a_user_signs_in_writes_signs_out_and_is_refused(page, journal):
    page.goto(journal)
    assert fetch(page, "GET", "/auth/me/") == [200, '{"authenticated":false}']
    assert fetch(page, "POST", "/api/entry", '{"title": "Too early"}')[0] == 401

    page.click("#signin")
    sign_in(page, "ann")
    page.wait_for_selector("#who:has-text('ann')")
    assert page.url == f"{journal}/"
    status, me = fetch(page, "GET", "/auth/me/")
    assert status == 200
    assert '"authenticated":true' in me
    assert '"id":"ann"' in me
    assert '"provider":"openid"' in me

    page.fill("input[name=title]", "A good day")
    page.click("#write button")
    page.wait_for_selector("li:has-text('A good day (ann)')")

    page.click("#signout")
    page.wait_for_selector("#signin:visible")
    page.wait_for_selector("li", state="detached")  # for the list is asked for once more
    assert fetch(page, "GET", "/auth/me/") == [200, '{"authenticated":false}']
    assert fetch(page, "POST", "/api/entry", '{"title": "Too late"}')[0] == 401


def test_scripts_cannot_read_the_session_and_it_is_dead_after_sign_out(page, journal):
    page.goto(f"{journal}/auth/signin/openid/?next=/")
    sign_in(page, "eve")
    page.wait_for_selector("#who:has-text('eve')")
    [cookie] = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert page.evaluate("document.cookie") == ""
    page.click("#signout")
    page.wait_for_selector("#signin:visible")
    page.context.add_cookies([cookie])
    assert fetch(page, "GET", "/auth/me/") == [200, '{"authenticated":false}']


def test_a_page_of_the_server_sends_to_the_sign_in_and_back(page, journal):
    page.goto(f"{journal}/mine")
    sign_in(page, "bob")
    page.wait_for_selector("h1:has-text('Journal of bob')")
    page.fill("input[name=title]", "By form")
    page.click("text=Write")
    page.wait_for_selector("li:has-text('By form')")
    page.click("text=Sign out")
    page.wait_for_selector("#signin:visible")
    page.goto(f"{journal}/mine")
    page.wait_for_selector("input[name=sub]")


def test_who_denies_at_the_provider_is_not_signed_in(page, journal):
    page.goto(f"{journal}/auth/signin/openid/")
    page.click("text=Deny")
    assert '"status": 401' in page.content()
    page.goto(journal)
    assert fetch(page, "GET", "/auth/me/") == [200, '{"authenticated":false}']


class Hostile(RequestHandler):
    """A page of another origin of this machine: the browser sends its cookies along."""

    def get(self):
        target = self.get_query_argument("target")
        self.write(
            f'<form method="post" action="{target}/api/entry"><input name="title" value="Forged"></form>'
        )


def test_a_page_of_another_origin_can_neither_write_nor_read(page, journal):
    page.goto(f"{journal}/auth/signin/openid/?next=/")
    sign_in(page, "dora")
    page.wait_for_selector("#who:has-text('dora')")
    with serve(Application([("/", Hostile)])) as hostile:
        page.goto(f"http://localhost:{hostile.port}/?target={journal}")
        for path in ("/auth/me/", "/api/entry"):
            with pytest.raises(Error, match="Failed to fetch"):
                page.evaluate("url => fetch(url, {credentials: 'include'})", journal + path)
        with page.expect_navigation():
            page.evaluate("document.forms[0].submit()")
        assert '"status": 403' in page.content()
    page.goto(journal)
    page.wait_for_selector("#who:has-text('dora')")
    assert fetch(page, "GET", "/api/entry") == [200, "[]"]
