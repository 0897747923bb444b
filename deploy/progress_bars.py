"""Progress bars on standard error: events, rate, time left."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from pipeline.progress import Progress as Watcher


class EventsColumn(ProgressColumn):
    """How many events are done, of how many, and how many a second."""

    def render(self, task: Task) -> Text:
        """Return the column's text."""
        total = f" of {task.total:,.0f}" if task.total else ""
        rate = f", {task.speed:,.0f}/s" if task.speed else ""
        return Text(f"{task.completed:,.0f}{total} events{rate}")


@contextmanager
def progress_bars(is_shown: bool = True) -> Iterator[Watcher]:
    """Draw one bar for each piece of work that is told of; a word before a comma names the work."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        EventsColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not (is_shown and console.is_terminal)) as bars:
        known: dict[str, int] = {}

        def watch(work: str, n_events: int, total: int | None) -> None:
            name = work.partition(",")[0]
            if name not in known:
                known[name] = int(bars.add_task(work, total=total))
            bars.update(known[name], description=work, advance=n_events, total=total)  # type: ignore[arg-type]

        yield watch
