"""Levels of tasks, from runs of whichever arm."""

from __future__ import annotations

from attrs import define, field


@define
class Levels:
    """Means of the tasks that come again, growing run by run, and shrunk by how well they are known.

    Which arm a run had plays no part, so what is taken off by them leaves a test of randomised arms exact. The means
    are shrunk towards the mean of all by the one-way random-effects variances (Robinson, *That BLUP is a good thing*,
    1991): a task that was seen once counts less than one that was seen often.
    """

    _tasks: dict[str, list[float]] = field(factory=dict)
    _runs: int = 0
    _zero: float = 0.0
    _sum: float = 0.0
    _squares: float = 0.0
    _explained: float = 0.0
    _square_counts: float = 0.0

    def add(self, task: str, value: float) -> None:
        """Add a run's value."""
        if not self._runs:
            self._zero = value
        value -= self._zero
        known = self._tasks.setdefault(task, [0, 0.0])
        count, total = known
        self._explained += (total + value) ** 2 / (count + 1) - (total * total / count if count else 0.0)
        self._square_counts += 2 * count + 1
        known[0], known[1] = count + 1, total + value
        self._runs += 1
        self._sum += value
        self._squares += value * value

    @property
    def come_again(self) -> bool:
        """Whether a task came more than once, and there is more than one."""
        return self._runs > len(self._tasks) > 1

    def count(self, task: str) -> int:
        """Return the runs of a task."""
        return int(self._tasks[task][0]) if task in self._tasks else 0

    @property
    def middle(self) -> float:
        """The mean of all runs; 0 without any."""
        return self._zero + self._sum / self._runs if self._runs else 0.0

    def effects(self) -> dict[str, float]:
        """Return how far each task is from the mean of all runs; empty when there are fewer than two."""
        total, tasks = self._runs, len(self._tasks)
        if tasks < 2:
            return {}
        grand = self._sum / total
        between = self._explained - self._sum * grand
        prior = 1.0
        if total > tasks and between > 0:
            error = max(self._squares - self._explained, 0.0) / (total - tasks)
            size = (total - self._square_counts / total) / (tasks - 1)
            spread = max((between / (tasks - 1) - error) / size, 0.0)
            if not spread:
                return dict.fromkeys(self._tasks, 0.0)
            prior = error / spread
        return {task: (value / count - grand) * count / (count + prior) for task, (count, value) in self._tasks.items()}
