"""Side-by-side pictures: which there are, at which CRF, which frame and detail, and that they are kept."""

import itertools
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scene.errors import VerificationError
from scene.evaluation.comparison.files import frame_shift
from scene.evaluation.grid.grid import Grid, Measured, Point
from scene.evaluation.grid.methods import NONE, Method, parse_method
from scene.evaluation.report.results import Report, make_report
from scene.evaluation.visuals.draw import most_different_crop, most_different_frame
from scene.evaluation.visuals.equal_rate import crf_at_rate, crf_of_equal_rate
from scene.evaluation.visuals.moving import film
from scene.evaluation.visuals.plan import choose_pairs, plan_side_by_sides
from scene.evaluation.visuals.side_by_side import Pane, SideBySide, load_side_by_side, store_side_by_side
from scene.evaluation.visuals.still import lossless_webp, read_picture, to_rgb, webp
from scene.measure.cache import Measurement, PointCache
from scene.measure.clip import Clip, Recipe
from scene.measure.encode import codec_run
from scene.measure.raw_video import RawVideo, count_raw_video, write_raw_video
from scene.metrics.scores import Scores
from scene.picture import Matrix, Picture, PictureFormat
from scene.video.encoders.settings import EncoderSettings
from scene.video.ffmpeg import FFmpeg, find_ffmpeg
from scene.video.rawvideo.y4m import Y4MHeader, write_frame, write_header

CONTRAST = parse_method("contrast")
CRFS = (20.0, 30.0, 40.0, 50.0)


def clip(name: str = "a.mp4") -> Clip:
    return Clip(Path(name), name, name, 0, Fraction(25), 320, 192, 8, "bt709")


def points(source: Clip, method: Method, codec: str = "x264", rate: float = 1.0) -> list[Point]:
    """Points of CRF 20 to 50: the rate halves from one to the next, VMAF falls from 90 in steps of 12."""
    run = codec_run(codec, crfs=CRFS)
    made = []
    for number, crf in enumerate(CRFS):
        scores = Scores(90 - 12 * number, 90, 80, 80, 0.9, 40, 35, 0, None, frames=25)
        measurement = Measurement(round(16000 * rate / 2**number), 320, 192, 8, scores)
        made.append(Point(source, method, run, crf, "1", measurement))
    return made


def report(clips: list[Clip], methods: list[Method], made: list[Point], codecs: tuple[str, ...] = ("x264",)) -> Report:
    runs = tuple(codec_run(codec, crfs=CRFS) for codec in codecs)
    grid = Grid(tuple(clips), Recipe(), tuple(methods), runs)
    return make_report(grid, Measured(tuple(made), dict.fromkeys(codecs, "1"), ()), PROGRAM)


PROGRAM = FFmpeg(Path("ffmpeg"), "9", "build")


def test_the_rate_is_interpolated_in_its_logarithm() -> None:
    curve = points(clip(), NONE)
    middle = curve[1].kbps
    assert crf_at_rate(curve, middle) == 30
    assert crf_at_rate(curve, middle / 2**0.5) == 35
    assert crf_at_rate(curve, middle / 2**0.25) == 32.5
    assert crf_at_rate(curve, middle / 2**0.24, step=0.25) == 32.5
    assert crf_at_rate(curve, middle / 2**0.27, step=1) == 33


def test_a_crf_stays_within_the_measured_ones() -> None:
    curve = points(clip(), NONE)
    assert crf_at_rate(curve, 1e9) == 20
    assert crf_at_rate(curve, 1e-9) == 50
    assert crf_at_rate(curve[:1], 5) == 20


def test_equal_rate_is_found_from_the_anchor() -> None:
    plain = points(clip(), NONE)
    assert crf_of_equal_rate(plain, points(clip(), CONTRAST, rate=2**0.5), 30) == 35
    assert crf_of_equal_rate(plain, plain, 30) == 30
    assert crf_of_equal_rate(plain, [], 30) == 30
    assert crf_of_equal_rate([], plain, 30) == 30


def test_few_pairs_are_all_shown() -> None:
    assert choose_pairs(2, 2, 24) == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize(("clips", "codecs"), [(9, 3), (16, 4), (8, 4), (24, 2), (40, 3)])
def test_of_many_pairs_some_are_chosen_evenly(clips: int, codecs: int) -> None:
    chosen = choose_pairs(clips, codecs, 24)
    assert len(chosen) == len(set(chosen)) == 24
    assert chosen == sorted(chosen)
    counts = [sum(1 for c, _ in chosen if c == number) for number in range(clips)]
    assert max(counts) - min(counts) <= 1
    shares = [sum(1 for _, c in chosen if c == number) for number in range(codecs)]
    assert max(shares) - min(shares) <= 1
    if clips > 24:
        shown = sorted({c for c, _ in chosen})
        assert shown[-1] >= clips - 2
        assert max(b - a for a, b in itertools.pairwise(shown)) <= 2


def test_a_side_by_side_is_at_the_anchors_middle_and_the_methods_are_at_its_rate() -> None:
    source = clip()
    made = points(source, NONE) + points(source, CONTRAST, rate=2**0.25)
    (plan,) = plan_side_by_sides(report([source], [NONE, CONTRAST], made), PROGRAM)
    # VMAF 78 is closer to 75 than 66 is.
    assert [(view.method.label, view.crf) for view in plan.views] == [("none", 30), ("contrast", 32.5)]


def test_svtav1_takes_quarters() -> None:
    source = clip()
    made = points(source, NONE, "svtav1") + points(source, CONTRAST, "svtav1", rate=2**0.23)
    (plan,) = plan_side_by_sides(report([source], [NONE, CONTRAST], made, ("svtav1",)), PROGRAM)
    view = plan.views[1]
    assert view.crf == 32.25
    assert plan.settings(view, view.crf) == EncoderSettings("svtav1", 32.25, "6", "lp=1:keyint=50")


def test_methods_for_another_codec_and_those_without_points_are_not_shown() -> None:
    source = clip()
    tuned = [replace(CONTRAST, label="contrast:tuned", codecs=(codec,)) for codec in ("x264", "x265")]
    lost = parse_method("unsharp")
    made = [p for codec in ("x264", "x265") for p in points(source, NONE, codec)]
    made += points(source, tuned[0], "x264") + points(source, tuned[1], "x265")
    plans = plan_side_by_sides(report([source], [NONE, *tuned, lost], made, ("x264", "x265")), PROGRAM)
    assert [[view.method for view in plan.views] for plan in plans] == [[NONE, tuned[0]], [NONE, tuned[1]]]


def test_without_the_codec_alone_there_is_no_side_by_side() -> None:
    source = clip()
    assert plan_side_by_sides(report([source], [NONE, CONTRAST], points(source, CONTRAST)), PROGRAM) == []


def test_the_key_knows_what_a_side_by_side_depends_on() -> None:
    source, other = clip(), clip("b.mp4")

    def key(of: Clip, method: Method, rate: float = 1.0) -> str:
        made = points(of, NONE) + points(of, method, rate=rate)
        (plan,) = plan_side_by_sides(report([of], [NONE, method], made), PROGRAM)
        return repr(plan.key)

    sharp = parse_method("unsharp")
    keys = {key(source, CONTRAST), key(other, CONTRAST), key(source, CONTRAST, 1.5), key(source, sharp)}
    assert len(keys) == 4
    assert key(source, CONTRAST) in keys


def write_lumas(path: Path, lumas: list[np.ndarray], *, bit_depth: int = 8, matrix: Matrix = "bt709") -> RawVideo:
    rows, columns = lumas[0].shape
    fmt = PictureFormat(columns, rows, bit_depth, matrix=matrix)
    kind = np.uint8 if bit_depth == 8 else np.uint16
    grey = np.full((rows // 2, columns // 2), 128 << (bit_depth - 8), kind)
    with path.open("wb") as stream:
        write_header(stream, Y4MHeader(fmt, Fraction(25)))
        for luma in lumas:
            write_frame(stream, Picture(fmt, (luma.astype(kind), grey, grey)))
    return count_raw_video(path, matrix)


def test_the_frame_of_the_largest_difference_is_chosen_but_for_the_first(tmp_path: Path) -> None:
    flat = [np.full((64, 96), 100)] * 4
    other = [flat[0] + step for step in (50, 3, -7, 5)]
    first, second = write_lumas(tmp_path / "a.y4m", flat), write_lumas(tmp_path / "b.y4m", other)
    number, difference = most_different_frame(first, second)
    assert number == 2
    assert (difference == 7).all()
    assert most_different_frame(*(replace(v, frames=1, path=cut(v, tmp_path)) for v in (first, second)))[0] == 0


def cut(video: RawVideo, folder: Path) -> Path:
    """The first frame alone."""
    frame = len(b"FRAME\n") + video.header.frame_bytes
    content = video.path.read_bytes()
    head = len(content) - video.frames * frame
    path = folder / f"cut-{video.path.name}"
    path.write_bytes(content[: head + frame])
    return path


def test_the_crop_is_where_the_difference_is() -> None:
    difference = np.zeros((480, 640), np.uint16)
    difference[300:400, 424:560] = 9
    left, top, width, height = most_different_crop(difference)
    assert (width, height) == (160, 120)
    assert left <= 424 and left + width >= 560
    assert top <= 300 and top + height >= 400
    assert left % 8 == top % 8 == 0


@pytest.mark.parametrize("shape", [(192, 320), (50, 70), (48, 64), (30, 40), (1080, 1920), (64, 640)])
def test_a_crop_fits_into_any_picture(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    left, top, width, height = most_different_crop(rng.integers(0, 9, shape).astype(np.uint16))
    assert 0 <= left <= left + width <= shape[1]
    assert 0 <= top <= top + height <= shape[0]
    assert width >= min(64, shape[1]) and height >= min(48, shape[0])


def test_a_frame_is_read_by_its_number(tmp_path: Path) -> None:
    video = write_lumas(tmp_path / "v.y4m", [np.full((48, 64), 10 * n) for n in range(5)])
    assert [int(read_picture(video, number).planes[0][0, 0]) for number in (3, 0, 4)] == [30, 0, 40]
    with pytest.raises(VerificationError, match="no frame 5"):
        read_picture(video, 5)


@pytest.mark.parametrize("bit_depth", [8, 10])
def test_black_grey_and_white_become_rgb(tmp_path: Path, bit_depth: int) -> None:
    codes = [np.full((48, 64), code << (bit_depth - 8)) for code in (16, 126, 235)]
    video = write_lumas(tmp_path / "v.y4m", codes, bit_depth=bit_depth)
    program = find_ffmpeg()
    seen = [to_rgb(program, read_picture(video, number), tmp_path) for number in range(3)]
    assert [np.unique(rgb).tolist() for rgb in seen] == [[0], [128], [255]]
    assert seen[0].shape == (48, 64, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["v.y4m"]


def test_colours_follow_the_clips_matrix(tmp_path: Path) -> None:
    program = find_ffmpeg()
    seen = {}
    for matrix in ("bt601", "bt709", "bt2020"):
        fmt = PictureFormat(64, 48, matrix=matrix)
        planes = [np.full(shape, value, np.uint8) for shape, value in zip(fmt.plane_shapes, (81, 90, 240), strict=True)]
        seen[matrix] = to_rgb(program, Picture(fmt, tuple(planes)), tmp_path)[24, 32].tolist()
    # (81, 90, 240) is pure red in BT.601 and nowhere else.
    assert np.abs(np.subtract(seen["bt601"], (255, 0, 0))).max() <= 2
    assert seen["bt601"] != seen["bt709"] != seen["bt2020"]


def test_images_are_what_they_say(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rgb = np.kron(rng.integers(0, 255, (27, 48, 3)), np.ones((50, 50, 1))).astype(np.uint8)
    (tmp_path / "i.webp").write_bytes(webp(rgb))
    (tmp_path / "c.webp").write_bytes(lossless_webp(rgb))
    with Image.open(tmp_path / "i.webp") as whole, Image.open(tmp_path / "c.webp") as crop:
        assert (whole.format, whole.size) == ("WEBP", (1920, 1080))
        assert (crop.format, crop.size) == ("WEBP", (2400, 1350))
        assert (np.asarray(crop) == rgb).all()


SLIDE = SideBySide(
    *("a.mp4", "x264", 3, 320, 192, (8, 16, 80, 64)),
    (Pane("source", "it", b"\x00webp", b"png"), Pane("none", "CRF 30", b"\xff", b"\x89")),
    note="said",
)


def test_side_by_sides_are_kept_and_damaged_ones_are_not_used(tmp_path: Path) -> None:
    cache = PointCache(tmp_path / "cache")
    assert load_side_by_side(cache, {"a": 1}) is None
    store_side_by_side(cache, {"a": 1}, SLIDE)
    assert load_side_by_side(cache, {"a": 1}) == SLIDE
    assert load_side_by_side(cache, {"a": 2}) is None
    (path,) = (path for path in cache.folder.rglob("*") if path.is_file())
    # Entries of points are counted by this suffix.
    assert path.suffix != ".json"
    text = path.read_text()
    for damaged in (text[:100], text.replace('"frame"', '"other"'), text.replace('"caption"', '"c"'), "[]", ""):
        path.write_text(damaged)
        assert load_side_by_side(cache, {"a": 1}) is None


def test_of_many_pairs_eight_move() -> None:
    clips = [clip(f"{number}.mp4") for number in range(6)]
    made = [point for own in clips for codec in ("x264", "x265") for point in points(own, NONE, codec)]
    plans = plan_side_by_sides(report(clips, [NONE], made, ("x264", "x265")), PROGRAM)
    assert (len(plans), sum(plan.moving for plan in plans)) == (12, 8)
    assert {plan.clip.name for plan in plans if plan.moving} == {own.name for own in clips}
    assert plans[0].key["moving"] is True


def test_a_large_clip_moves_around_its_detail_and_its_frame(tmp_path: Path) -> None:
    fmt = PictureFormat(1280, 720)
    planes = tuple(np.full(shape, 128, np.uint8) for shape in fmt.plane_shapes)
    written = write_raw_video(tmp_path / "a.y4m", Y4MHeader(fmt, Fraction(50)), [Picture(fmt, planes)] * 60)
    place = {"frame": 58, "crop": (1200, 16, 80, 60), "folder": tmp_path}
    made = film(find_ffmpeg(), [written, written], ["source", "none"], Fraction(50), **place)
    assert made is not None
    assert (made.width, made.height, made.pitch, made.first, made.frames, made.rate) == (640, 368, 368, 12, 48, 50)
    still = replace(written, frames=1)
    assert film(find_ffmpeg(), [still, still], ["source", "none"], Fraction(50), **place) is None


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020", "other"])
def test_colours_are_tagged_and_not_converted(tmp_path: Path, matrix: Matrix) -> None:
    fmt = PictureFormat(64, 48, matrix=matrix)
    planes = tuple(
        np.full(shape, level, np.uint8) for shape, level in zip(fmt.plane_shapes, (90, 70, 180), strict=True)
    )
    written = write_raw_video(tmp_path / "a.y4m", Y4MHeader(fmt, Fraction(25)), [Picture(fmt, planes)] * 3)
    place = {"frame": 1, "crop": (0, 0, 64, 48), "folder": tmp_path}
    made = film(find_ffmpeg(), [written, written], ["source", "none"], Fraction(25), **place)
    assert made is not None
    options = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
    samples = np.frombuffer(find_ffmpeg().run(["-i", str(tmp_path / "moving.mp4"), *options]).stdout, np.uint8)
    # Both, one above the other.
    size = 64 * 96
    first = np.split(samples[: size * 3 // 2].astype(int), [size, size * 5 // 4])
    assert [round(plane.mean()) for plane in first] == [90, 70, 180]


def test_a_video_that_cannot_be_coded_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fmt = PictureFormat(64, 48)
    gone = RawVideo(tmp_path / "gone.y4m", Y4MHeader(fmt, Fraction(25)), 9)
    place = {"frame": 1, "crop": (0, 0, 64, 48), "folder": tmp_path}
    assert film(find_ffmpeg(), [gone, gone], ["source", "none"], Fraction(25), **place) is None
    assert "no moving comparison" in caplog.text


def steps(count: int, first: int = 0, noise: float = 0.0) -> list[np.ndarray]:
    """Frames of a picture that moves by 8 columns each."""
    rng = np.random.default_rng(5)
    picture = np.kron(rng.integers(40, 200, (6, 40)), np.ones((16, 16)))
    shown = [picture[:, 8 * n : 8 * n + 320] for n in range(first, first + count)]
    return [(frame + rng.normal(0, noise, frame.shape)).clip(0, 255) for frame in shown]


@pytest.mark.parametrize(("first", "late"), [(4, 0), (3, 1), (5, -1)])
@pytest.mark.parametrize("bit_depth", [8, 10])
def test_a_shift_of_one_frame_is_told_from_none(tmp_path: Path, first: int, late: int, bit_depth: int) -> None:
    reference = write_lumas(tmp_path / "r.y4m", steps(8, 4))
    shown = [frame * (1 << (bit_depth - 8)) for frame in steps(8, first, noise=8)]
    assert frame_shift(reference, write_lumas(tmp_path / "d.y4m", shown, bit_depth=bit_depth)) == late


def test_where_nothing_moves_there_is_no_shift(tmp_path: Path) -> None:
    still = write_lumas(tmp_path / "r.y4m", steps(1) * 6)
    noisy = write_lumas(tmp_path / "d.y4m", [f + n for n, f in enumerate(steps(1, noise=5) * 6)])
    assert frame_shift(still, still) == frame_shift(still, noisy) == 0
    short = write_lumas(tmp_path / "s.y4m", steps(2))
    assert frame_shift(short, short) == 0
