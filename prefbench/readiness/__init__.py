"""What a machine lacks to run a track, found without a network and without loading a model."""
