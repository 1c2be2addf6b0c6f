"""A real view service that is paused, killed and restarted under real servers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.processes import Service, service

pytestmark = pytest.mark.processes

#: How long a pause lasts: three times what means death at the defaults.
PAUSE_S = 3 * 5 * 0.1


def number(cluster: Service) -> int:
    return int(cluster.status()["view"]["number"])


def all_heard(cluster: Service) -> None:
    """Until the view service has heard everybody anew."""
    cluster.until(
        lambda status: (
            status["view"]["acknowledged"]
            and len(status["servers"]) == 3
            and all(each["connected"] for each in status["servers"])
            and all(each["silent_ticks"] <= 1 for each in status["servers"])
        ),
        "everybody connected, and no more than a tick ago",
    )


def test_l2_a_paused_view_service_finds_nobody_dead(tmp_path: Path) -> None:
    with service(tmp_path) as cluster:
        cluster.safe()
        all_heard(cluster)
        before = cluster.status()
        cluster.views.pause()
        time.sleep(PAUSE_S)
        cluster.views.wake()
        all_heard(cluster)
        assert cluster.views.event("tick.delayed")
        assert not cluster.views.event("server.died")
        assert before["view"] == cluster.status()["view"]


def test_v20_v21_a_killed_view_service_comes_back_with_its_views(
    tmp_path: Path,
) -> None:
    with service(tmp_path) as cluster:
        cluster.primary().kill()
        before = cluster.until(
            lambda found: found["view"]["acknowledged"] and found["view"]["number"] > 2,
            "an acknowledged view without the primary that was killed",
        )
        cluster.views.kill()
        cluster.views.start()
        after = cluster.safe()
        assert before["cluster"] == after["cluster"]
        assert before["view"] == after["view"]
        assert before["history"] == after["history"]


def test_a_paused_primary_is_replaced_and_comes_back_as_a_spare(tmp_path: Path) -> None:
    with service(tmp_path) as cluster:
        primary = cluster.primary()
        before = number(cluster)
        primary.pause()
        after = cluster.safe(without=primary.name)
        assert after["view"]["number"] == before + 1
        codes = {
            cause["server"]: cause["code"] for cause in after["history"][-1]["causes"]
        }
        assert codes.pop(primary.name) == "silent"
        assert sorted(codes.values()) == ["place free", "promoted"]
        primary.wake()
        cluster.until(
            lambda found: (
                {"idle"}
                == {s["state"] for s in found["servers"] if s["name"] == primary.name}
            ),
            "the old primary to be a spare",
        )
        assert number(cluster) == before + 1
