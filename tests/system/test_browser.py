"""A user signs in with a browser: the journal example, a mock OpenID provider and headless Chromium."""

import urllib.error
import urllib.request

import pytest
from playwright.sync_api import Error, sync_playwright
from tornado.web import Application, RequestHandler

from hive.testing import serve
from tests.support.programs import Program, database_on, program, reserved_port
from tests.support.threads import PATIENCE, wait_for

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


class Hostile(RequestHandler):
    """A page of another origin of this machine: the browser sends its cookies along."""

    def get(self):
        target = self.get_query_argument("target")
        self.write(
            f'<form method="post" action="{target}/api/entry"><input name="title" value="Forged"></form>'
        )


def wait_for_answer(url, program):
    def answers():
        assert program.process.poll() is None, program.output
        try:
            urllib.request.urlopen(url, timeout=PATIENCE).close()
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            return False
        return True

    wait_for(answers)


@pytest.fixture(scope="module")
def journal(tmp_path_factory, mongodb_server):
    """The URL of the journal."""
    of_mock, of_journal = (tmp_path_factory.mktemp(name) for name in ("provider", "journal"))
    environment = {"PYTHONWARNINGS": "ignore"}
    with database_on(mongodb_server) as uri, reserved_port() as provider, reserved_port() as port:
        environment |= {"MONGODB_URI": uri, "PORT": str(port), "OIDC_ISSUER": f"http://localhost:{provider}"}
        with (
            Program(of_mock, "-m", "oidc_provider_mock", "--port", str(provider), **environment) as mock,
            Program(of_journal, "-m", "examples.journal", **environment) as journal,
        ):
            wait_for_answer(f"http://localhost:{provider}/", mock)
            journal.wait_for("The journal is open")
            yield f"http://localhost:{port}"
            assert "Traceback" not in journal.output


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=program("chromium"), args=FLAGS, timeout=PATIENCE * 1000
        )


@pytest.fixture
def page(browser):
    with browser.new_context() as context:
        context.set_default_timeout(PATIENCE * 1000)
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
    page.wait_for_selector("li", state="detached")  # the list is asked for once more
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
    page.wait_for_selector("pre:has-text('\"status\": 401')")
    page.goto(journal)
    assert fetch(page, "GET", "/auth/me/") == [200, '{"authenticated":false}']


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
