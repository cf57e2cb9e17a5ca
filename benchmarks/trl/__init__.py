"""prefbench's shared core beside TRL's DPOTrainer, on the same pairs in the same order: ``python -m benchmarks.trl``."""
