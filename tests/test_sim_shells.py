"""
What the real shells must do in the simulator beyond what its checkers look for.
"""

from __future__ import annotations

import pytest

from tests.lab.service import Service


@pytest.mark.parametrize("seed", range(1, 9))
def test_who_has_left_is_forgotten(seed: int) -> None:
    lab = Service(servers=3, seed=seed)
    callers = [lab.clerk() for _ in range(6)]
    for caller in callers:
        caller.put("a", "1")
    lab.kill(lab.primary)
    callers[0].put("a", "2")
    lab.start(*lab.world.servers)
    for caller in callers[:3]:
        caller.process.close()
    for caller in callers[3:]:
        caller.process.end()
    lab.until(lambda: all(c.process.is_closed for c in callers[:3]), 1, "the end")
    lab.whole()
    lab.run(3)
    ends = lab.world.network.ends.values()
    assert {end.process.name for end in ends} == {"views", "s1", "s2", "s3"}
    for process in lab.world.running():
        service = process._service
        called = [end for end in ends if end.process is process and not end.is_dialled]
        assert not service._clerks
        assert len(service._listener._links) == len(called)
    # Those who said nothing before they went may come back.
    assert len(lab.server(lab.primary).history.state.table) == 3
    views = lab.world.views_process._service
    assert not views._watchers
    assert len(views._servers) == len(views._listener._links) == 3


def test_a_view_service_that_is_stopped_in_order_is_found_again() -> None:
    lab = Service(servers=2)
    clerk = lab.clerk()
    clerk.put("a", "1")
    before = lab.view
    lab.stop_views()
    clerk.put("a", "2")
    lab.world.start_views()
    lab.run(2)
    assert lab.view == before
    lab.kill(lab.primary)
    clerk.put("a", "3")
