import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.schedule import ScheduleSpec, WatchSpec, seconds_of
from pipeline.declare import read_declaration
from pipeline.errors import DeclarationError


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), (" 5 m ", 300), ("007s", 7)]
)
def test_a_duration_is_a_number_and_a_unit(text, seconds):
    assert seconds_of(text) == seconds


@given(st.integers(min_value=1, max_value=10**6))
def test_sixty_seconds_are_a_minute(number):
    assert seconds_of(f"{60 * number}s") == seconds_of(f"{number}m")


@pytest.mark.parametrize("text", ["", "10", "m", "0m", "-5m", "1.5h", "10 minutes", "1w", "10m 30s"])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="a number and s, m, h or d, for instance '10m'"):
        seconds_of(text)


@pytest.mark.parametrize("line", ["0 3 * * *", "*/10 * * * *", "0 0 1 jan *", "15 4 * * mon-fri"])
def test_a_cron_line_is_taken_as_it_is(line):
    assert ScheduleSpec(train=line).train == line


@pytest.mark.parametrize(
    "line", ["", "daily", "0 25 * * *", "* * * *", "0 3 * * * *", "@daily", "0 3 * * H", "0 0 LW * *", "0 0 * * 5L"]
)
def test_what_is_no_cron_line_is_refused_with_an_example(line):
    with pytest.raises(DeclarationError, match=r"train: .*which is no cron line.*for instance '0 3 \* \* \*'"):
        read_declaration({"train": line}, ScheduleSpec, "the schedule")


def test_a_watch_needs_how_often_what_and_where_to():
    with pytest.raises(DeclarationError, match=r"3 problems\n +every: is missing\n +watch: is missing\n +out: "):
        read_declaration({}, WatchSpec, "the schedule")
