"""Keys: the same values give the same key for ever, and a golden value holds them."""

from __future__ import annotations

import pytest

from prefbench.identity import canonical, digest, file_digest, stage_key


def test_the_order_of_keys_does_not_matter_and_the_form_is_fixed():
    assert canonical({"b": 1, "a": [0.1, None, True, "ü"]}) == '{"a":[0.1,null,true,"ü"],"b":1}'


def test_golden_key():
    # A change of this value makes every record in the world another record: raise IDENTITY_VERSION when that is meant.
    include = {"objective": {"name": "dpo", "options": {"beta": 0.1}}, "seed": 0}
    assert stage_key("train", include) == "3465be8e35a5b9ae0f254035598e12763c6fb0cd93470fd49e59234aff4341d3"


def test_stage_and_every_value_enter_the_key():
    keys = {stage_key("train", {"beta": 0.1}), stage_key("answer", {"beta": 0.1}), stage_key("train", {"beta": 0.10000001})}
    assert len(keys) == 3


def test_numbers_that_are_none_are_refused():
    with pytest.raises(ValueError, match="JSON"):
        digest({"beta": float("inf")})


def test_a_files_digest_depends_on_its_bytes(tmp_path):
    (tmp_path / "weights").write_bytes(b"123")
    before = file_digest(tmp_path / "weights")
    (tmp_path / "weights").write_bytes(b"124")
    assert (len(before), before != file_digest(tmp_path / "weights")) == (64, True)
