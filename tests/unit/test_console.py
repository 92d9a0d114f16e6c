"""Progress as people and programs read it, and how much longer it takes."""

import json
from types import SimpleNamespace

import pytest

from scene.cli.console import format_duration, progress_display
from scene.progress import Pace, Progress


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_was_cached_says_nothing_of_the_pace(clock: Clock) -> None:
    pace = Pace(clock)
    assert pace.remaining() is None
    # 900 of 1000 were known before: nothing can be said until one has been measured.
    pace.add(Progress(900, 1000, {"cached": 900}))
    clock.now += 30
    assert pace.remaining() is None
    pace.add(Progress(902, 1000))
    # Two in 30 s, and 98 to go.
    assert pace.remaining() == pytest.approx(98 * 15)
    clock.now += 20
    assert pace.remaining() == pytest.approx(98 * 15 - 20)
    clock.now += 1e6
    assert pace.remaining() == 0


def test_a_count_that_begins_anew_has_a_pace_of_its_own(clock: Clock) -> None:
    pace = Pace(clock)
    pace.add(Progress(0, 100))
    clock.now += 10
    pace.add(Progress(100, 100))
    # A second pass, ten times as slow.
    pace.add(Progress(1, 100))
    clock.now += 10
    pace.add(Progress(11, 100))
    assert pace.remaining() == pytest.approx(89)


def test_an_unknown_total_has_no_end(clock: Clock) -> None:
    pace = Pace(clock)
    pace.add(Progress(0, None))
    clock.now += 1
    pace.add(Progress(10, None))
    assert pace.remaining() is None


def test_nothing_left_takes_no_time(clock: Clock) -> None:
    pace = Pace(clock)
    pace.add(Progress(7, 7))
    assert pace.remaining() == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (185, "3 min"), (3599, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def show(log_format: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scene.cli.console.time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr("scene.cli.console.Pace", lambda: Pace(clock))
    with progress_display("evaluate", "points", log_format) as on_progress:  # type: ignore[arg-type]
        on_progress(Progress(10, 20, {"cached": 10}))
        clock.now += 60
        on_progress(Progress(15, 20, {"cached": 10, "failed": 2}))


def test_lines_of_text_have_eta_and_failures(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show("text", clock, monkeypatch)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "scene: evaluate: 15/20 points, cached 10, failed 2, 60 s, ETA 1 min"


def test_lines_of_json_have_eta_and_failures(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show("json", clock, monkeypatch)
    event = json.loads(capsys.readouterr().err)
    assert (event["done"], event["total"], event["eta_s"]) == (15, 20, 60.0)
    assert (event["cached"], event["failed"]) == (10, 2)


def test_the_bar_says_the_same(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    show("text", clock, monkeypatch)
    shown = capsys.readouterr().err
    assert "ETA 1 min" in shown
    assert "failed 2" in shown
