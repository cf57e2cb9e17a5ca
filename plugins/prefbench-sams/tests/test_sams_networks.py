"""The networks of SamS: the presets' sizes, and what f_S hands to f_S'."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from prefbench_sams.networks import ArmEncoder, Exploitation, Exploration, Networks, block_means
from prefbench_sams.presets import PRESETS, Architecture

TINY = Architecture(connector=5, encoder=4, encoder_layers=1, heads=2, depth=4, width=6, block=3, dropout=0.5)


def arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.double().numpy() for name, value in module.state_dict().items()}


def normed(x: np.ndarray) -> np.ndarray:
    """A layer norm as it starts: gain 1, offset 0."""
    return np.asarray((x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6))


def weights(module: torch.nn.Module | None) -> int:
    assert module is not None
    return sum(parameter.numel() for parameter in module.parameters())


def on_paper(preset: str) -> Networks:
    """The networks without their memory: shapes only."""
    with torch.device("meta"):
        return Networks(PRESETS[preset], features=4096, explores=True)


@pytest.mark.parametrize(("preset", "exploitation", "exploration"), [("paper", 236.5e6, 3.08e9), ("repo-parity", 236.5e6, 192.7e6)])
def test_the_large_presets_have_the_stated_sizes(preset: str, exploitation: float, exploration: float) -> None:
    """384 * 4096 + 14 * 4096^2 + 4096 for f_S; 15 * 14336^2 or 15 * 3584^2 for f_S'; six layers of width 384 before them."""
    networks = on_paper(preset)
    assert weights(networks.exploitation) == pytest.approx(exploitation, rel=1e-3)
    assert weights(networks.exploration) == pytest.approx(exploration, rel=2e-3)
    assert weights(networks.encoder.layers) == pytest.approx(6 * 12 * 384**2, rel=1e-2)
    assert networks.encoder.connector[0].weight.shape == (1024, 4096)
    assert networks.encoder.connector[2].weight.shape == (384, 1024)


def test_sixteen_linear_layers_deep() -> None:
    networks = on_paper("paper")
    for network in (networks.exploitation, networks.exploration):
        assert network is not None
        assert sum(isinstance(module, torch.nn.Linear) for module in network.modules()) == 16


def test_the_small_preset_is_small() -> None:
    networks = Networks(PRESETS["small"], features=64, explores=True)
    prediction, activations = networks.predict(torch.randn(5, 4, 64))
    assert prediction.shape == (5,)
    assert activations.shape == (5, 2 * 256 // 4)
    assert weights(networks) < 1e6


def test_f_s_adds_each_block_to_what_came_before() -> None:
    network, x = Exploitation(TINY).eval(), torch.randn(3, 4)
    w = arrays(network)
    h0 = np.maximum(x.numpy() @ w["first.weight"].T + w["first.bias"], 0)
    h1 = np.maximum(h0 @ w["blocks.0.weight"].T + w["blocks.0.bias"], 0)
    x1 = normed(h0 + h1)
    h2 = np.maximum(x1 @ w["blocks.1.weight"].T + w["blocks.1.bias"], 0)
    last = normed(x1 + h2) @ w["last.weight"].T + w["last.bias"]
    prediction, activations = network(x)
    assert prediction.tolist() == pytest.approx(last[:, 0].tolist(), abs=1e-5)
    assert activations.detach().numpy() == pytest.approx(np.hstack([h1, h2]), abs=1e-5)


def test_f_s_prime_adds_its_input_to_each_block() -> None:
    network, h = Exploration(TINY).eval(), torch.rand(3, 4)
    w, given = arrays(network), h.double().numpy()
    x = np.maximum(np.maximum(given @ w["first.weight"].T + w["first.bias"], 0) + given, 0)
    for block in ("blocks.0", "blocks.1"):
        x = normed(np.maximum(x @ w[f"{block}.weight"].T + w[f"{block}.bias"], 0) + given)
    last = x @ w["last.weight"].T + w["last.bias"]
    assert network(h).tolist() == pytest.approx(last[:, 0].tolist(), abs=1e-5)


def test_layers_of_the_encoder_start_apart() -> None:
    first, second = Networks(PRESETS["small"], features=8, explores=False).encoder.layers
    assert not torch.equal(next(first.parameters()), next(second.parameters()))


def test_the_codes_context_has_length_one() -> None:
    encoder = ArmEncoder(PRESETS["repo-parity"], features=8).eval()
    assert encoder(torch.randn(3, 2, 8)).norm(dim=-1).tolist() == pytest.approx([1.0] * 3, abs=1e-5)


def test_block_means_average_neighbours() -> None:
    assert block_means(torch.tensor([[1.0, 3.0, 5.0, 7.0]]), 2).tolist() == [[2.0, 6.0]]
