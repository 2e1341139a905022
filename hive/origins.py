"""Origins (RFC 6454): which is the application's own, who else may read its answers, who may change state."""

import logging
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from hive.errors import BadRequest, Forbidden

logger = logging.getLogger("hive")

CORS = "hive_cors_origins"
"""The setting of the application that lists the origins whose pages may read answers; "*" is all of them, but
without cookies."""
SAFE = ("GET", "HEAD", "OPTIONS")
"""The methods that change nothing (RFC 9110, 9.2.1)."""
ORIGIN = re.compile(
    r"(?P<scheme>https?)://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?"
)
PORTS = {"http": "80", "https": "443"}
"""Those that browsers leave out."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
EXPOSED = "Link, Location, Preference-Applied, Retry-After, X-Created-Id, X-Request-ID, X-Total-Count"
LONGEST_PATH = 1000
SECONDS_OF_PREFLIGHT = "600"


def checked_origin(origin: str) -> str:
    """An origin as browsers write it. Raises `ValueError`."""
    found = ORIGIN.fullmatch(str(origin).lower())
    if found is None or found["port"] == PORTS[found["scheme"]] or not 0 < int(found["port"] or 1) < 2**16:
        raise ValueError(f"The origin {origin!r} is none, such as 'https://app.example.org'.")
    return found[0]


def readers(settings: Mapping[str, Any]) -> frozenset[str]:
    """The origins whose pages may read answers; none where the setting is wrong, which is logged."""
    try:
        return allowed(tuple_of(settings.get(CORS, ())))
    except (TypeError, ValueError) as error:
        logger.error("The setting %s is not understood: %s", CORS, error)  # noqa: TRY400 - no bug
        return frozenset()


def tuple_of(names: Any) -> tuple[Any, ...]:
    if isinstance(names, str):
        raise TypeError(f"it takes a list of origins, not the string {names!r}.")
    return tuple(names)


@lru_cache
def allowed(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name if name == "*" else checked_origin(name) for name in names)


def is_loopback(host: str | None) -> bool:
    return host in LOOPBACK or str(host).endswith(".localhost")


def is_cross_site(request: Any, own: str, trusted: Iterable[str]) -> bool | None:
    """Whether a browser says that another origin has sent the request; None where nobody says anything.

    ``Sec-Fetch-Site`` (W3C Fetch Metadata) goes before ``Origin``, which older browsers send.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if origin is not None and origin.lower() in trusted:
        return False
    if site is not None:
        return site not in ("same-origin", "none")
    return None if origin is None else origin.lower() != own.lower()


def check_sender(request: Any, own: str, trusted: Iterable[str], *, proof: bool) -> None:
    """Refuse what changes state and comes from another origin; with `proof`, what does not say where from.

    Raises `Forbidden`.
    """
    if request.method in SAFE:
        return
    is_foreign = is_cross_site(request, own, trusted)
    if is_foreign or (is_foreign is None and proof):
        raise Forbidden("The request does not prove that it comes from the application's own pages.")


def has_bearer(request: Any) -> bool:
    """Whether a client signs this request by a token (RFC 6750), as no browser does by itself."""
    return str(request.headers.get("Authorization", "")).lower().split(" ")[0] == "bearer"


def own_path(target: str) -> str:
    """Where to go after a sign-in: a path of the application itself. Raises `BadRequest` for all else."""
    is_path = target.startswith("/") and not target.startswith("//") and len(target) <= LONGEST_PATH
    has_others = any(other in target for other in ("\\", " "))  # as no path has (RFC 3986, 3.3)
    if not is_path or has_others or not (target.isascii() and target.isprintable()):
        raise BadRequest("The query parameter 'next' must be a path of this application.")
    return target


def cors_headers(request: Any, allowed: Iterable[str]) -> dict[str, str]:
    """What lets the pages of an allowed origin read the answer (the CORS protocol of the Fetch standard)."""
    origin = request.headers.get("Origin")
    headers = {"Vary": "Origin"} if allowed else {}
    if origin is not None and origin.lower() in allowed:
        headers |= {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}
    elif origin is not None and "*" in allowed:
        headers |= {"Access-Control-Allow-Origin": "*"}
    if "Access-Control-Allow-Origin" in headers:
        headers["Access-Control-Expose-Headers"] = EXPOSED
    return headers


def is_preflight(request: Any) -> bool:
    """Whether a browser asks, of itself, if a page of another origin may send a request."""
    return str(request.method) == "OPTIONS" and (
        "Origin" in request.headers and "Access-Control-Request-Method" in request.headers
    )


def preflight_headers(request: Any, methods: Iterable[str]) -> dict[str, str]:
    """The answer to a preflight of an allowed origin; its answer grants nothing but to ask."""
    return {
        "Access-Control-Allow-Methods": ", ".join(methods),
        "Access-Control-Allow-Headers": request.headers.get("Access-Control-Request-Headers", ""),
        "Access-Control-Max-Age": SECONDS_OF_PREFLIGHT,
    }
