"""The shared core: the forward, the loop, the device, checkpoints and the clocks."""
