"""`scene encode --focus`: bits go where the map says, with x264 and x265, and the rest of the stream is as before."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from skimage import data

import scene
from scene.errors import InputError, UsageError
from scene.importance.maps import ImportanceMaps
from scene.mapping.run import MapRequest, draw_map
from scene.options import BYPASS, FocusOptions
from scene.video.encoding.regions import FULL_FOCUS_QPS, Box, boxes_of, quantiser_offsets

WIDTH, HEIGHT, FRAMES = 320, 192, 12
Plane = npt.NDArray[np.uint8]


def write(path: Path, planes: list[Plane], layout: str = "yuv420p") -> Path:
    """Lossless, at 25 frames a second."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, layout
        for number, plane in enumerate(planes):
            frame = av.VideoFrame.from_ndarray(plane, "gray").reformat(format=layout)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The same moving texture in the left half and in the right."""
    texture = np.random.default_rng(1).normal(128, 30, (HEIGHT, WIDTH // 2 + FRAMES)).clip(16, 235)
    smooth = (texture + np.roll(texture, 1, 0) + np.roll(texture, 1, 1)) / 3
    halves = [smooth[:, n : n + WIDTH // 2].astype(np.uint8) for n in range(FRAMES)]
    return write(tmp_path / "source.mkv", [np.hstack((half, half)) for half in halves])


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    left = np.zeros((HEIGHT, WIDTH), np.uint8)
    left[:, : WIDTH // 2] = 255
    return write(tmp_path / "masks.mkv", [left] * FRAMES, "gray")


def errors(source: Path, encoded: Path) -> tuple[float, float]:
    """Mean squared error of luma in the left half and in the right."""
    with av.open(str(source)) as one, av.open(str(encoded)) as other:
        pairs = zip(one.decode(video=0), other.decode(video=0), strict=True)
        halves = [(a.to_ndarray()[:HEIGHT].astype(int) - b.to_ndarray()[:HEIGHT]) ** 2 for a, b in pairs]
    error = np.mean(halves, axis=0)
    return float(error[:, : WIDTH // 2].mean()), float(error[:, WIDTH // 2 :].mean())


def encode(source: Path, codec: str, focus: FocusOptions, name: str, **settings: object) -> Path:
    target = source.with_name(name)
    request = scene.EncodeRequest(
        *(source, target, scene.EncoderSettings(codec, **{"crf": 30, "preset": "fast", **settings})),  # type: ignore[arg-type]
        scene.EnhanceOptions(model=BYPASS),
        overwrite=True,
        focus=focus,
    )
    scene.encode(request)
    return target


@pytest.mark.parametrize("codec", ["x264", "x265"])
def test_what_a_mask_marks_gets_the_bits(codec: str, source: Path, masks: Path) -> None:
    plain = encode(source, codec, FocusOptions(), "plain.mkv")
    focused = encode(source, codec, FocusOptions(1, str(masks)), "focused.mkv")
    before, after = errors(source, plain), errors(source, focused)
    # Half of the quantisers up and half down: six of them double the step.
    assert after[0] < 0.75 * before[0]
    assert after[1] > 1.25 * before[1]
    assert focused.stat().st_size == pytest.approx(plain.stat().st_size, rel=0.3)


def test_an_encoders_map_and_the_centre_move_bits_too(source: Path) -> None:
    plain = encode(source, "x264", FocusOptions(), "plain.mkv")
    sizes = {
        where: encode(source, "x264", FocusOptions(1, where), "out.mkv").read_bytes() for where in ("auto", "centre")
    }
    assert len({plain.read_bytes(), *sizes.values()}) == 3


@pytest.mark.parametrize(("interval", "looks"), [(0, 1), (4, 3), (12, 1), (5, 3)])
def test_the_encoder_looks_as_often_as_it_is_asked_to(interval, looks, source, monkeypatch):
    """In one shot of twelve frames."""
    seen = []
    look = ImportanceMaps._look
    monkeypatch.setattr(ImportanceMaps, "_look", lambda maps, picture: seen.append(1) or look(maps, picture))
    encode(source, "x264", FocusOptions(1, focus_interval=interval), "out.mkv")
    assert len(seen) == looks


def test_a_map_is_drawn_over_video_and_photographs_and_serves_as_masks(source: Path, tmp_path: Path) -> None:
    files = draw_map(MapRequest(source, tmp_path / "maps", every=5))
    assert [path.name for path in files] == ["source.map.mkv", *(f"source.{n:06d}.jpg" for n in (0, 5, 10))]
    with av.open(str(files[0])) as container:
        frames = list(container.decode(video=0))
    with av.open(str(source)) as container:
        stamps = [frame.time for frame in container.decode(video=0)]
    assert [frame.time for frame in frames] == pytest.approx(stamps, abs=1e-3)
    assert {(frame.width, frame.height, frame.format.name) for frame in frames} == {(WIDTH, HEIGHT, "gray")}
    encode(source, "x264", FocusOptions(1, str(files[0])), "out.mkv")
    photograph = tmp_path / "cat.png"
    cv2.imwrite(str(photograph), cv2.cvtColor(data.chelsea(), cv2.COLOR_RGB2BGR))
    found, over = draw_map(MapRequest(photograph, tmp_path / "maps"))
    assert cv2.imread(str(found), cv2.IMREAD_UNCHANGED).shape == (300, 451)
    assert cv2.imread(str(over)).shape == (300, 451, 3)
    (tmp_path / "no.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="cannot be read as a photograph"):
        draw_map(MapRequest(tmp_path / "no.png", tmp_path / "maps"))
    with pytest.raises(UsageError, match="every"):
        MapRequest(source, tmp_path, every=0)


@pytest.mark.parametrize("model", ["scene-lite", BYPASS])
def test_the_picture_is_smoothed_where_it_does_not_matter(model: str, source: Path, masks: Path) -> None:
    """With an encoder that cannot be told, beside a filter that delays pictures."""
    sizes = {}
    for strength in (0.0, 0.5, 1.0):
        focus = FocusOptions(strength, str(masks), "picture")
        target = source.with_name("out.mkv")
        settings = scene.EncoderSettings("svtav1", crf=30, preset="10")
        enhancement = scene.EnhanceOptions(model=model, device="cpu")
        scene.encode(scene.EncodeRequest(source, target, settings, enhancement, overwrite=True, focus=focus))
        sizes[strength] = target.stat().st_size
    left, right = errors(source, target)
    assert right > 1.5 * left
    assert sizes[1] < sizes[0.5] < sizes[0]


@pytest.mark.parametrize(("codec", "layout"), [("x264", "bgr0"), ("x265", "yuv420p10le"), ("x264", "yuv444p")])
def test_other_samples_are_told_too(codec: str, layout: str, source: Path, masks: Path, tmp_path: Path) -> None:
    with av.open(str(source)) as container:
        lumas = [frame.to_ndarray()[:HEIGHT] for frame in container.decode(video=0)]
    other = write(tmp_path / "other.mkv", lumas, layout)
    for way in ("encoder", "picture"):
        encoded = encode(other, codec, FocusOptions(1, str(masks), way), "out.mkv")  # type: ignore[arg-type]
        with av.open(str(other)) as one, av.open(str(encoded)) as two:
            pairs = zip(one.decode(video=0), two.decode(video=0), strict=True)
            errors = np.mean(
                [(a.to_ndarray(format="gray").astype(int) - b.to_ndarray(format="gray")) ** 2 for a, b in pairs], 0
            )
        assert errors[:, WIDTH // 2 :].mean() > 1.3 * errors[:, : WIDTH // 2].mean()


def test_both_ways_at_once(source: Path, masks: Path) -> None:
    told = encode(source, "x264", FocusOptions(1, str(masks)), "told.mkv")
    both = encode(source, "x264", FocusOptions(1, str(masks), "both"), "both.mkv")
    assert both.stat().st_size < told.stat().st_size
    assert errors(source, both)[0] == pytest.approx(errors(source, told)[0], rel=0.2)


def test_a_focus_of_none_is_the_stream_without_it(source: Path, masks: Path) -> None:
    one = encode(source, "x264", FocusOptions(), "one.mkv")
    other = encode(source, "x264", FocusOptions(0, str(masks)), "other.mkv")
    packets = []
    for path in (one, other):
        with av.open(str(path)) as container:
            packets.append([bytes(packet) for packet in container.demux(video=0)])
    assert packets[0] == packets[1]


def test_refusals_come_before_the_work(source: Path, masks: Path, tmp_path: Path) -> None:
    told = FocusOptions(1, str(masks))
    with pytest.raises(UsageError, match="svtav1 cannot be told"):
        encode(source, "svtav1", told, "out.mkv", preset="10")
    with pytest.raises(UsageError, match="adapts its quantiser"):
        encode(source, "x264", told, "out.mkv", encoder_args="aq-mode=0")
    with pytest.raises(UsageError, match="adapts its quantiser"):
        encode(source, "x265", told, "out.mkv", preset="ultrafast")
    with pytest.raises(UsageError, match="one pass"):
        encode(source, "x264", told, "out.mkv", crf=None, bitrate=500)
    with pytest.raises(UsageError, match="out of range"):
        encode(source, "x264", FocusOptions(1.5), "out.mkv")
    with pytest.raises(InputError, match="does not exist"):
        encode(source, "x264", FocusOptions(1, str(tmp_path / "none.mkv")), "out.mkv")
    short = write(tmp_path / "short.mkv", [np.zeros((HEIGHT, WIDTH), np.uint8)] * (FRAMES - 1), "gray")
    with pytest.raises(InputError, match="has 11 pictures"):
        encode(source, "x264", FocusOptions(1, str(short)), "out.mkv")
    with pytest.raises(UsageError, match="`focus_interval` -1 makes no sense"):
        encode(source, "x264", FocusOptions(1, focus_interval=-1), "out.mkv")
    with pytest.raises(UsageError, match="`focus_by` 'luck' is unknown"):
        encode(source, "x264", FocusOptions(1, focus_by="luck"), "out.mkv")  # type: ignore[arg-type]
    request = scene.EncodeRequest(source, source.with_name("out.mkv"), focus=told)
    with pytest.raises(UsageError, match="leave `focus` out"):
        scene.encode_to_target(scene.TargetEncodeRequest(request, (scene.Target("vmaf_neg", 90),)))
    with pytest.raises(UsageError, match="`guard` passes frames by"):
        scene.encode(replace(request, guard=True, focus=replace(told, focus_by="picture")))
    assert scene.dry_run(request).estimate.unknown == "a focus is not tried on parts"
    assert not source.with_name("out.mkv").exists()


def test_boxes_cover_each_block_once_with_its_offset() -> None:
    size = (854, 480)
    importance = np.zeros((480, 854), np.uint8)
    importance[100:300, 200:500] = 255
    importance[250:460, 420:640] = 128
    offsets = quantiser_offsets(importance, size, 1)
    assert abs(offsets.mean()) < 0.5
    assert offsets.max() - offsets.min() == FULL_FOCUS_QPS
    boxes = boxes_of(offsets, size)
    painted = np.zeros((480, 854), int)
    for box in boxes:
        part = painted[box.top : box.top + box.height, box.left : box.left + box.width]
        assert not part.any()
        part[:] = box.quantisers
    assert (painted[::16, ::16] == offsets).all()
    assert len(boxes) < 30


def test_a_map_without_differences_moves_nothing() -> None:
    assert boxes_of(quantiser_offsets(np.full((90, 160), 255, np.uint8), (1920, 1080), 1), (1920, 1080)) == ()


def test_large_pictures_have_larger_blocks() -> None:
    importance = np.random.default_rng(2).integers(0, 256, (2160, 3840), np.uint8)
    assert quantiser_offsets(importance, (3840, 2160), 1).shape == (34, 60)
    assert boxes_of(np.full((1, 1), -8), (64, 48)) == (Box(0, 0, 16, 16, -8),)
