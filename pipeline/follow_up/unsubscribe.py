"""The link under every e-mail that ends them (RFC 8058: one click): who it is for, sealed into the link itself.

    https://<public address>/u/<token>

A token is made of client and address alone, with AES-SIV under a key derived from LEADTRAIL_KEY: only we can make one, it names
nobody to whoever sees it in a log, and it is the same however often a mail is built. It never expires: the law asks for 30 days
at least, and people keep mail for years. It ends with LEADTRAIL_KEY, so a key that mails went out under is not thrown away.
"""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipeline.settings import Settings
from pipeline.store.sealed import load_key

PATH = "/u/"
LONGEST = 1000  # of a token; an address has 254 characters at most


class NoPublicAddress(Exception):
    """Links in mails need LEADTRAIL_PUBLIC_URL: without it no e-mail may be sent."""


def unsubscribe_url(settings: Settings, client_id: str, email: str) -> str:
    """The link for this client's mails to this address. Raises NoPublicAddress."""
    if not settings.public_url.startswith("https://"):
        raise NoPublicAddress(
            "E-mails need an unsubscribe link, and LEADTRAIL_PUBLIC_URL is not an https address. Set it to the address that your "
            "proxy serves the intake at (it forwards /webhooks/ and /u/)."
        )
    return settings.public_url + PATH + Tokens(settings).make(client_id, email)


class Tokens:
    """Makes tokens and reads them again."""

    def __init__(self, settings: Settings) -> None:
        key = HKDF(SHA256(), length=64, salt=None, info=b"leadtrail unsubscribe links").derive(
            load_key(settings.key, settings.home)
        )
        self._cipher = AESSIV(key)

    def make(self, client_id: str, email: str) -> str:
        sealed = self._cipher.encrypt(f"{client_id}\n{email.strip().lower()}".encode(), None)
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def read(self, token: str) -> tuple[str, str] | None:
        """(client_id, address), or None if we did not make it."""
        if len(token) > LONGEST:
            return None
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            client_id, _, email = self._cipher.decrypt(sealed, None).decode().partition("\n")
        except (InvalidTag, ValueError, binascii.Error):
            return None
        return client_id, email
