"""Per-pair numbers, computed once before training, cached by content and shared by every cell that needs them."""
