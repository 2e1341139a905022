"""An OpenID provider that lies where a test tells it to, over real HTTP on loopback; and a browser for it."""

import base64
import hashlib
import hmac
import json
import ssl
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from secrets import token_urlsafe
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from hive.testing import Client
from tests.support.threads import PATIENCE

CLIENT_ID = "the-client"
CLIENT_SECRET = "the-secret-of:the client/"
GIGABYTE = 2**30
CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}


def b64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def jws(header, claims, sign):
    """A JWT of whatever is given, signed by a function from bytes to bytes."""
    body = ".".join(b64(json.dumps(part).encode()) for part in (header, claims))
    return f"{body}.{b64(sign(body.encode()))}"


@cache
def private_key(kid, kind, bits):
    if kind in CURVES:
        return ec.generate_private_key(CURVES[kind]())
    return ed25519.Ed25519PrivateKey.generate() if kind == "EdDSA" else rsa.generate_private_key(65537, bits)


class Key:
    """A key of a provider, and how it is published; the same `kid` is the same key in all tests."""

    def __init__(self, kid="first", alg="RS256", *, bits=2048, **published):
        self.kid, self.alg, self.published = kid, alg, published
        self.private = private_key(kid, alg if alg in CURVES or alg == "EdDSA" else "RSA", bits)

    @property
    def jwk(self):
        public = get_default_algorithms()[self.alg].to_jwk(self.private.public_key(), as_dict=True)
        jwk = {"kty": public["kty"], "kid": self.kid, "use": "sig", "alg": self.alg} | public | self.published
        return {name: value for name, value in jwk.items() if value is not None and name != "key_ops"}

    def sign(self, data):
        return get_default_algorithms()[self.alg].sign(data, self.private)

    def public_bytes(self, encoding="PEM", form="SubjectPublicKeyInfo"):
        how = getattr(serialization.Encoding, encoding), getattr(serialization.PublicFormat, form)
        return self.private.public_key().public_bytes(*how)


def hs256(secret):
    return lambda data: hmac.digest(secret, data, "sha256")


class Issuing:
    """What a provider says of itself, and the tokens that it issues; honest until told otherwise.

    - `keys`: what it publishes; the first of them signs.
    - `document`, `claims`: what is changed in the discovery document and its ID tokens; None removes.
    - `requests`: the paths it was asked for.
    """

    def __init__(self, url):
        self.url, self.keys, self.document, self.claims, self.requests = url, [Key()], {}, {}, []

    def token(self, key=None, header=None, sign=None, **claims):
        """An ID token for the client, with changes to its header and claims; None removes."""
        key, now = key or self.keys[0], int(time.time())
        honest = {"iss": self.url, "aud": CLIENT_ID, "sub": "ann", "iat": now, "exp": now + 300}
        honest |= {"name": "Ann", "email": "ann@example.org", "jti": token_urlsafe(6)}
        header = changed({"alg": key.alg, "kid": key.kid, "typ": "JWT"}, header or {})
        return jws(header, changed(honest, self.claims | claims), sign or key.sign)

    def described(self):
        """The discovery document."""
        endpoints = {"authorization": "authorize", "token": "token", "userinfo": "userinfo"}
        document = {f"{name}_endpoint": f"{self.url}/{path}" for name, path in endpoints.items()}
        document |= {"issuer": self.url, "jwks_uri": f"{self.url}/jwks", "response_types_supported": ["code"]}
        return changed(document, self.document)

    def published(self):
        """The public keys."""
        return {"keys": [key.jwk if isinstance(key, Key) else key for key in self.keys]}


class Hostile(Issuing):
    """The provider, over HTTP.

    - `tokens`, `profile`, `callback`: what is changed in the answers of its token and userinfo endpoints, and
      in the parameters of the callback; None removes.
    - `instead`: how it answers at a path, as functions of the request.
    - `exchanges`: what came to its token endpoint.
    - `secrets`: every code and token that it has given away.
    """

    def __init__(self, certificate=None):
        self.instead, self.tokens, self.profile, self.callback = {}, {}, {}, {}
        self.exchanges, self.grants, self.secrets = [], {}, []
        self.sent, self.released = 0, threading.Event()
        self.server = Server(("127.0.0.1", 0), handler_of(self))
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        super().__init__(f"{'http' if certificate is None else 'https'}://127.0.0.1:{self.port}")

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        for error in self.server.errors:
            raise error

    # What it answers

    def discover(self, request):
        return self.described()

    def publish(self, request):
        return self.published()

    def authorize(self, request):
        """Send the browser back with a code; there is nobody to ask."""
        asked = request.query
        answer = {"state": asked["state"], "code": token_urlsafe(12)}
        if asked["response_type"] != "code" or asked["code_challenge_method"] != "S256":
            answer = {"state": asked["state"], "error": "invalid_request"}
        if asked["client_id"] != CLIENT_ID or "openid" not in asked["scope"].split():
            answer = {"state": asked["state"], "error": "unauthorized_client"}
        self.grants[answer.get("code")] = asked
        self.secrets += [answer.get("code", "")]
        query = urlencode(changed(answer, self.callback))
        request.reply(302, b"", Location=f"{asked['redirect_uri']}?{query}")

    def exchange(self, request):
        """An ID token and an access token for a code that is known, new, and comes with its verifier."""
        fields, (kind, _, basic) = request.form, request.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            how = "client_secret_basic"
            who = [unquote_plus(part) for part in base64.b64decode(basic).decode().split(":")]
        else:
            who = [fields.get("client_id"), fields.get("client_secret")]
            how = "none" if who[1] is None else "client_secret_post"
        self.exchanges.append((how, who, fields))
        grant = self.grants.pop(fields["code"], None)
        challenge = b64(hashlib.sha256(fields.get("code_verifier", "").encode()).digest())
        if grant is None or (challenge, fields["redirect_uri"]) != (
            grant["code_challenge"],
            grant["redirect_uri"],
        ):
            return request.reply(400, b'{"error": "invalid_grant"}')
        given = {"access_token": token_urlsafe(20), "id_token": self.token(nonce=grant["nonce"])}
        given |= {"refresh_token": token_urlsafe(20)}
        self.secrets += [*given.values(), fields["code_verifier"]]
        return changed(given | {"token_type": "Bearer", "expires_in": 300}, self.tokens)

    def tell(self, request):
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.secrets:
            return request.reply(401, b"{}")
        return changed({"sub": "ann", "name": "Ann of userinfo"}, self.profile)

    # How it answers instead

    def hang(self, request):
        """Say nothing until it is released, and then nothing either."""
        self.released.wait(PATIENCE)

    def drip(self, request):
        """Send an answer that goes on, byte by byte."""
        request.head(200, **{"Content-Length": str(GIGABYTE)})
        while not self.released.wait(0.02):
            request.wfile.write(b" ")

    def flood(self, *, announced, gated=False):
        """An answer of a gigabyte, which counts what is taken in `sent`; `gated`, most of it on release."""

        def answer(request):
            request.head(200, **announced)
            while self.sent < GIGABYTE:
                data = b" " * 2**16
                if announced.get("Transfer-Encoding") == "chunked":
                    data = b"10000\r\n" + data + b"\r\n"
                request.wfile.write(data)
                self.sent += 2**16
                if gated and self.sent == 2**17:
                    self.released.wait(PATIENCE)

        return answer


def says(status, body, **headers):
    """A way to answer: always the same, as JSON where it is no bytes."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda request: request.reply(status, body, **headers)


def changed(values, changes):
    return {name: value for name, value in (values | changes).items() if value is not None}


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *how):
        super().__init__(*how)
        self.errors = []

    def handle_error(self, request, client_address):
        """Keep what is wrong with the provider; what clients break off is meant to break."""
        if not isinstance(error := sys.exception(), OSError):
            self.errors.append(error)


def handler_of(hostile):
    """The class of HTTP handlers of one provider."""
    honest = {
        "/.well-known/openid-configuration": hostile.discover,
        "/jwks": hostile.publish,
        "/authorize": hostile.authorize,
        "/token": hostile.exchange,
        "/userinfo": hostile.tell,
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.close_connection = True
            path, _, query = self.path.partition("?")
            self.query = dict(parse_qsl(query))
            length = int(self.headers.get("Content-Length", 0))
            self.form = dict(parse_qsl(self.rfile.read(length).decode()))
            hostile.requests.append(path)
            answer = hostile.instead.get(path) or honest.get(path) or says(404, b"{}")
            with suppress(ConnectionError):
                if (value := answer(self)) is not None:
                    self.reply(200, json.dumps(value).encode())

        do_POST = do_GET  # noqa: N815 - the names are http.server's

        def head(self, status, **headers):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()

        def reply(self, status, body, **headers):
            self.head(status, **{"Content-Length": str(len(body))} | headers)
            self.wfile.write(body)

        def log_message(self, *_):
            """Nothing."""

    return Handler


def certificate_for_loopback(directory):
    """The file of a key and a self-signed certificate for 127.0.0.1."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    how = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = directory / "loopback.pem"
    path.write_bytes(key.private_bytes(*how) + certificate.public_bytes(serialization.Encoding.PEM))
    return path


class Browser:
    """Keeps cookies, says where its requests come from, and leaves it to the test to follow redirects."""

    def __init__(self, client, cookies=()):
        self.client, self.cookies = client, dict(cookies)
        self.origin = f"http://127.0.0.1:{client.port}"

    def request(self, method, path, *, headers=None, **how):
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        sent |= {} if method == "GET" else {"Origin": self.origin}
        reply = self.client.request(
            method, path.removeprefix(self.origin), headers=sent | (headers or {}), **how
        )
        for line in reply.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                if morsel.value:
                    self.cookies[name] = morsel.value
                else:
                    self.cookies.pop(name, None)
        return reply

    def get(self, path, **how):
        return self.request("GET", path, **how)

    def post(self, path, **how):
        return self.request("POST", path, **how)

    @property
    def session(self):
        """The session's cookie, or None."""
        return self.cookies.get("__Host-session")

    @property
    def user(self):
        """What ``/auth/me/`` tells, or None for nobody."""
        return self.get("/auth/me/").json.get("userData")

    def sign_in(self, token, **more):
        return self.post("/auth/signin/", json={"id_token": token, **more})

    def start(self, path="/auth/signin/openid/"):
        """Go to the provider; the URL of the callback to which it sends the browser back."""
        there = self.get(path)
        assert there.status == 302, there.body
        url = urlsplit(there.headers["Location"])
        back = Client(url.port).get(f"{url.path}?{url.query}")
        assert back.status == 302, back.body
        return back.headers["Location"]
