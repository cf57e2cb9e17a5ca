"""The built-in preference losses, a file per family, registered through the same hook as a stranger's."""
