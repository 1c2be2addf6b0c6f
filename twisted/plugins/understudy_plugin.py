"""``twistd viewservice`` and ``twistd pbserver``."""

import signal

from twisted.application.service import ServiceMaker


class Daemon(ServiceMaker):
    """A daemon that Ctrl-C ends at once, without a traceback, while it starts, and
    that SIGUSR1 does not end before there is a log to turn over.

    From its first own line on: `options` is what twistd asks for first, and the
    import behind it is most of what is left of the start.
    """

    @property
    def options(self):
        """The class of its options."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        return super().options


viewservice = Daemon(
    "Understudy view service",
    "viewservice.service",
    "Decides which server is primary and which are backups.",
    "viewservice",
)
pbserver = Daemon(
    "Understudy server",
    "pbserver.service",
    "Keeps one copy of the replicated state.",
    "pbserver",
)
