"""Progress as people and programs read it, and how much longer it takes."""

import json
import re
from types import SimpleNamespace

import pytest

from scene.cli import run
from scene.cli.console import format_duration, progress_display
from scene.progress import Progress


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (185, "3 min"), (3599, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def show(log_format: str, clock: Clock, monkeypatch: pytest.MonkeyPatch, *readings: tuple[float, Progress]) -> None:
    """Readings, each so many seconds after the one before."""
    monkeypatch.setattr("scene.cli.console.time", SimpleNamespace(monotonic=clock))
    with progress_display("evaluate", "points", log_format) as on_progress:  # type: ignore[arg-type]
        for seconds, reading in readings:
            clock.now += seconds
            on_progress(reading)


# What was cached says nothing of the speed: five in 60 s, and five to go.
CACHED = (0, Progress(10, 20, {"cached": 10})), (60, Progress(15, 20, {"cached": 10, "failed": 2}))


def test_lines_of_text_have_eta_and_failures(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show("text", clock, monkeypatch, *CACHED)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "scene: evaluate: 15/20 points, cached 10, failed 2, 60 s, ETA 1 min"


def test_lines_of_json_have_eta_and_failures(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show("json", clock, monkeypatch, *CACHED)
    event = json.loads(capsys.readouterr().err)
    assert (event["done"], event["total"], event["eta_s"]) == (15, 20, 60.0)
    assert (event["cached"], event["failed"]) == (10, 2)


@pytest.mark.parametrize(
    ("readings", "eta"),
    [
        # Nothing can be said until one has been measured.
        ([(0, Progress(900, 1000))], None),
        ([(0, Progress(900, 1000)), (30, Progress(902, 1000))], 98 * 15),
        # Long units: none within half a minute.
        ([(0, Progress(2, 10)), (300, Progress(3, 10))], 7 * 300),
        # A second pass, ten times as slow, has a speed of its own.
        ([(0, Progress(1, 100)), (10, Progress(100, 100)), (0, Progress(1, 100)), (10, Progress(11, 100))], 89),
        ([(0, Progress(1, None)), (1, Progress(10, None))], None),
        ([(0, Progress(7, 7))], 0),
    ],
)
def test_the_time_to_the_end(
    readings: list[tuple[float, Progress]],
    eta: float | None,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    show("json", clock, monkeypatch, *readings)
    assert json.loads(capsys.readouterr().err.splitlines()[-1]).get("eta_s") == eta


def test_the_bar_says_the_same(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    show("text", clock, monkeypatch, *CACHED)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "ETA 0:01:00" in shown
    assert "failed 2" in shown


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["encode", "", "out.mkv"], "argument 1"),
        (["encode", "in.mkv", ""], "argument 2"),
        (["filter", "", "-"], "argument 1"),
        (["evaluate", "in.mkv", "--out", ""], "the value of --out"),
        (["train", "a.toml", "--data="], "the value of --data"),
        (["", "in.mkv"], "argument 0"),
    ],
)
def test_an_empty_word_is_no_name(arguments: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Python's paths take it for the current folder, which would be read, or written into."""
    assert run(arguments) == 2
    assert capsys.readouterr().err == f"scene: {what} is empty; is a variable of your shell not set?\n"


@pytest.mark.parametrize("words", [["--encoder-args", ""], ["--encoder-args="]])
def test_no_parameters_are_as_good_as_none(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["encode", "gone.mkv", "out.mkv", *words]) == 3
    assert "gone.mkv does not exist" in capsys.readouterr().err


def test_the_time_to_the_end_goes_by_what_units_cost(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nine of ten are done, and the tenth is half of the work."""
    readings = (0, Progress(0, 10, cost=(0, 18.0))), (90, Progress(9, 10, cost=(9.0, 18.0)))
    show("json", clock, monkeypatch, *readings)
    event = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (event["done"], event["total"], event["eta_s"]) == (9, 10, 90.0)
