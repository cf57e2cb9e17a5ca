"""What a choice of pairs earned: the batch's reward, the samples' and their mixture (Eq. 6-8), in the paper's form and in the code's."""

from __future__ import annotations

import numpy as np

MODES = ("paper", "repo-fixed", "repo-parity")
EPSILON = 1e-8  # nats; keeps the min-max of equal values a number
SLOPE, OFFSET = 50.0, 0.5  # of the code's squashing of the batch reward
TINY = 1e-12


def batch_reward(previous: np.ndarray, current: np.ndarray) -> float:
    """r_B of Eq. 6: how far the loss of a pool, unseen before, fell from the pool before it. In (-1, 1).

    (A - B) / max(A, B) with A = e^(mean of ``previous``), B = e^(mean of ``current``); losses of any size, shape (n,).
    """
    fall = float(np.mean(previous) - np.mean(current))
    return float(np.copysign(-np.expm1(-abs(fall)), fall))


def repo_batch_reward(previous: np.ndarray, current: np.ndarray, corrected: bool) -> float:
    """r_B of the authors' code, from scaled margins (n,): (P - C) / max(P, C), with P and C the means of -sigmoid.

    Both are negative, so that an improvement gives a negative reward. ``corrected`` divides by the size of max(P, C) instead.
    """
    before, now = (-float(np.mean(sigmoid(margins))) for margins in (previous, current))
    size = max(abs(max(before, now)), TINY)
    return (before - now) / size * (1.0 if corrected else -1.0)


def sample_rewards(margins: np.ndarray, chosen_log_probs: np.ndarray, delta: float) -> np.ndarray:
    """r_S of Eq. 7, in [0, 1], shape (n,): delta * g(margin) + (1 - delta) * (1 - g(chosen log-prob)), g the min-max over the pool."""
    rewards: np.ndarray = delta * min_max(margins) + (1 - delta) * (1 - min_max(chosen_log_probs))
    return rewards


def rewards(batch: float, samples: np.ndarray, gamma: float, mode: str) -> np.ndarray:
    """r of Eq. 8, shape (n,): gamma * sigmoid(r_B) + (1 - gamma) * sigmoid(r_S).

    The code has sigmoid(50 r_B + 0.5) for the first, and in ``repo-parity`` a second sigmoid around the other.
    """
    of_batch = sigmoid(np.float64(batch if mode == "paper" else SLOPE * batch + OFFSET))
    of_samples = sigmoid(sigmoid(samples)) if mode == "repo-parity" else sigmoid(samples)
    mixed: np.ndarray = gamma * of_batch + (1 - gamma) * of_samples
    return mixed


def min_max(values: np.ndarray) -> np.ndarray:
    """Values (n,) as shares of the way from their least to their greatest; all 0 where they are equal."""
    low = values.min()
    shares: np.ndarray = (values - low) / (values.max() - low + EPSILON)
    return shares


def sigmoid(x: np.ndarray | np.float64) -> np.ndarray:
    """1 / (1 + e^-x), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))
