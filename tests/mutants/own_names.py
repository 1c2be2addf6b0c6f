"""Names and addresses: lookups, attempts, what is published and who can use it."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
    Mutant(
        "names-lookup-in-time",
        "8",
        "the time of a connection includes the lookup of its name",
        (
            put(
                "wire.dialler",
                "connecting = Deferred.fromCoroutine(by_name)",
                "connecting = Deferred.fromCoroutine(by_name).addTimeout("
                "self._connect_timeout_s, self._reactor)",
            ),
        ),
    ),
    Mutant(
        "names-lookup-again",
        "8",
        "every attempt begins a lookup of its own",
        (put("wire.names", "if host in self._running:", "if False:"),),
    ),
    Mutant(
        "names-lookup-first",
        "8",
        "a known name is looked up before it is dialled",
        (put("wire.dialler", "if self._names.known(host, port):", "if False:"),),
    ),
    Mutant(
        "names-lookup-hogs",
        "8",
        "a lookup is waited for although there is another address",
        (put("wire.dialler", "if len(self._addresses) > 1:", "if False:"),),
    ),
    Mutant(
        "names-thread-kept",
        "8",
        "the process waits for a lookup that hangs",
        (put("wire.names", "daemon=True", "daemon=False"),),
    ),
    Mutant(
        "names-useless-first",
        "8",
        "an address that said no Hello is dialled first again",
        (put("wire.names", "key=lambda ip: ip in place.useless", "key=bool"),),
    ),
    Mutant(
        "names-forgets-what-worked",
        "8",
        "what worked last is dialled only if the name still leads there",
        (put("wire.names", "*filter(None, [place.worked])", "*()"),),
    ),
    Mutant(
        "names-one-address",
        "8",
        "only the first address of a name is dialled",
        (put("wire.race", "self._waiting.append(ip)", "break"),),
    ),
    Mutant(
        "names-hello-long",
        "8",
        "a silent address is waited for in full although there is another",
        (
            put(
                "wire.dialler",
                "return min(max(HELLO_LEAST_S, patience_s), self._hello_s)",
                "return self._hello_s",
            ),
        ),
    ),
    Mutant(
        "names-hello-single",
        "4.14",
        "a server with one address waits longer for a Hello than the margin allows for",
        (
            put(
                "wire.dialler",
                "        if not patience_s:\n            if len(self._addresses) == 1:",
                "        if True:\n            if len(self._addresses) == 1:",
            ),
        ),
        tests=("viewservice_margin", "dialler"),
    ),
    Mutant(
        "names-hello-short-for-ever",
        "8",
        "before the dead time is known the patience for a Hello does not grow",
        (
            put(
                "wire.dialler",
                "HELLO_LEAST_S * 2.0 ** min(self._rounds(), 30)",
                "HELLO_LEAST_S",
            ),
        ),
    ),
    Mutant(
        "addresses-wildcard",
        "8",
        "a wildcard is an address like any other",
        (put("wire.addresses", "if ip.is_unspecified or (", "if ("),),
    ),
    Mutant(
        "addresses-mapped",
        "8",
        "an IPv4 address wrapped in an IPv6 address is another one",
        (
            put(
                "wire.addresses",
                'return getattr(ip, "ipv4_mapped", None) or ip',
                "return ip",
            ),
        ),
    ),
    Mutant(
        "advert-way-not-listened-on",
        "8",
        "a server publishes an address on which it does not listen",
        (
            put(
                "pbserver.advert",
                "self.near or _NO_WAY if is_wildcard(host) else host",
                "self.near or host",
            ),
        ),
    ),
    Mutant(
        "advert-view-service-unseen",
        "8",
        "a loopback address is fine while only the view service is elsewhere",
        (
            put(
                "pbserver.advert", '(("the view service", self.far), *others)', "others"
            ),
        ),
    ),
    Mutant(
        "reach-here",
        "8",
        "a caller by this host's other address counts as another host",
        (
            put(
                "viewservice.reach",
                "is_loopback(far) or far == near",
                "is_loopback(far)",
            ),
        ),
    ),
    Mutant(
        "reach-others-unseen",
        "8",
        "only servers are looked at, not clerks",
        (
            put(
                "viewservice.reach",
                "(*self.servers.values(), *dict.fromkeys(self.others))",
                "tuple(self.servers.values())",
            ),
        ),
    ),
    Mutant(
        "survey-silent",
        "8",
        "a server says nothing of a second cluster among its --views",
        (
            put(
                "pbserver.pinger",
                "if self._is_other_cluster(cluster):\n            ours",
                "if not cluster:\n            ours",
            ),
        ),
    ),
)
