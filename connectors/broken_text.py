r"""Text that providers break: half of an emoji (a lone \ud83d in JSON) and bytes that are not UTF-8.

Both come from cutting text in the middle of a character. A strict reader refuses the whole page for it, for ever; so the broken
character becomes U+FFFD, as every browser shows it. This is the only change we make to what a provider sent.
"""

from __future__ import annotations

import re

_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"  # a first half without its second
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a second half without its first
)


def mended_json(body: bytes) -> bytes:
    """The same JSON with broken characters replaced; the very same bytes if there are none."""
    return mended_utf8(_LONE_SURROGATE.sub(rb"\\ufffd", body))


def mended_utf8(text: bytes) -> bytes:
    try:
        text.decode()
        return text
    except UnicodeDecodeError:
        return text.decode(errors="replace").encode()
