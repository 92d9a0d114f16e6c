"""The filter graph as text, and libvmaf's log as scores."""

import json
from pathlib import Path

import pytest

from scene.errors import InputError
from scene.metrics.libvmaf import (
    compare_arguments,
    count_frames,
    escape_option,
    filter_graph,
    parse_log,
)


def log(**changes: float) -> dict[str, object]:
    means = {"vmaf": 99.0, "vmaf_neg": 95.0, "vmaf_v1": 96.0, "float_ms_ssim": 0.99, "psnr_y": 40.0}
    means |= {"cambi": 0.5} | changes
    return {
        "frames": [{"frameNum": n, "metrics": {"vmaf": value}} for n, value in enumerate((96.0, 102.0))],
        "pooled_metrics": {name: {"mean": value} for name, value in means.items()},
    }


def test_the_graph_is_the_documented_one() -> None:
    assert filter_graph(Path("v.json"), threads=2) == (
        "[0:v]settb=AVTB,setpts=N[dis];[1:v]settb=AVTB,setpts=N[ref];[dis][ref]libvmaf="
        "model='version=vmaf_v0.6.1\\:name=vmaf\\:disable_clip=true|version=vmaf_v0.6.1neg\\:name=vmaf_neg"
        "|version=vmaf_v1.0.16_3d0h\\:name=vmaf_v1'"
        ":feature='name=float_ms_ssim|name=psnr|name=cambi':n_threads=2:log_fmt=json:log_path=v.json"
    )


def test_the_distorted_clip_comes_first_and_is_counted() -> None:
    arguments = compare_arguments(["-i", "file:d.obu"], ["-i", "file:r.y4m"], "GRAPH")
    assert arguments.index("file:d.obu") < arguments.index("file:r.y4m") < arguments.index("GRAPH")
    assert arguments[-3:] == ["-f", "framecrc", "-"]
    assert count_frames(b"#tb 0: 1/25\n0, 0, 0, 1, 12, 0xff\n0, 1, 1, 1, 12, 0xff\n") == 2


def test_special_characters_in_the_log_path_are_escaped_twice() -> None:
    assert escape_option("/tmp/plain-1_a.json") == "/tmp/plain-1_a.json"
    assert escape_option("a:b") == "a\\\\:b"
    assert escape_option("a'b") == "a\\\\\\'b"
    assert escape_option("a,b;[c]") == "a\\,b\\;\\[c\\]"


def test_scores_are_the_pooled_means_and_a_clipped_vmaf() -> None:
    scores = parse_log(json.dumps(log()))
    assert (scores.vmaf, scores.vmaf_neg, scores.ms_ssim, scores.frames) == (99.0, 95.0, 0.99, 2)
    assert scores.vmaf_clipped == pytest.approx(98.0)


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
    ],
)
def test_logs_that_hold_no_scores_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_log(text)
