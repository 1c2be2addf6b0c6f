"""
The `understudy` command, and one name to import a clerk from:

    from understudy import BlockingClerk

The names are those of the package `client`.  They can be imported from here even
where a module of the program is called ``client`` or ``wire``, too.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from client import (
        BlockingClerk,
        Clerk,
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

#: Where all packages of this project are.
_HERE = Path(__file__).resolve().parent.parent


def __getattr__(name: str) -> Any:
    # Late: the command needs none of them, and has to start quickly.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_client(), name)


def _client() -> Any:
    sys.path.insert(0, str(_HERE))
    try:
        for package in ("wire", "client"):
            found = importlib.import_module(package)
            if Path(str(found.__file__)).resolve().parent != _HERE / package:
                raise ImportError(
                    f"understudy needs its own package {package!r}, but this program "
                    f"has imported {found.__file__} under that name before; import "
                    "from understudy first, or rename that module"
                )
    finally:
        sys.path.remove(str(_HERE))
    return found
