"""
Connections, as everybody else uses them.

An `Owner` (a service, a clerk) is called by others through a `Listener`, calls
them through a `Dialler`, and sees a `Link` for each connection either way.
"""

from wire.dialler import Dialler
from wire.link import Link, Owner
from wire.listener import Listener

__all__ = ["Dialler", "Link", "Listener", "Owner"]
