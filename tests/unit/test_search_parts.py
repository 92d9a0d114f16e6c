"""The parts of a search that need no encoder: targets, where samples are taken, what key frames count, the command."""

import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from scene.cli.search_report import command_words, sentences, table_text
from scene.errors import InputError, TargetError, UsageError
from scene.jobs.samples.quality_search import SearchAnswer
from scene.jobs.samples.sample_encode import CrfScores, SampleScore, SampleSet, WorstSample, expected_bytes
from scene.jobs.search import SearchRequest, SearchResult, choose_answer, gain_by_metric, saving_percent
from scene.measure.libvmaf import LogFiles, parse_scores, pool, score_graph
from scene.measure.score import limited_luma, scored_depth, write_lumas
from scene.metrics.targets import Target, parse_target
from scene.options import EnhanceOptions
from scene.picture import Picture, PictureFormat
from scene.video.encoders import find_encoder
from scene.video.encoders.settings import EncoderSettings
from scene.video.rawvideo.y4m import read_frames, read_header
from scene.video.source.samples import Sample, Span, plan_spans


@pytest.mark.parametrize(
    "text,metric,value",
    [("vmaf-neg=93", "vmaf_neg", 93), ("VMAF=95.5", "vmaf", 95.5), ("ms-ssim=0.99", "ms_ssim", 0.99)],
)
def test_targets_that_can_be_meant(text, metric, value):
    assert parse_target(text) == Target(metric, value)


@pytest.mark.parametrize(
    "text,message",
    [
        ("vmaf", "not of the form METRIC=VALUE"),
        ("ssim=0.9", "choose vmaf, vmaf-neg, vmaf-v1, ms-ssim, psnr-y, xpsnr-y"),
        ("cambi=5", "not a metric"),
        ("vmaf=good", "'good' is not a number"),
        ("vmaf=", "not a number"),
        ("vmaf=101", "goes from 0 to 100"),
        ("vmaf=0", "out of range"),
        ("vmaf=nan", "out of range"),
        ("ms-ssim=98", "goes from 0 to 1"),
        ("psnr-y=inf", "out of range"),
    ],
)
def test_targets_that_cannot(text, message):
    with pytest.raises(UsageError, match=message):
        parse_target(text)


def test_a_short_video_is_taken_whole():
    assert plan_spans(Fraction(30), Fraction(25), 8, Fraction(3)) == (Span(Fraction(0), None),)
    assert len(plan_spans(Fraction(301, 10), Fraction(25), 8, Fraction(3))) == 8


def test_samples_lie_in_the_middle_of_equal_parts():
    spans = plan_spans(Fraction(80), Fraction(30000, 1001), 4, Fraction(2))
    assert [float(span.start) for span in spans] == [9, 29, 49, 69]
    assert {span.frames for span in spans} == {60}


def test_a_forced_key_frame_counts_once_in_an_interval():
    # 10 packets: one of 1000 bytes, the others of 100; in a video every 100th frame would be like the first.
    packets = (1000, *[100] * 9)
    assert expected_bytes(packets, 100) == pytest.approx(10 * (0.99 * 100 + 0.01 * 1000))
    assert expected_bytes(packets, math.inf) == pytest.approx(1000)
    assert expected_bytes(packets, 0) == 1900
    assert expected_bytes((700,), 250) == 700


@pytest.mark.parametrize("whole", [False, True])
def test_samples_are_pooled_over_their_frames(whole, tmp_path):
    scores = {
        0.5: SampleScore((1000, 100, 100), {"vmaf": (10.0, 90.0, 92.0)}),
        4.5: SampleScore((400, 200, 300), {"vmaf": (20.0, 80.0, 83.0)}),
    }
    samples = [Sample(tmp_path, PictureFormat(2, 2), (0, 1, 2), start, Fraction(3)) for start in scores]
    info = type("Info", (), {"rate": Fraction(1)})
    with ThreadPoolExecutor(2) as executor:
        encoded = SampleSet(
            *(info, EncoderSettings("x264"), samples, Fraction(100), whole),
            lambda sample, source, settings: scores[sample.start],
            *(executor, tmp_path, 2),
        )
        done = []
        found = encoded.measure(23, None, lambda: done.append(1))
    assert encoded.frames == 6 and len(done) == 2
    if whole:
        assert found.kbps == pytest.approx((1200 + 900) * 8 / 6 / 1000)
        assert found.scores["vmaf"] == pytest.approx((10 + 90 + 92 + 20 + 80 + 83) / 6)
        assert found.worst["vmaf"] == WorstSample(pytest.approx(61), 4.5)
    else:
        # A video of 100 frames has one key frame; libvmaf marks a sample's first frame down.
        assert found.kbps == pytest.approx((3 * (100 + 900 / 100) + 3 * (250 + 150 / 100)) * 8 / 6 / 1000)
        assert found.scores["vmaf"] == pytest.approx((90 + 92 + 80 + 83) / 4)
        assert found.worst["vmaf"] == WorstSample(81.5, 4.5)


@pytest.mark.parametrize(
    "codec,arguments,frames",
    [
        ("x264", "", 250),
        ("x265", "bframes=4:keyint=48", 48),
        ("x264", "keyint=infinite", math.inf),
        ("svtav1", "", 120),
        ("svtav1", "keyint=2s", 48),
        ("svtav1", "keyint=-1", math.inf),
    ],
)
def test_the_interval_of_key_frames(codec, arguments, frames):
    settings = EncoderSettings(codec, encoder_args=arguments)
    assert find_encoder(codec).key_frame_interval(settings, Fraction(24)) == frames


def test_graphs_hold_what_is_asked_for_alone():
    logs = [LogFiles(Path("log"), Path("xpsnr-log"))]
    graph = score_graph(logs, ["vmaf", "vmaf_neg", "psnr_y"], threads=3)
    assert "vmaf_v0.6.1neg" in graph and "feature='name=psnr'" in graph and "n_threads=3" in graph
    assert "v1.0.16" not in graph and "ms_ssim" not in graph and "xpsnr" not in graph
    # The filter weighs errors by the activity of its first input: that must be the reference.
    assert "[ref1][dis1]xpsnr" in score_graph(logs, ["vmaf", "xpsnr_y"])


LIBVMAF = b"""{
    "frames": [{"metrics": {"vmaf": 90.5, "psnr_y": 40}}, {"metrics": {"vmaf": 91.5, "psnr_y": 42}}],
    "pooled_metrics": {"vmaf": {"mean": 91}, "psnr_y": {"mean": 41}}
}"""


def test_frames_of_a_log():
    assert parse_scores(LIBVMAF, None, ["vmaf", "psnr_y"]).frames == {"vmaf": (90.5, 91.5), "psnr_y": (40.0, 42.0)}
    with pytest.raises(InputError, match="libvmaf's log"):
        parse_scores(LIBVMAF, None, ["vmaf_neg"])


# What ffmpeg's filter wrote of eight frames.
XPSNR = (28.4349, 13.5004, 13.5030, 13.4768, 13.5432, 13.5780, 13.7077, 13.6947)


def test_xpsnr_is_pooled_as_its_filter_does():
    assert pool("xpsnr_y", XPSNR) == pytest.approx(14.5101, abs=0.001)
    assert pool("vmaf", (90.0, 92.0)) == 91
    lines = [f"n:    {n}  XPSNR y: {value}  XPSNR u: 1.0  XPSNR v: 1.0" for n, value in enumerate(XPSNR, 1)]
    text = "\n".join([*lines, "", "XPSNR average, 8 frames  y: 14.5101  u: 1.0  v: 1.0  (minimum: 1.0)"])
    log = {"frames": [{"metrics": {"vmaf": 90.0}}] * 8, "pooled_metrics": {"vmaf": {"mean": 90.0}}}
    scores = parse_scores(json.dumps(log), text, ["vmaf", "xpsnr_y"])
    assert scores.frames["xpsnr_y"] == XPSNR and scores.means["xpsnr_y"] == 14.5101


@pytest.mark.parametrize(
    "depth,full,codes,written",
    [
        (8, False, (16, 100, 235), (16, 100, 235)),
        (8, True, (0, 128, 255), (16, 126, 235)),
        (10, False, (64, 502, 940), (64, 502, 940)),
        (10, True, (0, 512, 1023), (64, 502, 940)),
        (12, False, (256, 2010, 3761), (64, 503, 940)),
    ],
)
def test_luma_is_written_as_it_is_compared(tmp_path, depth, full, codes, written):
    dtype = np.uint8 if depth == 8 else np.uint16
    # The odd last column and row are left out.
    source = PictureFormat(7, 5, depth, "400", full_range=full)
    plane = np.zeros((5, 7), dtype)
    plane[0, :3] = codes
    lumas = [limited_luma(Picture(source, (plane,)), source)] * 2
    write_lumas(tmp_path / "a.y4m", lumas, scored_depth(source.bit_depth))
    with (tmp_path / "a.y4m").open("rb") as file:
        header = read_header(file)
        first, second = read_frames(file, header)
    assert (header.format.width, header.format.height) == (6, 4)
    assert header.format.bit_depth == (8 if depth == 8 else 10)
    assert tuple(first.planes[0][0, :3]) == written
    assert np.array_equal(first.planes[0], second.planes[0])


TARGETS = (Target("vmaf_neg", 93.0),)


def answer(model="none", *, crf=24.0, kbps=2000.0, score=93.2, missed="", exact=None):
    worst = {"vmaf": WorstSample(90, 4), "vmaf_neg": WorstSample(88, 3723)}
    scores = CrfScores(crf, kbps, {"vmaf": 95.0, "vmaf_neg": score}, worst)
    return SearchAnswer(model, scores, kbps * 1250, missed, exact, (scores,))


def request(**options):
    return SearchRequest(Path("in.mkv"), TARGETS, settings=EncoderSettings("x265", preset="slow"), **options)


def test_the_saving_is_that_at_exactly_the_targets():
    assert saving_percent(answer(exact=2000), answer("m", exact=1800)) == pytest.approx(10)
    assert saving_percent(answer(exact=2000), answer("m")) is None
    assert saving_percent(answer(exact=2000), None) is None


def test_enhancement_is_chosen_where_it_saves():
    plain, enhanced = answer(exact=2000), answer("m", exact=1800)
    assert choose_answer(request(), plain, enhanced, 10.0) is enhanced
    assert choose_answer(request(), plain, enhanced, -0.1) is plain
    assert choose_answer(request(), plain, answer("m", kbps=1500), None).model == "m"


def test_one_that_gets_there_is_chosen_before_one_that_does_not(caplog):
    plain, enhanced = answer(), answer("m", missed="VMAF NEG reaches 90 of 93 at most")
    assert choose_answer(request(), plain, enhanced, None) is plain
    assert "enhanced pictures do not get there: VMAF NEG reaches 90 of 93" in caplog.text
    assert choose_answer(request(), answer(missed="no"), answer("m"), None).model == "m"


def test_none_that_gets_there_is_an_error_that_names_the_constraint(caplog):
    plain = answer(score=86, missed="at 500 kbit/s VMAF NEG reaches 86.00 of 93")
    enhanced = answer("m", score=88, missed="at 500 kbit/s VMAF NEG reaches 88.00 of 93")
    with pytest.raises(TargetError) as raised:
        choose_answer(request(max_kbps=500), plain, enhanced, None)
    assert str(raised.value).startswith("in.mkv: at 500 kbit/s VMAF NEG reaches 88.00 of 93 with enhancement")
    assert raised.value.exit_code == 5
    assert choose_answer(request(max_kbps=500, best_effort=True), plain, enhanced, None) is enhanced
    assert "this is the nearest" in caplog.text


def result(plain, enhanced, chosen, saving=None):
    info = type("Info", (), {"format": PictureFormat(1280, 720)})
    return SearchResult(info, 10.0, 240, 8, False, plain, enhanced, saving, chosen, 1.0)


def test_the_command_is_that_of_the_chosen_answer():
    plain, enhanced = answer(crf=24.5), answer("m", crf=26)
    asked = request(enhancement=EnhanceOptions("my net.safetensors", 0.5, semantic_interval=9, device="cpu"))
    asked = replace(asked, settings=replace(asked.settings, encoder_args="bframes=3"))
    words = command_words(asked, result(plain, enhanced, enhanced))
    assert words == [
        *("scene", "encode", "in.mkv", "in-x265.mkv", "--codec", "x265", "--crf", "26", "--preset", "slow"),
        *("--encoder-args=bframes=3", "--model", "my net.safetensors", "--strength", "0.5"),
        *("--semantic-interval", "9", "--device", "cpu"),
    ]
    assert "'my net.safetensors'" in table_text(asked, result(plain, enhanced, enhanced, 9.0))
    assert command_words(asked, result(plain, enhanced, plain))[-2:] == ["--model", "none"]
    odd = replace(asked, source=Path(os.fsdecode(b"a\xff\x1b.mkv")))
    table_text(odd, result(plain, None, plain)).encode("utf-8")
    assert command_words(replace(asked, source=Path("-a.mkv")), result(plain, None, plain))[2] == "./-a.mkv"


def test_the_table_says_what_was_saved():
    plain, enhanced = answer(exact=2000), answer("m", kbps=1790, exact=1800)
    text = table_text(request(), result(plain, enhanced, enhanced, 10.0))
    lines = text.splitlines()
    assert lines[0] == "At equal VMAF NEG this video needs 10.0 % fewer bits."
    assert lines[1] == "in.mkv, 1280x720; x265 slow; 8 samples with 240 frames of 10.0 s"
    assert lines[3].split() == ["unprocessed", "24", "2000", "2.50", "MB", "95.00", "93.20"]
    assert lines[5].startswith("worst sample ")
    assert lines[6].split() == ["it", "starts", "at", "0:00:04", "1:02:03"]
    assert lines[7].startswith("scene encode in.mkv ") and len(lines) == 8
    lines = table_text(request(), result(plain, enhanced, plain, -3.0)).splitlines()
    assert lines[:2] == ["At equal VMAF NEG this video needs 3.0 % more bits.", "So enhancement is left out."]


def measured(crf, kbps, vmaf, neg):
    return CrfScores(crf, kbps, {"vmaf": vmaf, "vmaf_neg": neg}, {})


def test_what_was_won_is_said_by_vmaf_neg_whatever_the_target_is():
    """Enhanced pictures reach VMAF 95 at half the rate, and VMAF NEG 92 at a tenth less."""
    plain = replace(answer(exact=2000), measured=measured(24, 2000, 95.0, 92.0), tried=(measured(24, 2000, 95, 92),))
    tried = (measured(24, 2000, 99, 93), measured(26, 1620, 97, 91), measured(30, 1000, 95, 88))
    enhanced = replace(answer("m", exact=1000), measured=tried[2], tried=tried)
    asked = replace(request(), targets=(Target("vmaf", 95.0),))
    made = result(plain, enhanced, enhanced, 50.0)
    # Half way between 93 and 91 in the logarithm of the rate.
    assert gain_by_metric(asked, made) == {"vmaf": -50.0, "vmaf_neg": pytest.approx(-10.0)}
    assert sentences(asked, made) == [
        "At equal VMAF NEG this video needs 10.0 % fewer bits.",
        "Enhancement saves 50.0 % at VMAF 95.",
    ]
    # Never so good by VMAF NEG: a knob's gain.
    shallow = replace(enhanced, tried=tried[1:])
    made = result(plain, shallow, shallow, 50.0)
    assert sentences(asked, made)[0].startswith("At equal VMAF NEG nothing can be said of this video")
    assert sentences(request(), result(plain, enhanced, plain)) == [
        "What enhancement saves at VMAF NEG 93 is not known: one of the two does not just meet it at any CRF."
    ]
    assert gain_by_metric(asked, result(plain, None, plain)) is None
    assert sentences(request(), result(plain, None, plain)) == ["Reaches VMAF NEG 93."]
