"""A full garbage collection visits what came after the start, not what was loaded."""

from __future__ import annotations

import gc

from server.garbage import defer_collection, freeze_loaded


def test_what_is_loaded_is_visited_no_more_and_later_garbage_is_still_found() -> None:
    try:
        defer_collection()
        assert not gc.isenabled()
        loaded = [{"number": number} for number in range(10_000)]
        assert freeze_loaded() >= len(loaded)
        assert gc.isenabled()
        visited = {id(thing) for thing in gc.get_objects()}
        assert not visited & {id(thing) for thing in loaded}
        later: list[object] = []
        later.append(later)
        del later
        assert gc.collect() >= 1
    finally:
        gc.enable()
        gc.unfreeze()
