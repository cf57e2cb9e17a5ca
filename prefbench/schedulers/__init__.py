"""The built-in schedulers, registered through the same hook as a stranger's."""
