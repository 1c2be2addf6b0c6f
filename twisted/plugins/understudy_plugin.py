"""``twistd viewservice`` and ``twistd pbserver``."""

from twisted.application.service import ServiceMaker

viewservice = ServiceMaker(
    "Understudy view service",
    "viewservice.service",
    "Decides which server is primary and which are backups.",
    "viewservice",
)
pbserver = ServiceMaker(
    "Understudy server",
    "pbserver.service",
    "Keeps one copy of the replicated state.",
    "pbserver",
)
