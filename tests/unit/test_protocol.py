"""Protocol files, raw files by name, tuned settings, programs as filters: what needs no encoder."""

from __future__ import annotations

import sys
import threading
from dataclasses import fields
from fractions import Fraction
from pathlib import Path

import pytest

from scene.errors import InputError, MissingError, SceneError, UsageError
from scene.evaluation import evaluate
from scene.evaluation.evaluate import EvaluationPlan, plan_evaluation
from scene.evaluation.grid.methods import (
    NONE,
    SVTAV1_VMAF,
    Method,
    check_encoders,
    has_vmaf_tune,
    methods_for,
    parse_filter,
    parse_method,
    parse_methods,
)
from scene.evaluation.grid.protocol import ClipSet, find_clips, read_protocol
from scene.evaluation.report.summary import ClipRow
from scene.evaluation.requests import EvaluationRequest
from scene.evaluation.tuning import CANDIDATES, best_setting, place_tuned, thin
from scene.measure.clip import Clip, Recipe, open_clips, reference_arguments, reference_key
from scene.measure.encode import codec_run, encoder_settings
from scene.measure.raw_names import RawLayout, raw_layout
from scene.video.ffmpeg import ProcessError, StoppedError, run_external

CONFIGS = Path(__file__).parents[2] / "configs"
FIRST_RELEASE = ["Beauty", "Bosphorus", "HoneyBee", "Jockey", "ReadySteadyGo", "ShakeNDry", "YachtRide"]
SMALL = """
methods = ["none", "contrast"]
[clips]
title = "two clips"
source = "made in the test"
names = ["A", "B"]
files = ["{name}_320x240_*fps_420_8bit_YUV.yuv", "{name}_320x240_*fps_420_10bit_YUV.yuv"]
[clips.also]
B = "Bee"
[reference]
frames = 3
[codecs.x264]
preset = "veryfast"
crf = [40, 20]
"""


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("Beauty_1920x1080_120fps_420_8bit_YUV.yuv", RawLayout(1920, 1080, Fraction(120), 8)),
        ("ReadySteadyGo_1920x1080_120fps_420_10bit_YUV.yuv", RawLayout(1920, 1080, Fraction(120), 10)),
        ("CityAlley_3840x2160_50fps_8bit.yuv", RawLayout(3840, 2160, Fraction(50), 8)),
        ("Lips_3840x2160_120fps_10bit.YUV", RawLayout(3840, 2160, Fraction(120), 10)),
        ("a b_352x288_29.97fps_yuv420p.yuv", RawLayout(352, 288, Fraction(30000, 1001), 8)),
        ("foo_176x144_12.5fps.yuv", RawLayout(176, 144, Fraction(25, 2), 8)),
        ("420_64x64_23.976fps.yuv", RawLayout(64, 64, Fraction(24000, 1001), 8)),
    ],
)
def test_a_raw_files_name_says_what_it_holds(name: str, layout: RawLayout) -> None:
    assert raw_layout(Path("folder_1x1_1fps") / name) == layout


@pytest.mark.parametrize(
    "name",
    [
        "Beauty_1920x1080.yuv",
        "Beauty_120fps.yuv",
        "Beauty_1920x1080_0fps.yuv",
        "Beauty_1920x1080_960x540_120fps.yuv",
        "Beauty_1920x1080_120fps_422_8bit.yuv",
        "Beauty_1920x1080_120fps_420_12bit.yuv",
        "Beauty_1920x1080_120fps_420_8bit_10bit.yuv",
        "Beauty_0x1080_120fps.yuv",
        "Beauty_1920x108000000_120fps.yuv",
    ],
)
def test_a_raw_file_whose_name_does_not_say_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"NAME_1920x1080_50fps_420_8bit_YUV\.yuv"):
        raw_layout(Path(name))


def test_a_raw_picture_has_the_size_that_its_planes_have() -> None:
    assert RawLayout(1920, 1080, Fraction(120), 8).frame_bytes == 3110400
    assert RawLayout(321, 181, Fraction(25), 10).frame_bytes == 2 * (321 * 181 + 2 * 161 * 91)


def test_raw_clips_are_opened_by_name_and_checked_by_size(tmp_path: Path) -> None:
    deep = raw(tmp_path / "x_32x16_50fps_420_10bit_YUV.yuv", 3)
    (clip,) = open_clips([deep])
    assert (clip.width, clip.height, clip.bit_depth, clip.rate, clip.raw) == (32, 16, 10, 50, "yuv420p10le")
    arguments = reference_arguments(clip, Recipe(), tmp_path / "r.y4m")
    before = arguments[: arguments.index("-i")]
    assert before[before.index("-pixel_format") + 1] == "yuv420p10le"
    assert before[before.index("-video_size") + 1] == "32x16"
    assert before[before.index("-framerate") + 1] == "50"
    with deep.open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(InputError, match="3 pictures of 32x16 at 10 bit and 1 bytes more"):
        open_clips([deep])
    empty = tmp_path / "y_32x16_50fps.yuv"
    empty.touch()
    with pytest.raises(InputError, match="0 pictures"):
        open_clips([empty])
    with pytest.raises(InputError, match="does not exist"):
        open_clips([tmp_path / "z_32x16_50fps.yuv"])
    folder = tmp_path / "f_32x16_50fps.yuv"
    folder.mkdir()
    with pytest.raises(InputError):
        open_clips([folder])


def test_the_same_bytes_under_another_name_are_another_reference(tmp_path: Path) -> None:
    paths = [raw(tmp_path / f"{kind}.yuv", 1) for kind in ("a_32x16_50fps", "b_16x32_50fps")]
    keys = [reference_key(clip, Recipe(halve_above=1)) for path in paths for clip in open_clips([path])]
    assert keys[0]["raw"] != keys[1]["raw"]
    ordinary = Clip(Path("a.mp4"), "a.mp4", "0", 0, Fraction(25), 64, 64, 8, "bt709")
    assert set(reference_key(ordinary, Recipe())) == {"clip", "frames", "rate", "width", "height", "version"}


def raw(path: Path, frames: int) -> Path:
    path.write_bytes(bytes(raw_layout(path).frame_bytes * frames))
    return path


def test_a_protocol_says_what_is_measured(tmp_path: Path) -> None:
    protocol = read_protocol(write(tmp_path, SMALL))
    assert protocol.methods == ("none", "contrast")
    assert protocol.recipe == Recipe(frames=3)
    assert protocol.codecs == (codec_run("x264", preset="veryfast", crfs=(20, 40)),)


@pytest.mark.parametrize("name", ["evaluate-uvg", "evaluate-uvg16", "evaluate-quick"])
def test_the_projects_protocols_can_be_read(name: str) -> None:
    path = CONFIGS / f"{name}.toml"
    first, *_ = path.read_text(encoding="utf-8").splitlines()
    assert first.startswith(f"# scene evaluate --protocol configs/{name}.toml --data ")
    protocol = read_protocol(path)
    assert {"x264", "x265", "svtav1"} <= {run.codec.name for run in protocol.codecs}
    assert all(len(run.crfs) >= 4 for run in protocol.codecs)
    for method in protocol.methods:
        assert method in CANDIDATES or parse_method(method)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("frames = 3", "framez = 3", r"\[reference\]: .*unknown field 'framez'"),
        ("[reference]", "[refrence]", "the file: .*unknown field 'refrence'"),
        ("preset =", "presets =", r"\[codecs.x264\]: .*unknown field 'presets'"),
        ("[codecs.x264]", "[codecs.h264]", "codec 'h264' is unknown"),
        ("[40, 20]", "[99]", "CRF 99 is not in x264's range"),
        ("[40, 20]", '["a"]', r"\[codecs.x264\]: .*'\$.crf\[0\]'"),
        ("[40, 20]", "[]", "at least one CRF"),
        ('preset = "veryfast"', "preset = 6", r"\[codecs.x264\]: .*'\$.preset'"),
        ("frames = 3", "frames = 0", r"\[reference\]: .*'\$.frames'"),
        ("frames = 3", "frames = true", r"\[reference\]: .*'\$.frames'"),
        ('title = "two clips"', "", r"\[clips\]: .*'title'"),
        ('names = ["A", "B"]', "names = 1", r"\[clips\]: .*'\$.names'"),
        ('names = ["A", "B"]', 'names = ["A"]', "unknown clip 'B'"),
        ("{name}_320x240_*fps_420_8bit", "x", "'files'"),
        ("methods =", "method =", "the file: .*unknown field 'method'"),
    ],
)
def test_an_invalid_protocol_names_the_place(old: str, new: str, says: str, tmp_path: Path) -> None:
    assert old in SMALL
    with pytest.raises(UsageError, match=says):
        read_protocol(write(tmp_path, SMALL.replace(old, new)))


def test_a_protocol_that_cannot_be_read_is_an_input_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", write(tmp_path, "methods = [")):
        with pytest.raises(InputError):
            read_protocol(path)


def write(folder: Path, text: str) -> Path:
    path = folder / "protocol.toml"
    path.write_text(text)
    return path


def uvg() -> ClipSet:
    return read_protocol(CONFIGS / "evaluate-uvg.toml").clips


def test_uvg_is_found_under_its_published_names(tmp_path: Path) -> None:
    for name in FIRST_RELEASE[:-1]:
        (tmp_path / f"{name}_1920x1080_120fps_420_8bit_YUV.yuv").touch()
    # Both depths of one clip, and one that was unpacked into a folder of its own.
    (tmp_path / "Beauty_1920x1080_120fps_420_10bit_YUV.yuv").touch()
    (tmp_path / "yacht").mkdir()
    (tmp_path / "yacht" / "YachtRide_1920x1080_120fps_420_10bit_YUV.yuv").touch()
    found = [path.name.split("_") for path in find_clips(uvg(), tmp_path)]
    assert [words[0] for words in found] == FIRST_RELEASE
    assert [words[4] for words in found] == ["8bit"] * 6 + ["10bit"]


def test_the_archives_name_of_readysetgo_will_do(tmp_path: Path) -> None:
    for name in FIRST_RELEASE:
        name = "ReadySetGo" if name == "ReadySteadyGo" else name
        (tmp_path / f"{name}_1920x1080_120fps_420_8bit_YUV.yuv").touch()
    assert find_clips(uvg(), tmp_path)[4].name.startswith("ReadySetGo")


def test_the_sixteen_clips_may_run_at_50_and_lie_in_2160p(tmp_path: Path) -> None:
    protocol = read_protocol(CONFIGS / "evaluate-uvg16.toml")
    for name in protocol.clips.names:
        for ending in ("1920x1080_120fps_420_8bit_YUV", "3840x2160_120fps_420_8bit_YUV"):
            (tmp_path / f"{name}_{ending}.yuv").touch()
    (tmp_path / "Twilight_1920x1080_120fps_420_8bit_YUV.yuv").unlink()
    (tmp_path / "Twilight_3840x2160_120fps_420_8bit_YUV.yuv").rename(tmp_path / "Twilight_3840x2160_50fps_8bit.yuv")
    found = {path.name.split("_")[0]: path.name for path in find_clips(protocol.clips, tmp_path)}
    assert len(found) == 16
    assert found.pop("Twilight") == "Twilight_3840x2160_50fps_8bit.yuv"
    assert all("1920x1080" in name for name in found.values())
    clip = Clip(Path("t"), "t", "0", 0, Fraction(50), 3840, 2160, 8, "bt709", "yuv420p")
    assert protocol.recipe.size(clip) == (1920, 1080)


def test_missing_data_says_what_is_missing_and_where_it_is_had(tmp_path: Path) -> None:
    for name in FIRST_RELEASE[2:]:
        (tmp_path / f"{name}_1920x1080_120fps_420_8bit_YUV.yuv").touch()
    with pytest.raises(InputError) as caught:
        find_clips(uvg(), tmp_path)
    message = str(caught.value)
    head, _, _ = message.partition(";")
    assert head.endswith(
        "lacks 2 of 7 clips: Beauty_1920x1080_120fps_420_8bit_YUV.yuv, Bosphorus_1920x1080_120fps_420_8bit_YUV.yuv"
    )
    assert "https://ultravideo.fi" in message
    assert "7z" in message
    assert "NAME_1920x1080_120fps_420_8bit_YUV.yuv" in message
    with pytest.raises(InputError, match="is no folder; it must hold the seven clips"):
        find_clips(uvg(), tmp_path / "gone")


def test_two_files_for_one_clip_are_not_chosen_between(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Beauty_1920x1080_120fps_420_8bit_YUV.yuv").touch()
    with pytest.raises(InputError, match="may both be Beauty"):
        find_clips(uvg(), tmp_path)


def test_a_protocol_without_names_takes_what_the_folder_holds(tmp_path: Path) -> None:
    clips = read_protocol(CONFIGS / "evaluate-quick.toml").clips
    with pytest.raises(InputError, match="holds no clips"):
        find_clips(clips, tmp_path)
    for name in ("b.mkv", "a.mp4", "README.md"):
        (tmp_path / name).touch()
    assert [path.name for path in find_clips(clips, tmp_path)] == ["a.mp4", "b.mkv"]


def planned(monkeypatch: pytest.MonkeyPatch, protocol: Path | None, **fields: object) -> EvaluationPlan:
    """The plan of a request whose clips need not exist."""
    monkeypatch.setattr(evaluate, "open_clips", lambda paths: tuple(paths))
    # Networks take a while to load, and are not the subject.
    monkeypatch.setattr(evaluate, "parse_methods", lambda names, **_: parse_methods([n for n in names if ":" in n]))
    return plan_evaluation(EvaluationRequest(protocol=protocol, **fields))  # type: ignore[arg-type]


def test_a_request_goes_before_its_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = (Path("c.mp4"),)
    uvg = CONFIGS / "evaluate-uvg.toml"
    plan = planned(monkeypatch, uvg, clips=clips)
    assert [run.codec.name for run in plan.runs] == ["x264", "x265", "svtav1", "vvenc"]
    for version, there in (("4.1.0", False), ("4.2.0", True)):
        monkeypatch.setattr(evaluate, "encoder_version", lambda _, version=version: version)
        assert ("svtav1:vmaf" in planned(monkeypatch, uvg, clips=clips).models) == there
    small, protocol = write(tmp_path, SMALL), read_protocol(write(tmp_path, SMALL))
    plan = planned(monkeypatch, small, clips=clips)
    assert (plan.runs, plan.recipe, plan.clips) == (protocol.codecs, protocol.recipe, clips)
    assert plan.models == ("none", "contrast")
    plan = planned(
        monkeypatch,
        small,
        clips=clips,
        codecs=("x265", "x264"),
        crf=(30.0, 35.0),
        preset_by_codec={"x264": "slow"},
        halve_above=100,
        models=("contrast",),
    )
    assert [(run.codec.name, run.preset, run.crfs) for run in plan.runs] == [
        ("x265", "medium", (30, 35)),
        ("x264", "slow", (30, 35)),
    ]
    assert (plan.recipe, plan.models) == (Recipe(3, 100), ("contrast",))
    assert planned(monkeypatch, small, clips=clips, frames=5).recipe == Recipe(5, None)
    assert planned(monkeypatch, None, clips=clips).recipe == Recipe()
    assert "svtav1:vmaf" not in planned(monkeypatch, uvg, clips=clips, codecs=("x264",)).models
    one = planned(
        monkeypatch, None, clips=clips, codecs=("x264", "svtav1"), crf=(30.0,), crf_by_codec={"svtav1": (40.0,)}
    )
    assert [run.crfs for run in one.runs] == [(30,), (40,)]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "at least one clip"),
        ({"protocol": True}, "with `data` FOLDER"),
        ({"clips": (Path("c"),), "protocol": True, "data": Path("d")}, "not both"),
        ({"data": Path()}, "give `protocol`"),
        ({"clips": (Path("c"),), "codecs": ()}, "at least one codec"),
        ({"clips": (Path("c"),), "preset_by_codec": {"vvenc": "fast"}}, "`preset` names 'vvenc'"),
        ({"clips": (Path("c"),), "frames": 0}, "`frames` must be at least 1"),
        ({"clips": (Path("c"),), "jobs": 0}, "`jobs` must be at least 1"),
    ],
)
def test_a_request_that_contradicts_itself_names_the_field(
    fields: dict[str, object], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {name: value for name, value in fields.items() if name != "protocol"}
    protocol = write(tmp_path, SMALL) if "protocol" in fields else None
    with pytest.raises(UsageError, match=says):
        planned(monkeypatch, protocol, **given)


def test_vvenc_codes_at_quantisers() -> None:
    settings = encoder_settings(codec_run("vvenc"), 32, 50)
    assert (settings.preset, settings.crf) == ("faster", 32)
    assert settings.encoder_args == "threads=1:intraperiod=50:accessunitdelimiter=0"
    for qps in ((0.0,), (64.0,), (32.5,)):
        with pytest.raises(UsageError, match=r"QPs?"):
            codec_run("vvenc", crfs=qps)


def test_a_protocol_says_what_the_encoder_gets(tmp_path: Path) -> None:
    text = SMALL.replace("[codecs.x264]", '[codecs.x264]\nencoder_args = "threads=1:keyint={gop}:bframes=0"')
    (run,) = read_protocol(write(tmp_path, text)).codecs
    assert encoder_settings(run, 30, 50).encoder_args == "threads=1:keyint=50:bframes=0"
    with pytest.raises(UsageError, match=r"\[codecs\.x264\].*\$\.encoder_args"):
        read_protocol(write(tmp_path, SMALL.replace("[codecs.x264]", "[codecs.x264]\nencoder_args = 1")))


def test_svtav1s_tune_is_a_method_of_svtav1_alone() -> None:
    plain, tuned = (encoder_settings(codec_run("svtav1"), 41, 50, m.parameters) for m in (NONE, SVTAV1_VMAF))
    # The encoder's own tune is what `scene encode` has, and so what is measured.
    assert plain.encoder_args == "lp=1:keyint=50"
    assert tuned.encoder_args == "lp=1:keyint=50:tune=5"
    assert [has_vmaf_tune(version) for version in ("4.1.0", "4.2.0-151", "5.0", "unknown")] == [
        False,
        True,
        True,
        False,
    ]
    check_encoders((NONE, SVTAV1_VMAF), {"svtav1": "4.2.0"})
    with pytest.raises(MissingError, match=r"needs SVT-AV1 4\.2, and this PyAV has 4\.1\.0"):
        check_encoders((NONE, SVTAV1_VMAF), {"svtav1": "4.1.0"})
    methods = parse_methods(["svtav1:vmaf"])
    assert methods == (NONE, SVTAV1_VMAF)
    methods_for(methods, ["x264", "svtav1"])
    with pytest.raises(UsageError, match="svtav1:vmaf is for svtav1"):
        methods_for(methods, ["x264"])


def row(codec: str, method: str, clip: str, percent: float | None, metric: str = "vmaf") -> ClipRow:
    values: dict[str, object] = dict.fromkeys(field.name for field in fields(ClipRow))
    place = {"clip": clip, "codec": codec, "method": method, "metric": metric, "percent": percent}
    return ClipRow(**values | place)  # type: ignore[arg-type]


def test_the_setting_with_the_lowest_mean_is_taken() -> None:
    candidates = [parse_method(name) for name in ("contrast:1.02", "contrast:1.06", "contrast:1.10")]
    rows = [
        *(row("x264", "contrast:1.02", clip, -5) for clip in "ab"),
        *(row("x264", "contrast:1.06", clip, value) for clip, value in (("a", -30), ("b", 0))),
        # Lower on the one clip where it is defined, in another metric, for another codec: none of it counts.
        *(row("x264", "contrast:1.10", clip, value) for clip, value in (("a", -90), ("b", None))),
        *(row("x264", "contrast:1.02", clip, -99, "vmaf_neg") for clip in "ab"),
        *(row("x265", "contrast:1.02", clip, -99) for clip in "ab"),
    ]
    assert best_setting(candidates, "x264", rows).label == "contrast:1.06"
    assert best_setting(candidates, "x265", rows).label == "contrast:1.02"
    equal = [row("x264", method.label, "a", -7) for method in candidates]
    assert best_setting(candidates, "x264", equal).label == "contrast:1.02"
    with pytest.raises(SceneError, match="nothing can be tuned for svtav1"):
        best_setting(candidates, "svtav1", rows)


def test_ladders_are_thinned_to_four() -> None:
    assert thin((18, 22, 26, 30, 34, 38, 42), "x264") == (18, 26, 34, 42)
    assert thin((1, 2, 3, 4, 5), "x264") == (1, 2, 4, 5)
    assert thin((1, 2, 3, 4), "x264") == (1, 2, 3, 4)
    with pytest.raises(UsageError, match="needs 4 CRFs of x264"):
        thin((1, 2, 3), "x264")


def test_candidates_are_fixed_methods() -> None:
    for names in CANDIDATES.values():
        methods = [parse_method(name) for name in names]
        assert len({method.identity for method in methods}) == len(names)
    assert parse_method("contrast:1.10").identity == parse_method("contrast:1.1").identity


def test_tuned_methods_stand_where_they_were_asked_for() -> None:
    names = ["contrast", "unsharp:tuned", "none", "unsharp", "contrast"]
    ready = parse_methods([name for name in names if name not in CANDIDATES], filters=[f"own={sys.executable}"])
    tuned = {"unsharp:tuned": tuple(Method("unsharp:tuned", codec, codecs=(codec,)) for codec in ("x264", "x265"))}
    labels = [method.label for method in place_tuned(names, ready, tuned)]
    assert labels == ["none", "contrast", "unsharp:tuned", "unsharp:tuned", "unsharp", "own"]


def test_a_filter_is_a_program_and_known_by_its_content(tmp_path: Path) -> None:
    script = tmp_path / "my script.py"
    script.write_text("1")
    text = f"own={sys.executable} '{script}' --level 2"
    first = parse_filter(text)
    assert first.label == "own"
    assert first.command == (sys.executable, str(script), "--level", "2")
    assert parse_filter(text) == first
    assert parse_filter(text.replace("2", "3")).identity != first.identity
    script.write_text("2")
    assert parse_filter(text).identity != first.identity


@pytest.mark.parametrize("text", ["", "own", "own=", "=cat", "a b=cat", "own=cat 'x", "a,b=cat", "a:b=cat"])
def test_a_filter_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_filter(text)


def test_a_filters_program_must_exist_and_its_name_be_free() -> None:
    with pytest.raises(MissingError, match="no-such-program"):
        parse_filter("own=no-such-program -x")
    with pytest.raises(UsageError, match="'contrast' of `filter` is taken"):
        parse_methods(["contrast"], filters=[f"contrast={sys.executable}"])


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_program_gets_the_file_and_its_output_is_kept(tmp_path: Path) -> None:
    source, destination = tmp_path / "in", tmp_path / "out"
    source.write_bytes(b"abc")
    code = "import sys; sys.stdout.write(sys.stdin.read().upper() + sys.argv[1])"
    run_external([*python(code), "$(id) 'x'"], source, destination, threading.Event())
    assert destination.read_text() == "ABC$(id) 'x'"


def test_a_program_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "in").touch()
    with pytest.raises(ProcessError, match="ended with code 3: two; three; four; five"):
        code = "import sys; print(*'one two three four five'.split(), sep='\\n', file=sys.stderr); sys.exit(3)"
        run_external(python(code), tmp_path / "in", tmp_path / "out", threading.Event())
    with pytest.raises(MissingError):
        run_external(["./none"], tmp_path / "in", tmp_path / "out", threading.Event())


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_stop_kills_a_program_and_its_children(tmp_path: Path) -> None:
    (tmp_path / "in").touch()
    stop = threading.Event()
    conditioned = tmp_path / "child"
    code = (
        "import pathlib, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"path = pathlib.Path({str(tmp_path / 'new')!r})\n"
        "path.write_text(str(child.pid))\n"
        f"path.rename({str(conditioned)!r})\n"
        "child.wait()\n"
    )

    def stop_when_told() -> None:
        while not conditioned.exists() and not stop.wait(0.02):
            pass
        stop.set()

    watcher = threading.Thread(target=stop_when_told)
    watcher.start()
    try:
        with pytest.raises(StoppedError):
            run_external(python(code), tmp_path / "in", tmp_path / "out", stop)
    finally:
        stop.set()
        watcher.join()
    assert ended(int(conditioned.read_text()))
    with pytest.raises(StoppedError):
        run_external(python("1"), tmp_path / "in", tmp_path / "out", stop)


def ended(pid: int) -> bool:
    """Whether a process is gone, or killed and not yet collected by whoever inherited it; waits for its end."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        threading.Event().wait(0.02)
    return False
