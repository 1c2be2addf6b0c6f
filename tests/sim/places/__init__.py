"""The rare and delicate places of the rules, by name."""

from __future__ import annotations

from tests.sim.places.clerk import CLERK
from tests.sim.places.place import Place
from tests.sim.places.primary import PRIMARY
from tests.sim.places.replica import REPLICA
from tests.sim.places.state import STATE
from tests.sim.places.views import VIEWS

PLACES: tuple[Place, ...] = (*REPLICA, *PRIMARY, *STATE, *VIEWS, *CLERK)
