"""The filter graph as text, and libvmaf's log as scores."""

import json
from pathlib import Path

import pytest

from scene.errors import InputError
from scene.measure.libvmaf import LogFiles, escape_option, parse_scores, score_arguments, score_graph
from scene.metrics.scores import FRAME_METRICS

XPSNR = """n:    1  XPSNR y: 33.5  XPSNR u: 45.4956  XPSNR v: 46.0571
n:    2  XPSNR y: inf  XPSNR u: 40.7563  XPSNR v: 41.1459

XPSNR average, 2 frames  y: 36.5  u: 41.0327  v: 41.2716  (minimum: 28.8165)
"""


def log(frames: int = 2, **changes: float) -> dict[str, object]:
    means = {"vmaf": 99.0, "vmaf_neg": 95.0, "vmaf_v1": 96.0, "float_ms_ssim": 0.99, "psnr_y": 40.0}
    means |= {"cambi": 0.5} | changes
    return {
        "frames": [
            {"frameNum": n, "metrics": means | {"vmaf": value}} for n, value in enumerate((96.0, 102.0)[:frames])
        ],
        "pooled_metrics": {name: {"mean": value} for name, value in means.items()},
    }


def test_the_graph_is_the_documented_one() -> None:
    assert score_graph([LogFiles(Path("v.json"), Path("x.txt"))], FRAME_METRICS, threads=2) == (
        "[1:v]settb=AVTB,setpts=N,split=2[ref0][ref1];[0:v]settb=AVTB,setpts=N,split=2[dis0][dis1];"
        "[dis0][ref0]libvmaf="
        "model='version=vmaf_v0.6.1\\:name=vmaf\\:disable_clip=true|version=vmaf_v0.6.1neg\\:name=vmaf_neg"
        "|version=vmaf_v1.0.16_3d0h\\:name=vmaf_v1'"
        ":feature='name=float_ms_ssim|name=psnr|name=cambi':n_threads=2:log_fmt=json:log_path=v.json[out0];"
        "[ref1][dis1]xpsnr=stats_file=x.txt[out1]"
    )


def test_the_distorted_clip_comes_first() -> None:
    logs = LogFiles(Path("v.json"), Path("x.txt"))
    arguments = score_arguments([Path("d.y4m")], Path("r.y4m"), [logs], FRAME_METRICS)
    graph = score_graph([logs], FRAME_METRICS)
    assert arguments.index("file:d.y4m") < arguments.index("file:r.y4m") < arguments.index(graph)


def test_special_characters_in_the_log_path_are_escaped_twice() -> None:
    assert escape_option("/tmp/plain-1_a.json") == "/tmp/plain-1_a.json"
    assert escape_option("a:b") == "a\\\\:b"
    assert escape_option("a'b") == "a\\\\\\'b"
    assert escape_option("a,b;[c]") == "a\\,b\\;\\[c\\]"


def test_scores_are_the_pooled_means_and_a_clipped_vmaf() -> None:
    scores = parse_scores(json.dumps(log()), XPSNR, FRAME_METRICS)
    assert (scores.means["vmaf"], scores.means["vmaf_neg"], scores.means["ms_ssim"]) == (99.0, 95.0, 0.99)
    assert scores.means["vmaf_clipped"] == pytest.approx(98.0)
    assert scores.means["xpsnr_y"] == 36.5
    assert scores.frames["vmaf"] == (96.0, 102.0)
    assert scores.frames["xpsnr_y"] == (33.5, 100.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        json.dumps(log(psnr_y=float("nan"))),
        json.dumps(log() | {"frames": []}),
        json.dumps(log() | {"frames": 3}),
        json.dumps(log() | {"pooled_metrics": {}}),
        json.dumps(log(frames=1)),
    ],
)
def test_logs_that_hold_no_scores_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_scores(text, XPSNR, FRAME_METRICS)


@pytest.mark.parametrize("text", ["", XPSNR.splitlines()[0], XPSNR.replace("33.5", "nan"), XPSNR.replace("36.5", "-")])
def test_xpsnr_logs_that_hold_no_scores_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_scores(json.dumps(log()), text, FRAME_METRICS)


def test_several_comparisons_share_their_reference() -> None:
    logs = [LogFiles(Path("a.json"), Path("a.txt")), LogFiles(Path("b:.json"), Path("b.txt"))]
    options = "model='version=vmaf_v0.6.1neg\\:name=vmaf_neg':feature='name=float_ms_ssim':n_threads=1:log_fmt=json"
    assert score_graph(logs, ["vmaf_neg", "ms_ssim"]) == (
        "[2:v]settb=AVTB,setpts=N,split=2[ref0][ref1];"
        f"[0:v]settb=AVTB,setpts=N,split=1[dis0];[dis0][ref0]libvmaf={options}:log_path=a.json[out0];"
        f"[1:v]settb=AVTB,setpts=N,split=1[dis1];[dis1][ref1]libvmaf={options}:log_path=b\\\\:.json[out1]"
    )
    assert "feature" not in score_graph(logs[:1], ["vmaf_neg", "vmaf_v1"])
    arguments = score_arguments([Path("a"), Path("b")], Path("r"), logs, ["vmaf_neg"])
    assert [word for word in arguments if word.startswith("file:")] == ["file:a", "file:b", "file:r"]
    assert [arguments[i + 1] for i, word in enumerate(arguments) if word == "-map"] == ["[out0]", "[out1]"]


def test_every_filter_of_several_comparisons_has_an_output_of_its_own() -> None:
    logs = [LogFiles(Path(f"{name}.json"), Path(f"{name}.txt")) for name in "ab"]
    metrics = ["vmaf", "xpsnr_y"]
    graph = score_graph(logs, metrics)
    assert [part for part in graph.split(";") if "libvmaf=" not in part] == [
        "[2:v]settb=AVTB,setpts=N,split=4[ref0][ref1][ref2][ref3]",
        "[0:v]settb=AVTB,setpts=N,split=2[dis0][dis1]",
        "[ref1][dis1]xpsnr=stats_file=a.txt[out1]",
        "[1:v]settb=AVTB,setpts=N,split=2[dis2][dis3]",
        "[ref3][dis3]xpsnr=stats_file=b.txt[out3]",
    ]
    arguments = score_arguments([Path("a"), Path("b")], Path("r"), logs, metrics)
    maps = [arguments[i + 1] for i, word in enumerate(arguments) if word == "-map"]
    assert maps == ["[out0]", "[out1]", "[out2]", "[out3]"]


def test_means_of_some_metrics() -> None:
    some = ["vmaf_neg", "ms_ssim"]
    assert parse_scores(json.dumps(log()), None, some).means == {"vmaf_neg": 95.0, "ms_ssim": 0.99}
    broken = ("", "[]", "{}", json.dumps(log(vmaf_neg=float("nan"))), json.dumps({"pooled_metrics": {}}))
    for text in broken:
        with pytest.raises(InputError, match="libvmaf's log"):
            parse_scores(text, None, ["vmaf_neg"])
