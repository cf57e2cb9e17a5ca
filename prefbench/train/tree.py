"""Nested state of a training run as JSON and tensors, and back: what a checkpoint file can hold. Nothing is pickled."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from prefbench.errors import PrefbenchError

KINDS = ("$tensor", "$array", "$tuple", "$float")


def flatten(tree: Any, where: str = "state") -> tuple[str, dict[str, torch.Tensor]]:
    """A tree of mappings with text keys, lists, tuples, JSON scalars, arrays and tensors, as JSON text and tensors by name.

    Raises PrefbenchError with the place of anything else.
    """
    tensors: dict[str, torch.Tensor] = {}
    return json.dumps(_flat(tree, where, tensors), allow_nan=False), tensors


def unflatten(text: str, tensors: Mapping[str, torch.Tensor]) -> Any:
    """The tree that ``flatten`` took apart."""
    return _tree(json.loads(text), tensors)


def _flat(value: Any, where: str, tensors: dict[str, torch.Tensor]) -> Any:
    match value:
        case torch.Tensor():
            # A copy: views of one storage would be refused by the file format.
            return {"$tensor": _named(where, value.detach().cpu().clone(memory_format=torch.contiguous_format), tensors)}
        case np.generic():
            return _flat(value.item(), where, tensors)
        case np.ndarray():
            return {"$array": _named(where, torch.from_numpy(np.ascontiguousarray(value).reshape(value.shape).copy()), tensors)}
        case float() if not math.isfinite(value):
            return {"$float": repr(value)}
        case None | bool() | int() | float() | str():
            return value
        case tuple():
            return {"$tuple": [_flat(item, f"{where}.{i}", tensors) for i, item in enumerate(value)]}
        case list():
            return [_flat(item, f"{where}.{i}", tensors) for i, item in enumerate(value)]
        case Mapping() if all(isinstance(key, str) and key not in KINDS for key in value):
            return {key: _flat(item, f"{where}.{key}", tensors) for key, item in value.items()}
    raise PrefbenchError(
        f"{where}: a checkpoint cannot hold a {type(value).__name__}" + (" with such keys" if isinstance(value, Mapping) else ""),
        "state_dict() gives mappings with text keys, lists, numbers, texts, arrays and tensors",
        exit_code=1,
    )


def _named(where: str, tensor: torch.Tensor, tensors: dict[str, torch.Tensor]) -> str:
    """Put a tensor away under its place; keys with dots may spell the place of another, whose name is then taken."""
    name = where if where not in tensors else f"{where} {len(tensors)}"
    tensors[name] = tensor
    return name


def _tree(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_tree(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"$tensor": str(name)}:
            return tensors[name]
        case {"$array": str(name)}:
            return tensors[name].numpy()
        case {"$tuple": list(items)}:
            return tuple(_tree(item, tensors) for item in items)
        case {"$float": str(text)}:
            return float(text)
    return {key: _tree(item, tensors) for key, item in value.items()}
