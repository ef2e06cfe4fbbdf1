"""The rules of 0.1, kept so that `replay` decides its experiments as they were decided."""
