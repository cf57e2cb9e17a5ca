"""Answers of a policy, and the harnesses that judge them."""
