"""Pairs with stable ids, the chat template, tokens, and the built-in source of files."""
