"""A journal: everybody reads what is public, writes what is theirs, and signs in with an OpenID provider.

`OIDC_ISSUER` is http://localhost:9400 unless set, `OIDC_CLIENT_ID` journal, `OIDC_CLIENT_SECRET` secret,
`SECRET_KEY` a new one at each start, `PORT` 8890. `ADMINS` lists e-mail addresses, separated by commas.
"""

import asyncio
import os
from contextlib import suppress
from html import escape
from pathlib import Path
from secrets import token_urlsafe

from mongoengine import BooleanField, Document, Q, StringField, connect
from tornado.web import Application, RequestHandler

import hive
from hive import AuthHive, HTTPServer, ModelHive, NotFoundHandler, OpenIDProvider, flatten, signals
from hive.embedded import mongodb
from hive.permissions import any_of, concealed, owner, role, signed_in


class Entry(Document):
    title = StringField(required=True, max_length=200)
    text = StringField()
    public = BooleanField(default=False)
    author = StringField()

    meta = {"indexes": ["author"]}

    def clean(self):
        request = hive.context.get()  # None outside of one
        if self.author is None and request is not None:
            self.author = request.current_user["id"]


def is_public(handler, entry):
    return entry is None or entry.public


def visible(entries, handler):
    user = handler.current_user
    return entries.filter(Q(public=True) | Q(author=user["id"]) if user else Q(public=True))


@signals.authorized_user.connect
def give_roles(sender, user_data):
    admins = [address for address in os.environ.get("ADMINS", "").split(",") if address]
    is_admin = user_data.get("email_verified") is True and user_data.get("email") in admins
    user_data["roles"] = ["admin"] if is_admin else []


class Page(RequestHandler):
    """The single-page application."""

    def get(self):
        self.write(Path(__file__).with_name("index.html").read_text())


class Mine(RequestHandler):
    """A page that the server renders, for those who are signed in; others go to `login_url` first."""

    @hive.authenticated
    async def get(self):
        user = self.current_user
        titles = await asyncio.to_thread(lambda: list(Entry.objects(author=user["id"]).scalar("title")))
        entries = "".join(f"<li>{escape(title)}" for title in titles)
        self.write(
            f"<!doctype html><title>Journal</title><h1>Journal of {escape(user['id'])}</h1><ul>{entries}</ul>"
            '<form method="post"><input name="title" required><button>Write</button></form>'
            '<form method="post" action="/auth/signout/?next=/"><button>Sign out</button></form>'
        )

    @hive.authenticated
    async def post(self):
        entry = Entry(title=self.get_body_argument("title")[:200], author=self.current_user["id"])
        await asyncio.to_thread(entry.save)
        self.redirect("/mine", status=303)


def application():
    provider = OpenIDProvider(
        os.environ.get("OIDC_ISSUER", "http://localhost:9400"),
        os.environ.get("OIDC_CLIENT_ID", "journal"),
        os.environ.get("OIDC_CLIENT_SECRET", "secret"),
    )
    entries = ModelHive.routes_for(
        Entry,
        prefix="/api",
        read_only=["author"],
        scope=visible,
        allow={
            "get": concealed(any_of(is_public, owner("author"))),
            "create": signed_in,
            "update": owner("author"),
            "delete": any_of(owner("author"), role("admin")),
        },
    )
    app = Application(
        flatten([("/", Page), ("/mine", Mine), AuthHive.routes_for([provider]), entries]),
        default_handler_class=NotFoundHandler,
        login_url="/auth/signin/openid/",
        debug="SECRET_KEY" not in os.environ,  # then cookies need no https, on localhost only
        autoreload=False,
    )
    AuthHive.configure(app, secret_key=os.environ.get("SECRET_KEY") or token_urlsafe(32))
    return app


async def serve(port):
    HTTPServer(application()).listen(port, "127.0.0.1")
    print(f"The journal is open: http://localhost:{port}/ and http://localhost:{port}/mine", flush=True)
    await asyncio.Event().wait()


def main():
    with mongodb(None) as uri, connect("journal", host=uri, uuidRepresentation="standard"):
        hive.run(serve(int(os.environ.get("PORT", "8890"))))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
    print("The journal is closed.")
