"""The filter graph as text, and libvmaf's log as scores."""

import json
from pathlib import Path

import pytest

from scene.errors import InputError
from scene.measure.libvmaf import (
    compare_arguments,
    escape_option,
    filter_graph,
    parse_logs,
    parse_means,
    probe_arguments,
    probe_graph,
)

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
    assert filter_graph(Path("v.json"), Path("x.txt"), threads=2) == (
        "[0:v]settb=AVTB,setpts=N,split[dis1][dis2];[1:v]settb=AVTB,setpts=N,split[ref1][ref2];"
        "[dis1][ref1]libvmaf="
        "model='version=vmaf_v0.6.1\\:name=vmaf\\:disable_clip=true|version=vmaf_v0.6.1neg\\:name=vmaf_neg"
        "|version=vmaf_v1.0.16_3d0h\\:name=vmaf_v1'"
        ":feature='name=float_ms_ssim|name=psnr|name=cambi':n_threads=2:log_fmt=json:log_path=v.json[vmaf];"
        "[ref2][dis2]xpsnr=stats_file=x.txt[xpsnr]"
    )


def test_the_distorted_clip_comes_first() -> None:
    arguments = compare_arguments(["-i", "file:d.obu"], ["-i", "file:r.y4m"], "GRAPH")
    assert arguments.index("file:d.obu") < arguments.index("file:r.y4m") < arguments.index("GRAPH")


def test_special_characters_in_the_log_path_are_escaped_twice() -> None:
    assert escape_option("/tmp/plain-1_a.json") == "/tmp/plain-1_a.json"
    assert escape_option("a:b") == "a\\\\:b"
    assert escape_option("a'b") == "a\\\\\\'b"
    assert escape_option("a,b;[c]") == "a\\,b\\;\\[c\\]"


def test_scores_are_the_pooled_means_and_a_clipped_vmaf() -> None:
    reading = parse_logs(json.dumps(log()), XPSNR)
    assert (reading.means["vmaf"], reading.means["vmaf_neg"], reading.means["ms_ssim"]) == (99.0, 95.0, 0.99)
    assert reading.means["vmaf_clipped"] == pytest.approx(98.0)
    assert reading.means["xpsnr_y"] == 36.5
    assert reading.frames["vmaf"] == (96.0, 102.0)
    assert reading.frames["xpsnr_y"] == (33.5, 100.0)


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
        parse_logs(text, XPSNR)


@pytest.mark.parametrize("text", ["", XPSNR.splitlines()[0], XPSNR.replace("33.5", "nan"), XPSNR.replace("36.5", "-")])
def test_xpsnr_logs_that_hold_no_scores_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_logs(json.dumps(log()), text)


def test_several_comparisons_share_their_reference() -> None:
    graph = probe_graph([Path("a.json"), Path("b:.json")], ["vmaf_neg", "ms_ssim"])
    options = "model='version=vmaf_v0.6.1neg\\:name=vmaf_neg':feature='name=float_ms_ssim':n_threads=1:log_fmt=json"
    assert graph == (
        "[2:v]settb=AVTB,setpts=N,split=2[ref0][ref1];"
        f"[0:v]settb=AVTB,setpts=N[dis0];[dis0][ref0]libvmaf={options}:log_path=a.json[out0];"
        f"[1:v]settb=AVTB,setpts=N[dis1];[dis1][ref1]libvmaf={options}:log_path=b\\\\:.json[out1]"
    )
    assert "feature" not in probe_graph([Path("a.json")], ["vmaf_neg", "vmaf_v1"])
    arguments = probe_arguments(["file:a", "file:b"], "file:r", "GRAPH")
    assert [word for word in arguments if word.startswith("file:")] == ["file:a", "file:b", "file:r"]
    assert [arguments[i + 1] for i, word in enumerate(arguments) if word == "-map"] == ["[out0]", "[out1]"]


def test_means_of_some_metrics() -> None:
    assert parse_means(json.dumps(log()), ["vmaf_neg", "ms_ssim"]) == {"vmaf_neg": 95.0, "ms_ssim": 0.99}
    broken = ("", "[]", "{}", json.dumps(log(vmaf_neg=float("nan"))), json.dumps({"pooled_metrics": {}}))
    for text in broken:
        with pytest.raises(InputError, match="libvmaf's log"):
            parse_means(text, ["vmaf_neg"])
