"""Nested state to JSON and tensors and back, without loss of type or bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from prefbench.errors import PrefbenchError
from prefbench.train.tree import flatten, unflatten


def test_a_tree_comes_back_as_it_was():
    tree = {
        "numbers": [1, 2**200, 0.1, -0.0, True, None, "text"],
        "infinite": [math.inf, -math.inf],
        "pair": (1, [2, (3,)]),
        "tensor": torch.tensor([[1.5, -2.5]], dtype=torch.bfloat16),
        "scalar": torch.tensor(7, dtype=torch.uint8),
        "array": np.arange(4, dtype=np.int64).reshape(2, 2),
        "empty": np.empty((0, 3)),
        "mask": np.array([True, False]),
    }
    found = unflatten(*flatten(tree))
    assert repr(found) == repr(tree)
    assert found["tensor"].dtype == torch.bfloat16
    assert math.isnan(unflatten(*flatten({"x": math.nan}))["x"])
    assert unflatten(*flatten({"x": np.float64(0.1)}))["x"] == 0.1


def test_views_of_one_storage_become_tensors_of_their_own():
    base = torch.arange(6.0)
    _, tensors = flatten({"left": base[:3], "right": base[3:], "same": base})
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors.values()}) == 3


@pytest.mark.parametrize("value", [{1: "number as key"}, {"$tensor": "x"}, {1, 2}, object(), b"bytes"])
def test_anything_else_is_refused_with_its_place(value):
    with pytest.raises(PrefbenchError, match=r"state\.inner\.0: a checkpoint cannot hold"):
        flatten({"inner": [value]})


def test_keys_with_dots_do_not_take_each_others_tensors() -> None:
    """A network's weights have dots in their names, and stand beside mappings."""
    tree = {"a": {"b": torch.ones(2)}, "a.b": torch.zeros(3)}
    text, tensors = flatten(tree)
    back = unflatten(text, tensors)
    assert torch.equal(back["a"]["b"], tree["a"]["b"])
    assert torch.equal(back["a.b"], tree["a.b"])
