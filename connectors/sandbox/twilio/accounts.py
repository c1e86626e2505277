"""The account of a client: its keys, its number, its messaging service and its messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from connectors.sandbox.facts import Client, Sms
from connectors.sandbox.twilio.messages import Mailbox, Message
from connectors.sandbox.twilio.webhooks import Signer

Secrets = Callable[..., str]

# what every account can list and nobody in town has: path -> the list's name
EMPTY = {
    "Addresses": "addresses",
    "Applications": "applications",
    "Calls": "calls",
    "Conferences": "conferences",
    "Keys": "keys",
    "OutgoingCallerIds": "outgoing_caller_ids",
    "Queues": "queues",
    "Recordings": "recordings",
    "Transcriptions": "transcriptions",
    "Usage/Records": "usage_records",
    "Usage/Records/Daily": "usage_records",
    "Usage/Triggers": "usage_triggers",
}


@dataclass
class Account:
    client: Client
    sid: str
    auth_token: str
    key_sid: str
    key_secret: str
    service: str
    number_sid: str
    mailbox: Mailbox
    signer: Signer
    campaign: str | None = "VERIFIED"  # status of its 10DLC campaign; None: it has none

    def campaigns(self) -> list[dict[str, Any]]:
        if self.campaign is None:
            return []
        shown = {
            "sid": "QE" + self.service[2:],
            "account_sid": self.sid,
            "messaging_service_sid": self.service,
            "campaign_status": self.campaign,
            "us_app_to_person_usecase": "MIXED",
            "date_created": self.client.joined_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "errors": [],
        }
        return [shown]

    def number(self) -> dict[str, Any]:
        client = self.client
        made = format_datetime(whole_second(client.joined_at))
        return {
            "sid": self.number_sid,
            "account_sid": self.sid,
            "friendly_name": f"{client.name} texts",
            "phone_number": client.sms_phone,
            "capabilities": {"voice": True, "sms": True, "mms": True, "fax": False},
            "status": "in-use",
            "api_version": "2010-04-01",
            "date_created": made,
            "date_updated": made,
            "sms_url": "",
            "sms_method": "POST",
            "status_callback": "",
            "uri": f"/2010-04-01/Accounts/{self.sid}/IncomingPhoneNumbers/{self.number_sid}.json",
        }

    def shown(self) -> dict[str, Any]:
        root = f"/2010-04-01/Accounts/{self.sid}"
        made = format_datetime(whole_second(self.client.joined_at))
        return {
            "sid": self.sid,
            "friendly_name": self.client.name,
            "status": "active",
            "type": "Full",
            "owner_account_sid": self.sid,
            "date_created": made,
            "date_updated": made,
            "subresource_uris": {
                "messages": f"{root}/Messages.json",
                "incoming_phone_numbers": f"{root}/IncomingPhoneNumbers.json",
                **{name: f"{root}/{path}.json" for path, name in EMPTY.items() if "/" not in path},
            },
            "uri": f"{root}.json",
        }


def open_account(client: Client, texts: list[Sms], secret: Secrets) -> Account:
    """`secret(*parts)` gives the same made-up secret for the same parts, now and after a restart."""

    def of(kind: str) -> str:
        return secret(kind, client.client_id)

    account_sid = "AC" + of("account")
    return Account(
        client=client,
        sid=account_sid,
        auth_token=of("token"),
        key_sid="SK" + of("key"),
        key_secret=of("key secret"),
        service="MG" + of("service"),
        number_sid="PN" + of("number"),
        mailbox=Mailbox([_past(client, account_sid, "SM" + secret("message", sms.n), sms) for sms in texts]),
        signer=Signer(of("token"), lambda event: secret("idempotency", event)),
    )


def _past(client: Client, account_sid: str, sid: str, sms: Sms) -> Message:
    inbound = sms.direction == "inbound"
    return Message(
        sid=sid,
        account_sid=account_sid,
        direction=sms.direction,
        sender=sms.phone if inbound else client.sms_phone,
        to=client.sms_phone if inbound else sms.phone,
        body=sms.body,
        created=whole_second(sms.at),
        walk=[(whole_second(at), status) for at, status in sms.statuses],
        seq=sms.n,
        error_code=sms.error_code,
        opt_out_type=sms.opt_out_type,
        person_id=sms.person_id,
        changed=whole_second(sms.changed_at),
    )


def whole_second(when: datetime) -> datetime:
    """Twilio's times have no fractions."""
    return when.astimezone(UTC).replace(microsecond=0)
