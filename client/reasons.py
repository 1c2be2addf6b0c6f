"""
Why a connection is lost or cannot be made, in as few words as say it.

Pure.  The link layer gives a reason to its owner and to the log; a person who
reads it in an error message needs less of it.
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
    """*reason*, shorter: Twisted says a refused connection three times over, and
    that this end said goodbye is of less interest than why."""
    reason = _REFUSED.sub("connection refused", reason)
    _, ours, why = reason.partition("said goodbye: ")
    code, _, text = why.partition(": ")
    if ours and code == "silent":
        return f"the connection was accepted, but then there was {text}"
    if ours and code in {"protocol", "too long"}:
        reason = f"what answers there does not speak as it should: {text}"
    return reason[:REASON_CHARS_MAX]
