"""QuickBooks' OAuth: a refresh token for an hour's access, and most times a new refresh token with it.

Losing the new value means that a person must reconnect, so renewal goes through `RotatingToken`, which saves before use.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec

from connectors.base import ConnectorError, ContractChanged, CredentialError, ProviderDown, Secret
from connectors.http import Account, Http, Response, StaticAuth, Wait, basic
from connectors.oauth import InvalidGrant, Tokens


class _Reply(msgspec.Struct):
    access_token: str = ""
    refresh_token: str = ""
    expires_in: int = 3600
    x_refresh_token_expires_in: int = 0
    error: str = ""


class TokenEndpoint(Account):
    """Calls to the token endpoint as one Intuit app."""

    def __init__(self, http: Http, *, connection: str, url: str, client_id: str, client_secret: Secret) -> None:
        auth = StaticAuth(basic(client_id, client_secret.reveal()))
        super().__init__(http, connection=connection, base_url=url, auth=auth)

    def judge(self, response: Response) -> Wait | ConnectorError | None:
        if response.status in (400, 401):
            return None  # OAuth says in the body what is wrong
        return super().judge(response)

    def exchange(self, refresh_token: str) -> Tokens:
        # Repeating is safe: if the answer to the first try was lost, the old value is all we have anyway.
        response = self.request(
            "POST",
            "",
            form={"grant_type": "refresh_token", "refresh_token": refresh_token},
            headers={"Accept": "application/json"},
            retry=True,
        )
        try:
            reply = msgspec.json.decode(response.body, type=_Reply)
        except msgspec.ValidationError as error:
            raise ContractChanged(
                f"the token endpoint answered in a new shape ({error}).",
                connection=self.connection,
                fix="The stored tokens are unchanged; the connector needs a change.",
            ) from None
        except msgspec.DecodeError:
            raise ProviderDown(
                "the token endpoint's answer was cut off or is not JSON.",
                connection=self.connection,
                fix="The next scheduled run tries again; if it then asks to reconnect, the new token was lost with it.",
            ) from None
        if reply.error == "invalid_grant":
            raise InvalidGrant
        if reply.error or not reply.access_token:
            raise CredentialError(
                f"Intuit does not accept our app ({reply.error or 'no token in the answer'}).",
                connection=self.connection,
                fix="Check client_id and client_secret of the Intuit app, then run `leadtrail check`.",
            )
        now, lives = self.http.clock.now(), reply.x_refresh_token_expires_in
        return Tokens(
            reply.access_token,
            now + timedelta(seconds=reply.expires_in),
            refresh_token=reply.refresh_token,
            reconnect_by=now + timedelta(seconds=lives) if lives else None,
        )
