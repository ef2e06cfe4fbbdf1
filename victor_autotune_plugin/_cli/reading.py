"""Reading long files where somebody may be watching."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from . import rendering as show

_BYTES_BETWEEN = 1 << 20


def tracked(lines: Iterable[bytes], title: str, size: int) -> Iterator[bytes]:
    """Yield the lines of a file; on a terminal a bar on stderr shows how far the reading is.

    Args:
        lines: The lines.
        title: What is being done.
        size: How many bytes there are.
    """
    console = show.err()
    if size < _BYTES_BETWEEN or not console.is_terminal or console.is_dumb_terminal:
        yield from lines
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(show.clean(title), total=size)
        waiting = 0
        for line in lines:
            waiting += len(line)
            if waiting >= _BYTES_BETWEEN:
                progress.update(task, advance=waiting)
                waiting = 0
            yield line
