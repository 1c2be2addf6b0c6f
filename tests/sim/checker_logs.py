"""
Are any two logs with the same identity equal up to it?

Every rule about what a backup keeps, replaces or still lacks is built on that
one sentence (docs/design.md, section 5).  So every entry that lies in anybody's
log is written down here under its identity, with the identity before it; who
has another one under the same identity has broken the law, long before anybody
applies it.
"""

from __future__ import annotations

from attrs import define, field

from pbserver.log import Log
from wire.messages import Entry, Member


@define
class _Seen:
    """What was seen of one copy of the data."""

    entries: dict[int, Entry] = field(factory=dict)
    end: int = 0
    led: bool = False


@define
class Logs:
    """Every entry that was ever logged."""

    #: (view, index) -> the entry, and the view of the one before it.
    _known: dict[tuple[int, int], tuple[Entry, int]] = field(factory=dict)
    _seen: dict[tuple[str, int], _Seen] = field(factory=dict)

    def look(self, member: Member, log: Log, *, leads: bool) -> str:
        """What is wrong with the log of that server, which *leads* or does not;
        "": nothing.  Costs what is new since the last look."""
        seen = self._seen.setdefault((member.name, member.incarnation), _Seen())
        dropped = max(0, seen.end - log.end)
        for index in range(log.end, log.base_index, -1):
            entry, before = log.entry(index), seen.entries.get(index)
            if before is entry and index <= seen.end:
                break
            dropped += before is not None and index <= seen.end
            previous = log.view_at(index - 1)
            assert previous is not None
            known = self._known.setdefault((entry.view, index), (entry, previous))
            if known != (entry, previous):
                return f"it has {(entry, previous)}, and somebody had {known}"
            seen.entries[index] = entry
        was_leading, seen.led, seen.end = seen.led, leads, log.end
        if was_leading and leads and dropped:
            return f"a primary has dropped {dropped} entries of its log"
        return ""
