"""The tests of a function that `code_team.yaml` writes: a scorer's command.

It gets what the team delivered on standard input, and prints the share of tests that pass: its score.
"""

import re
import sys

CASES = {"Hello World": "hello-world", "  two  words ": "two-words", "100 %": "100", "": ""}


def main() -> None:
    """Run the tests on the last fenced block of code."""
    blocks = re.findall(r"```python\n(.*?)```", sys.stdin.read(), re.DOTALL)
    names: dict[str, object] = {}
    exec(blocks[-1] if blocks else "", names)  # what your team writes belongs into a sandbox of yours
    slug = names.get("slug")
    passed = sum(callable(slug) and slug(text) == expected for text, expected in CASES.items())
    print(passed / len(CASES))


if __name__ == "__main__":
    main()
