"""What people write, read in one way, and files written in one way.

A YAML or JSON text becomes a tree of `Table`, `Items` and `Scalar`, whose parts know their file and line (`yaml_tree`,
`nodes`). Kinds say what a key accepts, read a node, and give the JSON Schema for editors (`fields`). A wrong value is a
`WrongValueError` with message, hint and place; the room that reads makes an error of its own of it:

    from .._values.fields import Number, read_value
    from .._values.nodes import WrongValueError

    try:
        budget = read_value(Number(0, 1_000, whole=True), config["tool_budget"], where="config")
    except WrongValueError as wrong:
        raise wrong.told(PlanError, "tool_budget") from wrong

`names` finds the known name that is nearest to an unknown one. `files` reads text files, and is the only writer of
files: whole or not at all. The decision core may use all but `files` and `yaml_tree`.
"""
