"""Givers of verdicts: an endpoint, a local model; what is kept of their replies, and what they may cost."""
