"""The evaluation's pure parts: arguments, methods, summaries, figures' averages, the cache's folder."""

import os
from fractions import Fraction
from pathlib import Path

import pytest

from scene.cli.evaluate import _presets
from scene.errors import CheckpointError, UsageError
from scene.evaluation.grid.grid import Failure, Measured, Point
from scene.evaluation.grid.methods import NONE, Method, fit_to_codecs, methods_for, parse_method, parse_methods
from scene.evaluation.report.figures import mean_curve
from scene.evaluation.report.summary import clip_rows, mean_rows
from scene.evaluation.visuals.equal_rate import crf_of_equal_rate
from scene.files import default_cache_folder, write_atomically
from scene.measure.cache import Measurement, PointCache
from scene.measure.clip import Clip, Recipe, reference_arguments
from scene.measure.encode import codec_run, encoder_settings, key_frame_interval, settings_key
from scene.measure.names import display_name
from scene.metrics.scores import BD_METRICS, FRAME_METRICS, Scores
from scene.model import Calibration, NetworkConfig, build_network, save_network
from scene.video.encoders import find_encoder
from scene.video.encoders.settings import EncoderSettings

RATES = {18: 1135.0, 22: 671.4, 26: 405.1, 30: 247.3, 34: 152.7}
SCORES = {18: 97.5, 22: 92.9, 26: 86.8, 30: 78.6, 34: 67.8}


def clip(name: str = "a.mp4", **changes: object) -> Clip:
    values: dict[str, object] = {
        "path": Path(name),
        "name": name,
        "sha256": name,
        "stream": 0,
        "rate": Fraction(25),
        "width": 1280,
        "height": 720,
        "bit_depth": 8,
        "matrix": "bt709",
    }
    return Clip(**(values | changes))  # type: ignore[arg-type]


def points(source: Clip, method: Method, scale: float = 1.0, lift: float = 0.0, codec: str = "x264") -> list[Point]:
    """A curve of five points; rates times `scale`, every score plus `lift`."""
    run = codec_run(codec, crfs=tuple(RATES))
    return [
        Point(
            source,
            method,
            run,
            crf,
            "1",
            # 50 frames at 25/s: two seconds.
            Measurement(
                *(round(RATES[int(crf)] * scale * 1000 * 2 / 8), 640, 360, 8),
                Scores(*[SCORES[int(crf)] + lift] * 9, frames=50),
                dict.fromkeys(FRAME_METRICS, (SCORES[int(crf)] + lift,) * 50),
            ),
        )
        for crf in run.crfs
    ]


def drawn(curve: list[Point]) -> list[dict[str, object]]:
    """Points as figures take them, out of results.json."""
    return [{"clip": p.clip.name, "crf": p.crf, "kbps": p.kbps, "vmaf": p.measurement.scores.vmaf} for p in curve]


def test_each_encoder_is_measured_on_one_thread_with_a_key_frame_every_two_seconds() -> None:
    assert encoder_settings(codec_run("x264"), 26, 50) == EncoderSettings("x264", 26, "medium", "threads=1:keyint=50")
    x265 = encoder_settings(codec_run("x265", preset="slow"), 26.5, 120)
    assert x265 == EncoderSettings("x265", 26.5, "slow", "pools=1:frame-threads=1:keyint=120")
    svtav1 = encoder_settings(codec_run("svtav1"), 63, 48)
    assert svtav1 == EncoderSettings("svtav1", 63, "6", "lp=1:keyint=48")
    assert settings_key(svtav1) == {
        "codec": "svtav1",
        "preset": "6",
        "crf": "63",
        "encoder_args": "lp=1:keyint=48",
        "rate": "without messages",
    }
    assert [key_frame_interval(Fraction(rate)) for rate in ("25", "30000/1001", "1/5")] == [50, 60, 1]
    # Anything that `scene encode` takes may be measured, and nothing else.
    own = codec_run("x264", encoder_args="keyint={gop}:aq-mode=3")
    assert encoder_settings(own, 30, 50, ("ref=1",)).encoder_args == "keyint=50:aq-mode=3:ref=1"
    for arguments in ("crf=3", "threads=", "stats=file", "threads=1:threads=2"):
        with pytest.raises(UsageError, match="encoder_args"):
            codec_run("x264", encoder_args=arguments)


def test_ladders_are_sorted_and_checked() -> None:
    assert codec_run("x264", crfs=(30, 18, 30)).crfs == (18, 30)
    assert codec_run("svtav1").crfs == (20, 27, 34, 41, 48, 55, 63)
    for name, crfs in (("x264", (52.0,)), ("svtav1", (64.0,)), ("vvenc", (64.0,)), ("x266", (30.0,)), ("x265", ())):
        with pytest.raises(UsageError):
            codec_run(name, crfs=crfs)
    with pytest.raises(UsageError, match="x264 has no preset '6'"):
        codec_run("x264", preset="6")


@pytest.mark.parametrize(
    ("recipe", "changes", "size", "filters"),
    [
        (Recipe(), {}, (1280, 720), "scale=out_range=tv,format=yuv420p,settb=1/25,setpts=N,fps=25/1"),
        (Recipe(halve_above=719), {}, (640, 360), "scale=640:360:flags=lanczos"),
        (Recipe(halve_above=720), {}, (1280, 720), "scale=out_range=tv,"),
        (Recipe(), {"width": 321, "height": 181}, (320, 180), "crop=320:180:0:0,scale=out_range=tv,"),
        (Recipe(halve_above=100), {"width": 322}, (160, 360), "scale=160:360:"),
        (Recipe(), {"bit_depth": 10}, (1280, 720), "format=yuv420p10le"),
        (Recipe(), {"rate": Fraction(30000, 1001)}, (1280, 720), "settb=1001/30000,setpts=N,fps=30000/1001"),
    ],
)
def test_a_reference_is_made_as_documented(
    recipe: Recipe, changes: dict[str, object], size: tuple[int, int], filters: str
) -> None:
    source = clip(**changes)
    assert recipe.size(source) == size
    graph = reference_arguments(source, recipe, Path("r.y4m"))
    assert filters in graph[graph.index("-vf") + 1]


def test_frames_are_limited_only_if_asked() -> None:
    assert "-frames:v" not in reference_arguments(clip(), Recipe(), Path("r.y4m"))
    limited = reference_arguments(clip(), Recipe(frames=48), Path("r.y4m"))
    assert limited[limited.index("-frames:v") + 1] == "48"


def test_filters_know_the_bit_depth() -> None:
    assert parse_method("contrast").filter_graph(8) == "lutyuv=y='round((val-128)*1.05+128)'"
    assert parse_method("contrast:1.10").filter_graph(10) == "lutyuv=y='round((val-512)*1.1+512)'"
    assert parse_method("unsharp").filter_graph(8) == "unsharp=5:5:0.3"
    assert NONE.filter_graph(8) is None


@pytest.mark.parametrize("text", ["contrast:", "contrast:nan", "unsharp:1e9", "unsharp:9", "asconv", "none:1"])
def test_methods_that_cannot_be_meant_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_method(text)


def test_a_network_may_have_a_strength_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    save_network(build_network(NetworkConfig(guidance="features", planes="luma", channels=4)), file)
    half, whole = parse_method(f"{file}:0.5"), parse_method(str(file))
    assert (half.label, half.strength, whole.label, whole.strength) == ("net:0.5", 0.5, "net", 1.0)
    assert half.identity == parse_method(str(file), strength=0.5).identity != whole.identity
    labels = [method.label for method in parse_methods([str(file), f"{file}:0.5", f"{file}:0.25"])]
    assert labels == ["none", "net", "net:0.5", "net:0.25"]
    for text in (f"{file}:9", f"{file}:-1", ":0.5", "unknown:0.5"):
        with pytest.raises(UsageError):
            parse_method(text)


def test_a_network_that_is_told_the_quantiser_is_fitted_to_each_codec(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    config = NetworkConfig(guidance="features", planes="luma", channels=4, quantiser=(6.0, 60.0))
    save_network(build_network(config), file)
    fit = find_encoder("svtav1").fit
    _, *methods = parse_methods([str(file), "contrast"], strength=0.8)
    own = [method for method in methods if method.label == "net"]
    assert [method.serves("svtav1") for method in own] == [False, True]
    assert [method.serves("x264") for method in own] == [True, False]
    assert [method.strength for method in own] == [0.8, 0.8]
    assert [method.calibration for method in own] == [Calibration(), Calibration(strength=fit.strength)]
    assert f"strength={0.8 * fit.strength:g}:" in own[1].identity
    assert len({method.identity for method in own}) == 2
    assert own[1].step("svtav1", 50) == fit.step * find_encoder("svtav1").quantiser_step(50)
    methods_for(methods, ["x264"])
    methods_for(methods, ["svtav1"])
    assert fit_to_codecs(methods[-1]) == (methods[-1],)


def test_an_encoder_with_other_parameters_is_a_method_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    config = NetworkConfig(guidance="features", planes="luma", channels=4, quantiser=(6.0, 60.0))
    save_network(build_network(config), file)
    tuned, above = "x264:preset=slower:tune=ssim", f"{file}+svtav1:enable-tf=0"
    _, alone, before, filtered = parse_methods([tuned, above, "contrast:1.1+x265:mcstf=1"], strength=0.8)
    assert (alone.label, alone.codecs, alone.network) == (tuned, ("x264",), None)
    settings = encoder_settings(codec_run("x264"), 30, 50, alone.parameters)
    assert settings == EncoderSettings("x264", 30, "slower", "threads=1:keyint=50:tune=ssim")
    assert before.codecs == ("svtav1",) and before.strength == 0.8
    # The network is applied as it is before this encoder.
    assert before.calibration == Calibration(strength=find_encoder("svtav1").fit.strength)
    assert before.step("svtav1", 50) == find_encoder("svtav1").fit.step * find_encoder("svtav1").quantiser_step(50)
    assert (filtered.contrast, filtered.codecs) == (1.1, ("x265",))
    assert len({method.identity for method in (alone, before, filtered)}) == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x264:preset=9", "presets ultrafast"),
        ("x264:crf=3", "use `crf`"),
        ("x264:tune=nice", "tune=nice"),
        ("svtav1:vmaf+x264:tune=ssim", "not for x264"),
        ("nosuch+x264:tune=ssim", "unknown"),
    ],
)
def test_parameters_that_an_encoder_has_not_are_refused(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_method(name)


def test_the_anchor_is_always_there_and_labels_are_unique(tmp_path: Path) -> None:
    files = []
    for index, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        files.append(tmp_path / folder / "net.safetensors")
        save_network(build_network(NetworkConfig(guidance="features", planes="luma", channels=4 + index)), files[-1])
    methods = parse_methods(["contrast", "none", *map(str, files), "contrast"], strength=0.5)
    labels = [method.label for method in methods]
    assert labels[:2] == ["none", "contrast"]
    assert len(set(labels)) == 4
    assert all(label.startswith("net@") for label in labels[2:])
    assert methods[2].identity != methods[3].identity
    assert "strength=0.5" in methods[2].identity
    assert parse_method(str(files[0]), strength=1).identity != methods[2].identity
    files[0].write_bytes(b"rubbish")
    with pytest.raises(CheckpointError):
        parse_method(str(files[0]))


def test_presets_are_for_all_or_by_codec() -> None:
    assert _presets(None) == ({}, None)
    assert _presets("slow") == ({}, "slow")
    assert _presets("x264=slow,svtav1=8") == ({"x264": "slow", "svtav1": "8"}, None)


def test_rates_are_kilobits_per_second() -> None:
    assert [point.kbps for point in points(clip(), NONE)] == pytest.approx(list(RATES.values()), rel=1e-4)


def test_the_mean_is_over_clips_that_are_defined() -> None:
    contrast = parse_method("contrast")
    measured = Measured(
        tuple(
            points(clip("a"), NONE)
            + points(clip("a"), contrast, 0.9)
            + points(clip("b"), NONE)
            + points(clip("b"), contrast, 1.2)
            + points(clip("c"), NONE)
            + points(clip("c"), contrast, 1.0, lift=80)
        ),
        {"x264": "1"},
        (Failure("b", "contrast", "x264", 38, "broken"),),
    )
    rows = clip_rows(measured)
    assert [(row.clip, row.metric) for row in rows] == [(name, m) for name in "abc" for m in BD_METRICS]
    by_clip = {row.clip: row for row in rows if row.metric == "vmaf"}
    assert by_clip["a"].percent == pytest.approx(-10, abs=0.01)
    assert by_clip["b"].note == "1 points could not be measured"
    assert by_clip["c"].percent is None
    (mean,) = (row for row in mean_rows(rows) if row.metric == "vmaf")
    assert mean.percent == pytest.approx(5, abs=0.01)
    assert mean.median == pytest.approx(5, abs=0.01)
    assert (mean.worst_clip, mean.clips, mean.of_clips) == ("b", 2, 3)
    assert mean.worst == pytest.approx(20, abs=0.01)
    assert "c: no overlapping quality interval" in mean.note


def test_a_figure_of_several_clips_gives_each_the_same_weight() -> None:
    near, far = drawn(points(clip("a"), NONE)), drawn(points(clip("b"), NONE, 10.0, lift=2.0))
    rates, scores = mean_curve(near + far, near + far, "vmaf")
    alone, _ = mean_curve(near, near, "vmaf")
    mean_rate = (1135.0 * 671.4 * 405.1 * 247.3 * 152.7) ** 0.2
    assert rates == pytest.approx([rate / mean_rate for rate in RATES.values()], rel=1e-3)
    assert scores == pytest.approx([score + 1 for score in SCORES.values()])
    assert alone == pytest.approx(list(RATES.values()), rel=1e-3)


def test_the_demo_finds_the_crf_of_equal_rate() -> None:
    plain, other = points(clip(), NONE), points(clip(), NONE, 0.9)
    assert crf_of_equal_rate(plain, plain, 30) == 30
    assert 29 < crf_of_equal_rate(plain, other, 30) < 30
    assert crf_of_equal_rate(plain, points(clip(), NONE, 0.01), 30) == 18
    assert crf_of_equal_rate([], other, 30) == 30


def test_the_cache_is_where_the_desktop_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / "scene"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_cache_folder() == Path.home() / ".cache" / "scene"


def test_the_cache_gives_back_what_it_got(tmp_path: Path) -> None:
    cache = PointCache(tmp_path / "new")
    measurement = points(clip(), NONE)[0].measurement
    key = {"clip": "a", "options": ["-crf", "18"]}
    assert cache.load(key) is None
    cache.store(key, measurement)
    assert cache.load(key) == measurement
    assert cache.load(key | {"clip": "b"}) is None
    (entry,) = (tmp_path / "new").rglob("*.json")
    for damage in ("", "[]", "null", '{"format": 1}', entry.read_text().replace('"vmaf"', '"vmof"')):
        entry.write_text(damage)
        assert cache.load(key) is None


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_atomically(path, "old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_names_are_shown_without_control_characters() -> None:
    assert display_name("plain – é.mp4") == "plain – é.mp4"
    assert display_name("a\nb\x1b[31m") == "a\ufffdb\ufffd[31m"
    assert display_name(os.fsdecode(b"\xff.mp4")) == "\ufffd.mp4"
