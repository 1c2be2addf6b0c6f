"""Daemons and their files: clock, log, state file, descriptors; and a snapshot."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, put

MUTANTS: Final = (
    Mutant(
        "daemon-clock",
        "4.10",
        "a daemon's timers go by the wall clock",
        (
            put(
                "wire.daemon",
                """
    steady(reactor)
    install_fast_epoll_loop(""",
                """
    install_fast_epoll_loop(""",
            ),
        ),
    ),
    Mutant(
        "daemon-files",
        "bounds",
        "callers may use up the files that the state file needs",
        (
            put(
                "wire.daemon",
                "asked.within(max(files - FILES_RESERVED, files // 2))",
                "asked.within(files)",
            ),
        ),
    ),
    Mutant(
        "daemon-accept",
        "bounds",
        "of connections that cannot be accepted nothing is logged",
        (put("wire.daemon", 'error = "EMFILE"', "return"),),
    ),
    Mutant(
        "log-chatter",
        "bounds",
        "all that Twisted reports below a warning counts as routine",
        (
            put(
                "wire.logs",
                "is_twisted and _CHATTER_TEXTS.fullmatch(formatEvent(event)) "
                "is not None",
                "is_twisted",
            ),
        ),
    ),
    Mutant(
        "log-moved",
        "bounds",
        "a log that another program has moved away is not opened again",
        (put("wire.logs", "            self._openFile()", "            pass"),),
    ),
    Mutant(
        "log-escaped",
        "bounds",
        "a log line with a character that the terminal lacks is lost",
        (put("wire.logs", "escape_on(stream)", "pass"),),
    ),
    Mutant(
        "state-link",
        "4.12",
        "the lock of the state file belongs to a name, not to the file",
        (
            put(
                "viewservice.state_file",
                "Path(os.path.realpath(path))",
                "Path(path).absolute()",
            ),
        ),
    ),
    Mutant(
        "state-hard-link",
        "4.12",
        "a state file may have two owners under two names",
        (put("viewservice.state_file", "if self.path.exists():", "if False:"),),
    ),
    Mutant(
        "state-tried",
        "4.12",
        "whether the state file can be replaced is not tried at the start",
        (
            put(
                "viewservice.state_file",
                "        try:\n            return decode(data)",
                "        try:\n            self._saved = decode(data)\n"
                "            return self._saved",
            ),
        ),
    ),
    Mutant(
        "history-merge",
        "5 transfer 4",
        "keys of the old state that a snapshot has not stay",
        (
            put(
                "pbserver.history",
                """
        self.state = state
        self.digests""",
                """
        old, self.state = self.state, state
        old_pairs = getattr(old.machine, "_pairs", None)
        for key, value in () if old_pairs is None else list(old_pairs.items()):
            if state.machine._pairs.get(key) is None:
                state.machine._pairs.put(key, value)
        self.digests""",
            ),
        ),
    ),
)
