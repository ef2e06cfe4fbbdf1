"""Teams of Victor's own sub-agents, played by the scripted model; files are what they can use of each other.

Each gets the team's goal and a prompt for its role, and what its tools answer. What a part finds in that goes into its
answer, so that a team whose members use each other's work answers otherwise without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from victor_autotune_testing.scripted.scripts import STUCK_ANSWER

from .scene import Scene
from .scene_kinds import Part, SubAgentScene, said

SOURCES: Final = {
    "src/cart.py": "def total(prices):\n    return sum(prices)\n",
    "src/tax.py": "RATE = 19\n",
    "README.md": "The shop computes totals of carts and the tax on them.\n",
}

_TOPICS: Final = {
    "researcher": "The shop has two modules, and totals are computed in the one for carts.",
    "planner": "First the rounding has to be settled, then the currencies, and the exports come last.",
    "executor": "Rounding to cents was checked with twelve carts, and every one of them came out right.",
    "reviewer": "The names are clear, the functions are short, and errors are raised where they belong.",
    "tester": "Carts without items, with one and with a thousand items behave as they are expected to.",
}
_MISSING: Final = (
    "The notice names neither the deadline nor the place, and customers are going to ask for both every day.\n\n"
    "VERDICT: NEEDS_WORK"
)
_CONTENT: Final = (
    "Deadline and place are both named now, nothing is missing from the notice, and it can be put up today.\n\n"
    "VERDICT: SATISFIED"
)
_UNCLEAR: Final = ("dependent", "unknown")
_HARMLESS: Final = ("independent", "unknown")

Tools = tuple[tuple[str, Mapping[str, Any]], ...]


def _part(member: str, role: str, text: str = "", *tools: tuple[str, Mapping[str, Any]], **fields: Any) -> Part:
    return Part(member=member, role=role, answer=said(text or _TOPICS[role]), tools=tools, **fields)


def _read(path: str) -> tuple[str, Mapping[str, Any]]:
    return "read", {"path": f"{{here}}/{path}"}


def _write(path: str, content: str) -> tuple[str, Mapping[str, Any]]:
    return "write", {"path": f"{{here}}/{path}", "content": content, "force": True}


def _shell(command: str) -> tuple[str, Mapping[str, Any]]:
    return "shell", {"cmd": f"cd {{here}}; {command}", "action": "exec"}


def _each(roles: Mapping[str, str], *tools: tuple[str, Mapping[str, Any]]) -> tuple[Part, ...]:
    """Let every member call the same tools and then say something of its own."""
    return tuple(_part(name, role, "", *tools) for name, role in roles.items())


def _pair(given: tuple[str, Mapping[str, Any]], taken: tuple[str, Mapping[str, Any]], finds: str) -> tuple[Part, ...]:
    """Let an executor leave something, and a reviewer answer with what it finds."""
    return (
        _part("maker", "executor", "What was asked for is in its place now.", given),
        _part("taker", "reviewer", "What counts here is {found}.", taken, finds=finds),
    )


def _team(name: str, kind: str, goal: str, *parts: Part, **fields: Any) -> SubAgentScene:
    return SubAgentScene(name=name, kind=kind, goal=goal, parts=parts, **{"files": SOURCES, **fields})


_TWO: Final = {"reader": "researcher", "checker": "reviewer"}
_THREE: Final = {"reader": "researcher", "planner": "planner", "checker": "reviewer"}
_FIVE: Final = {**_THREE, "maker": "executor", "tester": "tester"}
_LONG_GOAL: Final = (
    "Review the module that computes totals of carts, and say whether prices are rounded before or after the tax is "
    "added, because two customers were charged one cent too much"
)
_USES: Final = "maker>taker"

INDEPENDENT: Final = (
    _team("two speak", "nobody reads", "review the shop", *_each(_TWO)),
    _team("five speak", "nobody reads", "review the whole shop", *_each(_FIVE)),
    _team("stages speak", "nobody reads", "review the carts", *_each(_THREE), formation="pipeline"),
    _team("beside each other", "nobody reads", "review the taxes", *_each(_THREE), formation="parallel"),
    _team("one vote", "consensus", "review the rounding", *_each(_THREE), formation="consensus"),
    _team("a leader", "delegation", "review the exports", *_each(_THREE), formation="hierarchical"),
    _team("step", "workflow", "review the shop as a step", *_each(_THREE), as_step=True),
    _team("step with reads", "workflow", "read the notes", *_each(_TWO, ("read", {"path": "notes.md"})), as_step=True),
    _team("one file", "same files read", "review the total", *_each(_THREE, _read("src/cart.py"))),
    _team("two files", "same files read", "review both", *_each(_FIVE, _read("src/cart.py"), _read("src/tax.py"))),
    _team(
        "different files", "files read", "review what there is",
        _part("carts", "researcher", "Totals are sums: {found}.", _read("src/cart.py"), finds=r"/return (\w+)/"),
        _part("taxes", "reviewer", "The rate is {found}.", _read("src/tax.py"), finds=r"/RATE = (\d+)/"),
    ),
    _team("folders", "folders listed", "review the layout", *_each(_TWO, ("ls", {"path": "{here}/src"}))),
    _team("searched", "search", "look for totals", *_each(_TWO, ("search", {"cmd": 'grep "total" {here}/src'})),
          verdicts=_HARMLESS),
    _team(
        "searched beside a write", "search", "look for the rate",
        _part("maker", "executor", "The guide is there.", _write("guide.md", "Install it first.\n")),
        _part("checker", "researcher", "It is {found}.", ("search", {"cmd": 'grep "RATE" {here}/src'}), finds="/RATE/"),
        verdicts=_HARMLESS,
    ),
    _team(
        "shell read beside a write", "shell", "print the rate",
        _part("maker", "executor", "The guide is there.", _write("guide.md", "Install it first.\n")),
        _part(
            "checker", "reviewer", "The rate is {found}.",
            ("shell", {"cmd": "cat src/tax.py", "cwd": "{here}", "readonly": True}), finds=r"/RATE = (\d+)/",
        ),
        verdicts=_HARMLESS,
    ),
    _team("quoted goal", "goal quoted", _LONG_GOAL, *(
        _part(name, role, f"I was asked: {_LONG_GOAL}. {_TOPICS[role]}") for name, role in _THREE.items()
    )),
    _team("equal answers", "equal answers", "review the errors", *(
        _part(name, role, "Both modules raise errors early, name the argument, and say what was expected instead.")
        for name, role in _THREE.items()
    )),
    _team(
        "own files written", "own files", "document the shop",
        _part("guide", "executor", "The guide is written.", _write("guide.md", "Install it, and add a cart.\n")),
        _part("tests", "tester", "The test plan is written.", _write("plan/tests.md", "Try an empty cart first.\n")),
    ),
    _team(
        "written beside a read", "own files", "extend the shop",
        _part("maker", "executor", "Discounts are there.", _write("src/discount.py", "RATE = 5\n")),
        _part("checker", "reviewer", "The rate of the tax is {found}.", _read("src/tax.py"), finds=r"/RATE = (\d+)/"),
    ),
    _team("harmless shell", "shell", "look around", *_each({"one": "executor", "two": "reviewer"}, _shell("ls src")),
          verdicts=_HARMLESS),
    _team("nothing there", "failed reads", "look for a changelog", *_each(_TWO, _read("docs/history/CHANGES.rst")),
          verdicts=_HARMLESS),
)  # fmt: skip

DEPENDENT: Final = (
    _team("file", "file written and read", "choose a build", *_pair(
        _write("build.txt", "The build that goes out on Monday has the number 7412.\n"),
        _read("build.txt"), r"/number (\d+)/",
    ), uses=_USES),
    _team("short file", "file written and read", "choose a port", *_pair(
        _write("port", "8443\n"), _read("port"), r"/\t(\d{4})/"
    ), uses=_USES),
    _team("absolute path", "file written and read", "choose a host", *_pair(
        _write("host.txt", "host db7\n"), ("read", {"path": "{root}/src/../host.txt"}), r"/host (\w+)/"
    ), uses=_USES),
    _team("folder listed", "folder listed", "split a module", *_pair(
        _write("src/discount.py", "RATE = 5\n"), ("ls", {"path": "{here}/src"}), r"/discount\.py/"
    ), uses=_USES),
    _team("tree listed", "folder listed", "add an example", *_pair(
        _write("examples/first.py", "print(1)\n"), ("ls", {"path": "{here}"}), r"/first\.py/"
    ), uses=_USES),
    _team("file removed", "failed reads", "remove the tax", *_pair(
        _shell("rm src/tax.py"), _read("src/tax.py"), r"/RATE = (\d+)/"
    ), uses=_USES, verdicts=_UNCLEAR),
    _team("tree searched", "search", "rename a function", *_pair(
        _write("src/renamed.py", "def grand_total(): ...\n"),
        ("search", {"cmd": 'grep "grand_total" {here}/src'}), r"/renamed\.py/",
    ), uses=_USES, verdicts=_UNCLEAR),
    _team("plan in stages", "file written and read", "plan the discount", *_pair(
        _write("plan.md", "Discounts come before taxes, and never make a price negative.\n"),
        _read("plan.md"), r"/before (\w+)/",
    ), uses=_USES, formation="pipeline"),
    _team(
        "chain of files", "file written and read", "publish the prices",
        _part("first", "executor", "The prices are there.", _write("prices.csv", "tea,3\n")),
        _part(
            "second", "tester", "The sum of {found} is there.",
            _read("prices.csv"), _write("sums.csv", "sum,{found}\n"), finds=r"/tea,(\d+)/",
        ),
        _part("third", "reviewer", "The sum is {found}.", _read("sums.csv"), finds=r"/sum,(\w+)/"),
        uses="first>second second>third",
    ),
    _team("code and test", "code → test", "write a converter", *_pair(
        _write("convert.py", "print('result', 6 * 7)\n"), _shell("python3 convert.py"), r"/result (\d+)/"
    ), uses=_USES, verdicts=_UNCLEAR),
    _team("code and review", "code → test", "write a parser", *_pair(
        _write("parse.py", "def parse(text):\n    return text.split(';')\n"), _read("parse.py"), r"/split\('(.)'\)/"
    ), uses=_USES),
    _team("shell to shell", "shell", "collect the errors", *_pair(
        _shell("echo 17 > errors.txt"), _shell("cat errors.txt"), r"/stdout': '(\d+)/"
    ), uses=_USES, verdicts=_UNCLEAR),
    _team("shell to read", "shell", "count the lines", *_pair(
        _shell("echo lines 23 > count.txt"), _read("count.txt"), r"/lines (\d+)/"
    ), uses=_USES, verdicts=_UNCLEAR),
    _team("wrong name", "failed reads", "write a report", *_pair(
        _write("report.txt", "errors 31\n"), _read("reprot.txt"), r"/errors (\d+)/"
    ), uses=_USES, verdicts=_UNCLEAR),
    _team("name learned", "failed reads", "write the figures", *_pair(
        _write("figures.json", "{}\n"), ("read", {"path": "{here}/figurse.json"}), r"/figures\.json/"
    ), uses=_USES, verdicts=_UNCLEAR),
    _team("bare name", "failed reads", "choose a queue", *_pair(
        _write("etc/{here}.conf", "queue q3\n"), ("read", {"path": "{here}.conf"}), r"/queue (\w+)/"
    ), uses=_USES, verdicts=_UNCLEAR),
    _team("name with its project", "failed reads", "choose a topic", *_pair(
        _write("topic", "topic t5\n"), ("read", {"path": "project/{here}/topic"}), r"/topic (\w+)/"
    ), uses=_USES, verdicts=_UNCLEAR),
    _team("folder read", "folder listed", "add a guide", *_pair(
        _write("guides/first.md", "Start here.\n"), _read("guides"), r"/first\.md/"
    ), uses=_USES, verdicts=_UNCLEAR),
    _team("shell listing", "shell", "add a script", *_pair(
        _write("bin/run", "echo run\n"), ("shell", {"cmd": "ls bin", "cwd": "{here}"}), r"/(run)\\n/"
    ), uses=_USES, verdicts=_UNCLEAR),
    _team(
        "write refused", "both written", "write a licence",
        _part("one", "executor", "All rights are kept.", _write("LICENCE", "All rights are kept.\n")),
        _part(
            "two", "tester", "It ended with {found}.",
            ("write", {"path": "{here}/LICENCE", "content": "All may use it.\n"}), finds="/Refusing|Successfully/",
        ),
        uses="one>two", verdicts=_UNCLEAR,
    ),
    _team(
        "both written", "both written", "write a summary",
        _part("one", "executor", "My summary is there.", _write("summary.md", "Totals first.\n")),
        _part("two", "tester", "A summary is there.", _write("summary.md", "Taxes first.\n")),
        uses="one>two",
    ),
    _team(
        "read, then written", "read then written", "raise the rate",
        _part("before", "researcher", "The rate was {found}.", _read("src/tax.py"), finds=r"/RATE = (\d+)/"),
        _part("after", "executor", "The rate is raised.", _write("src/tax.py", "RATE = 20\n")),
        uses="before>after",
    ),
    _team(
        "draft and critic", "reflection", "draft a notice on returns",
        _part("author", "executor", "Goods may be returned for thirty days, in any shop.", when="REVIEWER FEEDBACK"),
        _part("author", "executor", "Goods may be returned."),
        Part(member="critic", role="reviewer", when="in any shop", answer=_CONTENT),
        Part(member="critic", role="reviewer", answer=_MISSING),
        formation="reflection", uses="author>critic critic>author",
    ),
    _team("behind a link", "file written and read", "choose a release", *_pair(
        _write("current/number", "v31\n"), _read("src/number"), r"/v(\d+)/"
    ), uses=_USES, links={"current": "src"}),
    _team(
        "vote in three rounds", "consensus in rounds", "choose a store for carts",
        _part("one", "researcher", "Postgres is what I would take, for it is there already."),
        _part("two", "planner", "Redis is what I would take, for carts are short-lived."),
        Part(member="three", role="reviewer", answer=STUCK_ANSWER),
        *(
            _part(name, role, "We agree once {found}.", when="previous_results", finds=r"/Postgres is.+Redis (is)/")
            for name, role in {"one": "researcher", "two": "planner", "three": "reviewer"}.items()
        ),
        formation="consensus:3", uses="one>two two>one one>three two>three three>one three>two", verdicts=_UNCLEAR,
    ),
    _team("ledger", "custom tools", "keep the ledger", *_pair(
        ("ledger_add", {"book": "{here}", "amount": 250}), ("ledger_total", {"book": "{here}"}), r"/balance (\d+)/"
    ), uses=_USES, verdicts=_UNCLEAR, allowed_tools=("ledger_add", "ledger_total")),
)  # fmt: skip

SUB_AGENT_SCENES: Final[tuple[Scene, ...]] = (
    *INDEPENDENT,
    *DEPENDENT,
    _team("own sums", "custom tools", "compute the sums", *_each(
        {"one": "executor", "two": "reviewer"}, ("ledger_total", {"book": "nobody's"})
    ), verdicts=_HARMLESS, allowed_tools=("ledger_total",)),
)  # fmt: skip

_LEDGER: dict[str, int] = {}


def add_tools(orchestrator: Any) -> None:
    """Give Victor the application's own tools that some scenes use; which access they have nobody says."""
    from victor.tools.decorators import tool

    @tool  # type: ignore[untyped-decorator]
    async def ledger_add(book: str, amount: int) -> str:
        """Add an amount to a book.

        Args:
            book: Name of the book.
            amount: What to add.
        """
        _LEDGER[book] = _LEDGER.get(book, 0) + amount
        return "added"

    @tool  # type: ignore[untyped-decorator]
    async def ledger_total(book: str) -> str:
        """Tell the balance of a book.

        Args:
            book: Name of the book.
        """
        return f"balance {_LEDGER.get(book, 0)}"

    for one in (ledger_add, ledger_total):
        orchestrator.tools.register(one)
