"""Costs of the profiles: counted, complete, and within the small profile's budget."""

from __future__ import annotations

from functools import cache

import pytest

from model.errors import InputError
from model.evaluate.describe import PROFILES, STAGES, ModuleCost, describe
from model.networks.small import SmallNetworks


@cache
def rows(profile: str) -> dict[str, ModuleCost]:
    return {row.name: row for row in describe(profile)}


@pytest.mark.parametrize("profile", PROFILES)
def test_stages_are_sums_of_their_networks(profile: str) -> None:
    costs = rows(profile)
    assert tuple(costs)[-3:] == tuple(STAGES)
    networks = [row for name, row in costs.items() if name not in (*STAGES, "discriminator")]
    extract, enrol, render = (costs[stage] for stage in STAGES)
    assert enrol.gmac + render.gmac == pytest.approx(sum(row.gmac for row in networks))
    assert enrol.parameters + render.parameters == sum(row.parameters for row in networks)
    assert 0 < extract.gmac < enrol.gmac
    assert all(row.gmac > 0 and row.parameters > 0 for row in costs.values())


def test_published_costs() -> None:
    """Against arithmetic by hand: the largest layer of each network, and the totals as counted."""
    costs = rows("paper")
    voxels, pixels = 16 * 64 * 64, 64 * 64
    assert costs["dense_motion_network"].gmac > 343 * 137 * 21 * voxels / 1e9  # the 7x7x7 mask head
    assert costs["appearance_extractor"].gmac > 6 * 2 * 27 * 32 * 32 * voxels / 1e9  # the 3D residual blocks
    assert costs["generator"].gmac > 6 * 2 * 9 * 256 * 256 * pixels / 1e9  # the 2D residual blocks
    assert costs["render"].gmac == pytest.approx(168.5, abs=0.1)
    assert costs["render"].parameters == 52_348_460
    assert costs["extract"].gmac == pytest.approx(7.8, abs=0.1)


def test_learned_jacobians_cost_the_detector_alone() -> None:
    plain, learned = rows("paper"), rows("paper-jacobians")
    more = learned["canonical_detector"].parameters - plain["canonical_detector"].parameters
    assert more == 343 * 32 * 180 + 180
    assert learned["render"].parameters == plain["render"].parameters
    assert learned["render"].gmac == pytest.approx(plain["render"].gmac, rel=1e-6)


def test_small_profile_keeps_its_budget() -> None:
    costs = rows("small")
    assert costs["extract"].gmac <= 0.15
    assert costs["render"].gmac <= 2.0
    whole = sum(p.numel() for p in SmallNetworks().parameters())
    assert costs["enrol"].parameters + costs["render"].parameters == whole


def test_unknown_profile() -> None:
    with pytest.raises(InputError, match="small, paper"):
        describe("large")
