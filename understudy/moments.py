"""
What happened in a run of the demo, and when.

Pure: a list of these is what its picture and its JSON are drawn from.
"""

from __future__ import annotations

from typing import Any

from attrs import define


@define
class Moment:
    """A strike, a note (somebody woken or started again), or a view."""

    at_s: float
    #: ``strike``, ``note`` or ``view``.
    kind: str
    #: The process it happened to; of a view, its primary.
    who: str
    text: str
    #: Of a view.
    number: int = 0
    backups: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    #: Of a strike: the longest that any clerk got no answer.
    gap_ms: int | None = None

    def document(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {
            "at_s": round(self.at_s, 3),
            "kind": self.kind,
            "text": self.text,
        }
        if self.kind == "view":
            found |= {
                "number": self.number,
                "primary": self.who,
                "backups": list(self.backups),
                "causes": list(self.causes),
            }
        else:
            found["process"] = self.who
        if self.gap_ms is not None:
            found["gap_ms"] = self.gap_ms
        return found
