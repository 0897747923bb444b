"""Progress bars on standard error: events, rate, time left, on one line of eighty columns."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from deploy.interruption import heed
from pipeline.progress import Progress as Watcher


def short(n_events: float) -> str:
    """Return a number of events in at most five characters: 999, 83.0k, 1.2M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n_events >= size:
            return f"{n_events / size:.1f}{unit}"
    return f"{n_events:.0f}"


class EventsColumn(ProgressColumn):
    """How many events are done, of how many, and how many a second."""

    def render(self, task: Task) -> Text:
        """Return the column's text."""
        total = f"/{short(task.total)}" if task.total else ""
        rate = f" {short(task.speed)}/s" if task.speed else ""
        return Text(f"{short(task.completed)}{total} events{rate}", no_wrap=True)


@contextmanager
def progress_bars(is_shown: bool = True) -> Iterator[Watcher]:
    """Draw one bar for each piece of work that is told of; a word before a comma names the work."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=8),
        EventsColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, disable=not (is_shown and console.is_terminal)) as bars:
        known: dict[str, int] = {}

        def watch(work: str, n_events: int, total: int | None) -> None:
            heed()
            name, _, state = work.partition(", ")
            if name not in known:
                known[name] = int(bars.add_task(name, total=total))
            # The state says what work is going on, where there is one.
            bars.update(known[name], description=state or name, advance=n_events, total=total)  # type: ignore[arg-type]

        yield watch
