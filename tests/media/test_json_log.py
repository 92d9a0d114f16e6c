"""`--log-format json` as programs read it: every line of every kind of run keeps the documented schema."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from making import encode, make_network, make_video

from scene.cli import run
from scene.cli.console import announce, setup_logging

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "log.schema.json").read_text(encoding="utf-8"))


def events(text):
    """The lines as objects, each checked against the schema."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        jsonschema.validate(line, SCHEMA, cls=jsonschema.Draft202012Validator)
    return lines


def test_an_encode_ends_with_its_result(tmp_path, capfd):
    source = make_video(tmp_path / "in.mkv", size=(64, 48), subtitles=True, audio="aac")
    weights = make_network(tmp_path / "net.safetensors")
    destination = tmp_path / "out.mp4"
    assert encode(source, destination, "--model", weights, "--log-format", "json") == 0
    out, err = capfd.readouterr()
    assert out == ""
    lines = events(err)
    assert [line["event"] for line in lines] == ["log", "progress", "result"]
    warning, progress, result = lines
    assert warning["level"] == "warning" and "subtitle" in warning["message"]
    assert (progress["task"], progress["done"], progress["total"], progress["unit"]) == ("encode", 8, 8, "frames")
    assert result["destination"] == str(destination)
    assert (result["frames"], result["bytes"]) == (8, destination.stat().st_size)
    assert result["source_bytes"] == source.stat().st_size
    assert result["model"].startswith("net@")
    assert result["guard"] is None


def test_a_filter_ends_with_its_result(tmp_path, capfd):
    source = make_video(tmp_path / "in.mkv", subtitles=True)
    assert run(["filter", str(source), str(tmp_path / "out.y4m"), "--model", "none", "--log-format", "json"]) == 0
    *_, progress, result = events(capfd.readouterr().err)
    assert (progress["task"], progress["unit"], progress["done"]) == ("filter", "frames", 8)
    assert set(result) == {"v", "event", "message", "frames", "passed", "seconds", "model", "damage"}
    assert (result["event"], result["frames"], result["model"], result["damage"]) == ("result", 8, "none", 0)


def test_a_search_logs_each_crf(tmp_path, capfd):
    source = make_video(tmp_path / "in.mkv", size=(256, 256), frames=3)
    arguments = ["--target", "vmaf=20", "--model", "none", "--preset", "ultrafast", "--log-format", "json"]
    assert run(["search", str(source), *arguments]) == 0
    lines = events(capfd.readouterr().err)
    assert {line["event"] for line in lines} == {"log", "progress"}
    assert any(line.get("message", "").startswith("unprocessed, CRF 23: ") for line in lines)
    last = next(line for line in reversed(lines) if line["event"] == "progress")
    assert (last["task"], last["unit"], last["pictures"]) == ("search", "samples", "unprocessed")
    assert "crf" in last


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["encode", "missing.mkv", "out.mkv"], 3, "does not exist"),
        (["encode", "missing.mkv", "out.avi"], 2, "suffixes"),
        (["encode", "missing.mkv", "out.mkv", "--no-such-option"], 2, "no-such-option"),
        (["evaluate", "missing.mkv", "--out", "results"], 3, "missing.mkv"),
    ],
)
@pytest.mark.parametrize("option", [["--log-format", "json"], ["--log-format=json"]])
def test_an_error_is_the_last_line(tmp_path, capfd, monkeypatch, arguments, code, said, option):
    monkeypatch.chdir(tmp_path)
    assert run([*arguments, *option]) == code
    *_, last = events(capfd.readouterr().err)
    assert (last["event"], last["code"]) == ("error", code)
    assert said in last["message"]


@pytest.mark.parametrize("number,code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_is_the_last_line(tmp_path, number, code):
    source = make_video(tmp_path / "in.mkv", frames=200, size=(320, 240))
    command = [sys.executable, "-m", "scene", "encode", str(source), str(tmp_path / "out.mkv"), "--model", "none"]
    process = subprocess.Popen(
        [*command, "--preset", "placebo", "--log-format", "json"], stderr=subprocess.PIPE, text=True
    )
    while not list(tmp_path.glob(".out.mkv.*")):
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert events(err)[-1]["code"] == code


def test_any_name_fits_into_a_line(tmp_path, capfd):
    """Line breaks, quotes, control codes and bytes that are not UTF-8, in names and in what is said of them."""
    name = b'two\nlines "and" \x1b[31mred \xff.mkv'.decode("utf-8", "surrogateescape")
    source = make_video(tmp_path / "in.mkv", frames=2).rename(tmp_path / name)
    destination = tmp_path / ("out " + name)
    assert encode(source, destination, "--model", "none", "--log-format", "json") == 0
    *_, result = events(capfd.readouterr().err)
    assert result["destination"] == str(destination)
    assert encode(source, destination, "--model", "none") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.isprintable()
    assert r"two\nlines" in line and r"\x1b[31mred" in line


def test_lines_of_other_kinds_are_not_in_the_schema(capfd):
    """The schema is not one that anything would pass."""
    setup_logging("json")
    announce("done", {"frames": 3})
    (line,) = events(capfd.readouterr().err)
    for broken in ({**line, "v": 2}, {**line, "event": "other"}, {"v": 1, "event": "error", "message": "x", "code": 7}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, SCHEMA, cls=jsonschema.Draft202012Validator)
