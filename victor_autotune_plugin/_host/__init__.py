"""The only room that knows Victor: where it is intercepted, and how its objects and ours translate.

- `seams` wraps Victor's public methods, and takes the wrappers out again;
- `interception` is what the wrappers do: the way of a run, start to finish;
- `translation` turns Victor's objects into our values and a plan into Victor's arguments;
- `meters` measures what members do, and `limits` makes budgets and deadlines bite;
- `workflows` loads and runs workflow files with team steps.
"""
