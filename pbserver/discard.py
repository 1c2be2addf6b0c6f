"""
What is no longer needed, and is freed a little at a time.

Pure.  To free a million objects takes a tenth of a second, and an assignment is
enough to set it off.  So whatever may be large, such as the state that a
snapshot replaces, is put here instead of being dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attrs import define, field

#: Objects that are freed in one step, half a millisecond.
STEP_OBJECTS: Final = 4096


@define
class Discard:
    """Things to be freed, the last one first."""

    #: Each frees a little -> whether there is more.
    steps: list[Callable[[], bool]] = field(factory=list, init=False)

    def items(self, items: list[Any]) -> None:
        """Free a list, which nobody else uses."""

        def step() -> bool:
            del items[-STEP_OBJECTS:]
            return bool(items)

        if items:
            self.steps.append(step)

    def table(self, table: dict[Any, Any]) -> None:
        """Free a dict, which nobody else uses."""

        def step() -> bool:
            for _ in range(min(len(table), STEP_OBJECTS)):
                table.popitem()
            return bool(table)

        if table:
            self.steps.append(step)

    def machine(self, machine: Any) -> None:
        """Free a state machine; one that cannot shed its state goes at once."""
        if (shed := getattr(machine, "shed", None)) is not None:
            self.steps.append(shed)

    def step(self) -> None:
        """Free a little."""
        if self.steps and not self.steps[-1]():
            self.steps.pop()
