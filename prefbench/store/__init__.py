"""Records, items and artefacts on disk: written atomically, read with their schema."""
