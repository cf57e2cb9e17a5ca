"""prefbench: the referee for preference-tuning objectives and sample schedulers."""

__version__ = "0.1.0"
