"""
For how long a view service that has just started creates no view.

Pure.  In that time, the *margin*, every living server calls it (``docs/design.md``,
section 4, rule 14).  Servers know it, too: one that is stopping must not take the
time in which no view can come for the answer that none will.
"""

from __future__ import annotations

import math
from typing import Final

#: What a server may need to call again, seconds: to find that a connection does
#: not come about, to wait before the next attempt, and at least so long for a
#: Hello.
CONNECT_S: Final = 1.0
REDIAL_S: Final = 0.2
HELLO_S: Final = 0.5


def margin_ticks(ping_interval_ms: int, dead_pings: int) -> int:
    """Ticks in which every living server calls a view service that has just
    begun to listen: one failed attempt, the pause after it, and the next."""
    dead_s = dead_pings * ping_interval_ms / 1000
    margin_s = CONNECT_S + max(HELLO_S, dead_s) + REDIAL_S + dead_s
    return math.ceil(margin_s * 1000 / ping_interval_ms)
