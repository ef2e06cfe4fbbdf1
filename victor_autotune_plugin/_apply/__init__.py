"""A suggestion applied to a plan or a file and rolled back, a test run to its verdict, and the history of changes."""
