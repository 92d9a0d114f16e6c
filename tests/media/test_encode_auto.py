"""`--model auto`: the best model that keeps up with the encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from making import encode, make_video

from scene.cli import run
from scene.jobs import model_choice
from scene.jobs.model_choice import CANDIDATES

FAST = ("--preset", "ultrafast", "--crf", "30", "--no-compare")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clip") / "in.mkv", frames=60, size=(256, 192))


def events(capfd: pytest.CaptureFixture[str], *arguments: object) -> list[dict]:
    assert encode(*arguments, "--log-format", "json") == 0
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


def test_one_of_the_candidates_is_chosen_and_why_is_said(clip, tmp_path, capfd):
    said = events(capfd, clip, tmp_path / "out.mkv", *FAST, "--model", "auto")
    (line,) = (event["message"] for event in said if ": model " in event.get("message", ""))
    chosen = line.split(": model ")[1].split(",")[0]
    assert chosen in CANDIDATES and said[-1]["model"].startswith(f"{chosen}@")
    assert f"times with {CANDIDATES[0]}" in line and "(24 frames were tried)" in line


@pytest.mark.parametrize(
    ("ratios", "chosen", "why"),
    [
        (
            (1.25, 9.0),
            "scene-lite",
            "the best that takes at most 1.25 times: encoding takes 1.25 times with scene-lite",
        ),
        ((1.26, 1.1), "scene-fast", "takes 1.26 times with scene-lite and 1.10 times with scene-fast as long"),
        ((3.0, 2.0), "scene-fast", "the fastest there is: encoding takes 3.00 times with scene-lite and 2.00 times"),
    ],
)
def test_the_best_that_keeps_up_else_the_fastest(clip, tmp_path, capfd, monkeypatch, ratios, chosen, why):
    times = dict(zip(CANDIDATES, ratios, strict=True))
    tried = []

    def ratio(_, options, encoding):
        assert encoding > 0
        tried.append(options.model)
        return times[options.model]

    monkeypatch.setattr(model_choice, "_ratio", ratio)
    said = events(capfd, clip, tmp_path / "out.mkv", *FAST, "--model", "auto")
    assert said[-1]["model"].startswith(f"{chosen}@")
    assert any(why in event.get("message", "") for event in said)
    # What comes after the first that keeps up is not tried.
    assert tried == list(CANDIDATES)[: 1 if ratios[0] <= 1.25 else 2]


def test_where_parts_cannot_be_tried_it_is_the_default(clip, tmp_path, capfd):
    said = events(capfd, clip, tmp_path / "out.mkv", "--preset", "ultrafast", "--bitrate", 300, "--model", "auto")
    assert said[-1]["model"].startswith("scene-lite@")
    assert any(
        "model scene-lite, the default, as a bitrate is not tried on parts." in e.get("message", "") for e in said
    )


def test_a_dry_run_names_it_and_no_strength_needs_none(clip, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(model_choice, "_ratio", lambda *_: 2.0)
    assert events(capfd, clip, tmp_path / "out.mkv", *FAST, "--model", "auto", "--dry-run")[-1]["model"].startswith(
        "scene-fast@"
    )
    monkeypatch.setattr(model_choice, "choose_model", None)
    assert events(capfd, clip, tmp_path / "out.mkv", *FAST, "--model", "auto", "--strength", 0)[-1]["model"] == "none"


def test_where_no_encoder_is_tried_a_name_is_asked_for(clip, tmp_path, capfd):
    for command in (
        ("filter", clip, tmp_path / "out.y4m", "--crf", "30"),
        ("search", clip, "--target", "vmaf=90"),
        ("bench", "encode", "--sizes", "64x64"),
    ):
        assert run([*map(str, command), "--model", "auto"]) == 2
        assert "--model auto is chosen by a trial with the encoder" in capfd.readouterr().err
    assert not (tmp_path / "out.y4m").exists()
