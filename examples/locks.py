"""
A lock service in forty lines: a machine of your own, replicated.

    twistd -n --pidfile= pbserver --name s1 --listen tcp:7401:interface=127.0.0.1 \\
        --machine examples.locks:Locks

    await clerk.execute(["acquire", "printer", "ann", 5000])  # -> 1
    await clerk.ask(["owner", "printer"])                     # -> "ann"
    await clerk.execute(["release", "printer", "ann"])        # -> True

A lease ends by the log's own time, which all replicas share; a machine must
never look at a clock.  An acquire returns a token that grows with every grant,
so that whatever the lock guards can turn away an owner who did not notice that
the lease ran out.
"""

from typing import Any

from pbserver.simple_machine import Refused

LEASE_MS_MAX = 3_600_000


class Locks:
    """Locks by name, each with its owner and the end of the lease, which is a time
    of the log's own clock and no time of day."""

    def __init__(self) -> None:
        self.token = 0
        self.leases: dict[str, list[Any]] = {}

    def apply_one(self, command: Any, stamp_ms: int) -> Any:
        """["acquire", name, owner, lease_ms] -> a token; ["release", name, owner]
        -> whether it was held."""
        for name in [n for n, (_, end_ms) in self.leases.items() if end_ms <= stamp_ms]:
            del self.leases[name]
        match command:
            case ["acquire", str(name), str(owner), int(lease_ms)] if (
                0 < lease_ms <= LEASE_MS_MAX
            ):
                holder = self.query_one(["owner", name])
                if holder not in (None, owner):
                    raise Refused("held", f"{name} is held by {holder}")
                self.token += 1
                self.leases[name] = [owner, stamp_ms + lease_ms]
                return self.token
            case ["release", str(name), str(owner)]:
                held = self.query_one(["owner", name]) == owner
                if held:
                    del self.leases[name]
                return held
        return self.query_one(command)

    def query_one(self, command: Any) -> Any:
        """["owner", name] -> who held it at the last acquire or release, or None."""
        match command:
            case ["owner", str(name)]:
                owner, _ = self.leases.get(name, (None, 0))
                return owner
        raise Refused("unknown", f"a lock knows no {command!r:.100}")

    def dump(self) -> Any:
        """Everything."""
        return [self.token, self.leases]

    def restore(self, state: Any) -> None:
        """Become that."""
        self.token, self.leases = state
