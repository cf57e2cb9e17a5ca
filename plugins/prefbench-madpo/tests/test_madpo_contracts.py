"""The contracts of objectives and columns, kept by MADPO and by its reward model's margins."""

from __future__ import annotations

from prefbench_madpo import Madpo, RewardMargin

from prefbench.testing import ColumnContract, ObjectiveContract


class TestMadpo(ObjectiveContract):
    component = Madpo
    variants = ({}, {"variant": "amp-only"}, {"variant": "reg-only"}, {"c_max": 2.0, "c_min": 0.0, "tau": 0.0}, {"steepness": 50.0})


class TestRewardMargin(ColumnContract):
    component = RewardMargin
    variants = ({"epochs": 2}, {"epochs": 2, "noise": 0.5}, {"epochs": 1, "held_out_share": 0.0})
