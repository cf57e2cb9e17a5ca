"""The tuner: which settings of a row are tried, what came of them, and which are chosen."""
