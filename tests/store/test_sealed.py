"""Files that prove themselves: what was changed is found, set aside under a name that says so, and no longer in the way."""

from __future__ import annotations

import json

import pytest
import torch

from prefbench.errors import DamagedError
from prefbench.store.sealed import read_or_set_aside, read_sealed, read_tensors, write_sealed, write_tensors

VALUE = {"key": "abc", "numbers": [1, 0.1, None], "text": "ü"}


@pytest.mark.parametrize("name", ["mark.json", "column.json.gz"])
def test_sealed_json_reads_back(tmp_path, name):
    write_sealed(tmp_path / name, VALUE)
    assert read_sealed(tmp_path / name) == VALUE


def test_one_changed_digit_is_found(tmp_path):
    path = tmp_path / "mark.json"
    write_sealed(path, VALUE)
    path.write_text(path.read_text().replace("0.1", "0.2"))
    with pytest.raises(DamagedError, match=r"mark\.json: damaged"):
        read_sealed(path)


def test_json_without_a_seal_is_not_ours(tmp_path):
    path = tmp_path / "mark.json"
    path.write_text(json.dumps(VALUE))
    with pytest.raises(DamagedError):
        read_sealed(path)


def tensors() -> dict[str, torch.Tensor]:
    return {"weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(3), "state": torch.tensor([1, 2], dtype=torch.uint8)}


def test_tensors_and_their_text_read_back_bit_for_bit(tmp_path):
    write_tensors(tmp_path / "x.safetensors", tensors(), "about")
    found, about = read_tensors(tmp_path / "x.safetensors")
    assert about == "about"
    assert {name: (tensor.dtype, tensor.tolist()) for name, tensor in found.items()} == {
        name: (tensor.dtype, tensor.tolist()) for name, tensor in tensors().items()
    }


@pytest.mark.parametrize("place", [-1, 20])
def test_one_flipped_bit_of_a_tensor_or_of_the_header_is_found(tmp_path, place):
    path = tmp_path / "x.safetensors"
    write_tensors(path, tensors(), "about")
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedError):
        read_tensors(path)


def test_damage_is_set_aside_under_a_name_that_says_so_and_nothing_is_overwritten(tmp_path, caplog):
    path = tmp_path / "mark.json"
    for number in range(2):
        path.write_text(f"torn {number}")
        assert read_or_set_aside(path, read_sealed) is None
    assert sorted(found.name for found in tmp_path.iterdir()) == ["mark.json.damaged", "mark.json.damaged-2"]
    assert (tmp_path / "mark.json.damaged").read_text() == "torn 0"
    assert "mark.json.damaged" in caplog.text
    assert read_or_set_aside(path, read_sealed) is None
