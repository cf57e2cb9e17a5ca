"""Prefworld: a small instruction world whose true reward is known, so that a leaderboard can be checked against the truth."""
