"""Twilio's refusals: a code, an HTTP status and a text each."""

from __future__ import annotations

from connectors.sandbox.provider import Reply, json_reply

WORDS = {
    20001: (400, "Invalid parameter"),
    20003: (401, "Authenticate"),
    20004: (405, "Method not allowed"),
    20404: (404, "The requested resource was not found"),
    20429: (429, "Too many requests"),
    20500: (500, "An internal server error has occurred"),
    21211: (400, "The 'To' number is not a valid phone number."),
    21602: (400, "Message body is required."),
    21603: (400, "A 'From' phone number is required."),
    21604: (400, "A 'To' phone number is required."),
    21606: (400, "The 'From' phone number provided is not a valid, message-capable Twilio phone number."),
    21609: (400, "The 'StatusCallback' URL is not a valid URL."),
    21610: (400, "Attempt to send to unsubscribed recipient"),
    21612: (400, "The 'To' phone number is not currently reachable via SMS."),
    21614: (400, "'To' number is not a valid mobile number"),
    21617: (400, "The concatenated message body exceeds the 1600 character limit."),
    30409: (400, "Message cannot be canceled: it is not scheduled."),
    35118: (400, "MessagingServiceSid is required to schedule a message."),
}


class Refusal(Exception):
    def __init__(self, code: int) -> None:
        self.code = code


def refused(code: int) -> Reply:
    status, message = WORDS[code]
    more = f"https://www.twilio.com/docs/errors/{code}"
    challenge = {"www-authenticate": 'Basic realm="Twilio API"'} if status == 401 else None
    return json_reply({"code": code, "message": message, "more_info": more, "status": status}, status, challenge)
