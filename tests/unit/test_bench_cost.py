"""`scene bench cost`: an evaluation's ways to encode, timed as whole encodes, beside their savings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scene.benchmarks.cost import bench_cost, held_against_anchors, ways_of
from scene.benchmarks.encode import write_clip
from scene.cli import run
from scene.errors import InputError, UsageError

SIZE, FRAMES = (256, 224), 4


def method(
    label: str, identity: str, codecs: list[str] | None = None, parameters: tuple[str, ...] = ()
) -> dict[str, Any]:
    strength = None if identity.startswith("none") else 1.0
    return {"method": label, "identity": identity, "codecs": codecs, "parameters": parameters, "strength": strength}


def results() -> dict[str, Any]:
    """Of an evaluation in which a model halves the rate and the next encoder takes a quarter off."""
    methods = [
        method("none", "none"),
        method("contrast", "filter:contrast"),
        method("scene-lite", "network:abc", ["x264"]),
        method("scene-lite", "network:abc:other", ["x265"]),
        method("x264:preset=faster:tune=ssim", "none+x264", ["x264"], ("preset=faster", "tune=ssim")),
    ]
    factors = {("x264", "scene-lite"): 0.5, ("x265", "none"): 0.75, ("x265", "scene-lite"): 0.6}
    points = []
    for codec in ("x264", "x265"):
        for label in dict.fromkeys(one["method"] for one in methods if codec in (one["codecs"] or [codec])):
            for step in range(5):
                scores = dict.fromkeys(("vmaf_neg", "vmaf_v1", "vmaf", "psnr_y"), 50.0 + 8 * step)
                scores["ms_ssim"] = 0.9 + 0.02 * step
                size = 1000 * 2**step * factors.get((codec, label), 1.0)
                points.append({"clip": "clip.y4m", "codec": codec, "method": label, "bytes": size, **scores})
    codecs = [
        {"codec": "x264", "crf": [20, 30, 40], "preset": "medium"},
        {"codec": "x265", "crf": [20, 30, 40], "preset": "medium"},
    ]
    environment = {
        "codecs": codecs,
        "methods": methods,
        "clips": [{"clip": "clip.y4m"}],
        "recipe": {"frames": FRAMES, "halve_above": None},
    }
    return {"environment": environment, "points": points}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.y4m"
    write_clip(path, *SIZE, FRAMES)
    return path


def test_filters_are_no_way_to_encode() -> None:
    ways = {(way.codec, way.method): way for way in ways_of(results())}
    assert list(ways) == [
        ("x264", "none"),
        ("x264", "scene-lite"),
        ("x264", "x264:preset=faster:tune=ssim"),
        ("x265", "none"),
        ("x265", "scene-lite"),
    ]
    tuned = ways["x264", "x264:preset=faster:tune=ssim"]
    assert (tuned.settings.preset, tuned.settings.encoder_args, tuned.settings.crf) == ("faster", "tune=ssim", 30)
    assert tuned.options.model == "none"
    assert ways["x265", "scene-lite"].options.model == "scene-lite"


def test_every_way_and_the_next_encoder_stand_beside_an_encoder_alone() -> None:
    document = results()
    ways = ways_of(document)
    seconds = {(way.codec, way.method): [0.01 * (1 + place), 0.02 * (1 + place)] for place, way in enumerate(ways)}
    costs = {(cost.anchor, cost.codec, cost.method): cost for cost in held_against_anchors(document, ways, seconds)}
    assert [place[1:] for place in costs if place[0] == "x264"] == [(way.codec, way.method) for way in ways]
    assert [place[1:] for place in costs if place[0] == "x265"] == [("x265", "none"), ("x265", "scene-lite")]
    lite = costs["x264", "x264", "scene-lite"]
    assert lite.ratio == pytest.approx(2) and lite.cpu_s == pytest.approx(0.03)
    assert lite.percent["vmaf_neg"] == pytest.approx(-50)
    assert costs["x264", "x265", "none"].percent["ms_ssim"] == pytest.approx(-25)
    assert costs["x265", "x265", "scene-lite"].percent["vmaf_v1"] == pytest.approx(-20)


def test_encodes_are_timed_and_drawn(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = results()
    document["environment"]["codecs"].pop()
    given, out = tmp_path / "results.json", tmp_path / "out"
    given.write_text(json.dumps(document))
    assert run(["bench", "cost", str(given), str(clip), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "| x264 | x264 | scene-lite |" in printed and "| -50.0 |" in printed
    costs = json.loads((out / "cost.json").read_text())["costs"]
    assert [cost["method"] for cost in costs] == ["none", "scene-lite", "x264:preset=faster:tune=ssim"]
    assert all(cost["cpu_s"] > 0 for cost in costs) and costs[0]["ratio"] == 1
    assert all(cost["ratio"] > 0 for cost in costs)
    assert (out / "cost.png").read_bytes().startswith(b"\x89PNG")


def test_other_clips_and_files_are_refused(clip: Path, tmp_path: Path) -> None:
    given = tmp_path / "results.json"
    given.write_text(json.dumps(results()))
    with pytest.raises(UsageError):
        bench_cost(given, [])
    with pytest.raises(InputError, match="is not a clip of"):
        bench_cost(given, [clip.rename(clip.with_name("other.y4m"))])
    for content in ("{", "[]", "{}"):
        given.write_text(content)
        with pytest.raises(InputError, match="cannot be read as the results"):
            bench_cost(given, [clip])
