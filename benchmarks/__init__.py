"""Measurements behind statements of the documentation; each prints its table as Markdown."""
