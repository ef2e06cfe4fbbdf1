"""The snapshot file: what was saved is loaded, or nothing is."""
