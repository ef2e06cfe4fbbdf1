"""The only room that knows Victor: where it is intercepted, and how its objects and the plugin's values translate.

- `seams` wraps Victor's public methods, and removes the wrappers again;
- `interception` is the way of a run, start to finish;
- `call_context` knows in which workflow and step a run happens;
- `calls` reads the two calls that every run passes, and `translation` turns a plan into Victor's arguments;
- `meters` measures what members do, and `enforcement` enforces budgets and deadlines;
- `workflows` loads and runs workflow files with team steps.
"""
