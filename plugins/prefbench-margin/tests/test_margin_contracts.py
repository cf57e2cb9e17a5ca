"""The contract of objectives, kept by each of the three losses, with the options that change what they compute."""

from __future__ import annotations

from prefbench_margin import Ams, ApoHingeSoftplus, ApoHingeZero

from prefbench.testing import ObjectiveContract


class TestAms(ObjectiveContract):
    component = Ams
    variants = ({}, {"delta": 0.69, "epsilon": 0.0}, {"delta_schedule": "linear"}, {"cut": "softplus"})


class TestApoHingeZero(ObjectiveContract):
    component = ApoHingeZero
    variants = ({}, {"double_beta": True}, {"margin": 0.0})


class TestApoHingeSoftplus(ObjectiveContract):
    component = ApoHingeSoftplus
    variants = ({}, {"double_beta": True})
