"""Google."""

from typing import Any

from hive.auth.openid import OpenIDProvider

ISSUER = "https://accounts.google.com"


class GoogleProvider(OpenIDProvider):
    """Signs in with Google: `client_id` and `client_secret` are those of the Google Cloud console.

    `how` are the other arguments of `OpenIDProvider`.
    """

    name = "google"

    def __init__(self, client_id: str, client_secret: str | None = None, **how: Any) -> None:
        super().__init__(ISSUER, client_id, client_secret, **how)
        self.issuers = (ISSUER, "accounts.google.com")  # its older ID tokens leave out the scheme
