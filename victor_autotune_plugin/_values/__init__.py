"""What people write, read in one way: YAML as a tree that knows its lines, kinds of fields, error texts, and files."""
