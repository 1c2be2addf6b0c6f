"""
Why a connection was lost or cannot be made, as a short text.

Pure.  The link layer gives a reason to its owner and to the log; in an error
message a part of it is enough.
"""

from __future__ import annotations

import re
from typing import Final

#: A peer may give its Goodbye a text of any length.
REASON_CHARS_MAX: Final = 400


#: What Twisted makes of ECONNREFUSED.
_REFUSED: Final = re.compile(
    r"(Connection was refused by other side(: \d+)?[:.]? ?)?Connection refused\.?"
    r"|Connection was refused by other side\."
)


def plain(reason: str) -> str:
    """*reason*, shorter: Twisted's text for a refused connection repeats itself, and
    of a Goodbye of this end only the cause is kept."""
    reason = _REFUSED.sub("connection refused", reason)
    _, ours, why = reason.partition("said goodbye: ")
    code, _, text = why.partition(": ")
    if ours and code == "silent":
        return f"the connection was accepted, but then there was {text}"
    if ours and code in {"protocol", "too long"}:
        reason = f"what answers there does not speak as it should: {text}"
    return reason[:REASON_CHARS_MAX]
