"""
Asking: the clerk, for Twisted programs, and the same for plain scripts.

`Clerk` answers with Deferreds, `BlockingClerk` with results.  Either raises
nothing but `ClerkError` for what may go wrong between a call and its answer;
`client.errors` draws the tree.
"""

from client.blocking import BlockingClerk
from client.clerk import Clerk
from client.errors import (
    ClerkError,
    CommandError,
    InDoubt,
    NotANumber,
    NotExecuted,
    TooLarge,
    WrongCluster,
)

__all__ = [
    "BlockingClerk",
    "Clerk",
    "ClerkError",
    "CommandError",
    "InDoubt",
    "NotANumber",
    "NotExecuted",
    "TooLarge",
    "WrongCluster",
]
