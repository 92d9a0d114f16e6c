"""The guard's way through a video with a probe that is told what to say: shots, waiting, order, failures."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_guided import CountingEncoder, guided, picture, semantic_enhancer

from scene.errors import SceneError, UsageError
from scene.jobs.guard import PROBE_FRAMES, Guard, ShotProbe, guarded, window_of
from scene.metrics.rate_saving import Saving
from scene.picture import Picture, PictureFormat, crop
from scene.video.encoders.settings import EncoderSettings
from scene.video.ffmpeg import FFmpeg
from scene.video.source.decode import Unit


class FakeFrame:
    def __init__(self, number: int, shown: Picture) -> None:
        self.pts = number * 40
        self.shown = shown
        self.replaced = False

    def picture(self) -> Picture:
        return self.shown

    def replace(self, picture: Picture) -> None:
        self.shown, self.replaced = picture, True


class FakeEnhancer:
    """Adds one, counts its calls."""

    def __init__(self, batch: int = 1) -> None:
        self.batch = batch
        self.sizes: list[int] = []
        self.shots = 0

    def renew_embedding(self) -> None:
        self.shots += 1

    def filter_in_time(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        return iter(pictures)

    def __call__(self, pictures: Sequence[Picture]) -> list[Picture]:
        self.sizes.append(len(pictures))
        return [Picture(p.format, (p.planes[0] + 1, *p.planes[1:])) for p in pictures]

    def enhance_filtered(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        pictures = list(pictures)
        for first in range(0, len(pictures), self.batch):
            yield from self(pictures[first : first + self.batch])


class FakeProbe:
    """Gives prepared verdicts, an exception being raised."""

    def __init__(self, *verdicts: bool | Exception) -> None:
        self.verdicts = list(verdicts)
        self.stamps: list[list[int]] = []

    def __call__(self, plain: Sequence[Picture], enhanced: Sequence[Picture], stamps: Sequence[int]) -> Saving:
        assert len(plain) == len(enhanced) == len(stamps)
        assert all((b.planes[0] == a.planes[0] + 1).all() for a, b in zip(plain, enhanced, strict=True))
        self.stamps.append(list(stamps))
        verdict = self.verdicts.pop(0)
        if isinstance(verdict, Exception):
            raise verdict
        return Saving({"vmaf_neg": 0.1 if verdict else -0.1}, verdict)


# Seeds between which the detector sees a cut.
SEEDS = (0, 7, 0, 7)


def frames_of(*lengths: int) -> list[FakeFrame]:
    seeds = [seed for seed, length in zip(SEEDS, lengths, strict=False) for _ in range(length)]
    return [FakeFrame(number, picture(seed)) for number, seed in enumerate(seeds)]


def run(guard: Guard[Any], frames: Sequence[FakeFrame]) -> tuple[list[FakeFrame], int]:
    """What comes out, and how many frames waited at most."""
    out: list[FakeFrame] = []
    waited = 0
    for number, frame in enumerate(frames, start=1):
        out += guard.take(frame, frame.picture())
        waited = max(waited, number - len(out))
    return [*out, *guard.finish()], waited


def test_each_shot_is_kept_or_passed_as_a_whole(caplog: pytest.LogCaptureFixture) -> None:
    frames = frames_of(20, 15, 5, 30)
    probe, enhancer = FakeProbe(True, False, False, True), FakeEnhancer()
    guard: Guard[Any] = Guard(enhancer, probe)  # type: ignore[arg-type]
    with caplog.at_level(logging.INFO, "scene"):
        out, waited = run(guard, frames)
    assert out == frames
    assert [frame.replaced for frame in frames] == [True] * 20 + [False] * 20 + [True] * 30
    assert waited < PROBE_FRAMES
    assert [stamps[0] // 40 for stamps in probe.stamps] == [0, 20, 35, 40]
    assert [len(stamps) for stamps in probe.stamps] == [12, 12, 5, 12]
    # Of a shot that is passed through only the probed frames are enhanced.
    assert (sum(enhancer.sizes), enhancer.shots) == (20 + 12 + 5 + 30, 4)
    assert (guard.report.shots, guard.report.passed) == (4, 2)
    assert "shot at frame 20: passed through (rate at equal VMAF NEG +10.5 %)" in caplog.messages
    assert "shot at frame 40: enhanced (rate at equal VMAF NEG -9.5 %)" in caplog.messages


def test_batches_do_not_reach_over_a_cut() -> None:
    enhancer = FakeEnhancer(batch=4)
    frames = frames_of(18, 3)
    out, _ = run(Guard(enhancer, FakeProbe(True, True)), frames)  # type: ignore[arg-type]
    assert out == frames and all(frame.replaced for frame in frames)
    assert enhancer.sizes == [4, 4, 4, 4, 2, 3]


def test_a_video_of_one_frame_and_of_none() -> None:
    guard: Guard[Any] = Guard(FakeEnhancer(), FakeProbe(False))  # type: ignore[arg-type]
    assert list(guard.finish()) == []
    frames = frames_of(1)
    assert run(guard, frames)[0] == frames
    assert (guard.report.shots, guard.report.passed) == (1, 1)


def test_a_probe_that_fails_is_told_once_and_the_shot_enhanced(caplog: pytest.LogCaptureFixture) -> None:
    frames = frames_of(13, 13, 13)
    probe = FakeProbe(SceneError("libvmaf gave no scores"), OSError(28, "No space left on device"), False)
    guard: Guard[Any] = Guard(FakeEnhancer(), probe)  # type: ignore[arg-type]
    out, _ = run(guard, frames)
    assert out == frames
    assert [frame.replaced for frame in frames] == [True] * 26 + [False] * 13
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings == ["the shot at frame 0 is enhanced without a probe, which failed: libvmaf gave no scores"]
    assert (guard.report.shots, guard.report.passed) == (3, 1)


def test_packets_do_not_wait_with_the_frames_and_keep_their_order() -> None:
    frames = frames_of(14)
    units = [Unit([f"p{n}"], frame) for n, frame in enumerate(frames)]  # type: ignore[arg-type, list-item]
    units.append(Unit(["last"]))  # type: ignore[list-item]
    seen = 0

    def source() -> Iterator[Unit]:
        nonlocal seen
        for unit in units:
            seen += 1
            yield unit

    packets: list[object] = []
    out: list[object] = []
    for unit in guarded(source(), Guard(FakeEnhancer(), FakeProbe(True))):  # type: ignore[arg-type]
        packets += unit.packets
        out += [] if unit.frame is None else [unit.frame]
        assert len(packets) == seen
    assert packets == [f"p{n}" for n in range(14)] + ["last"]
    assert out == frames


def test_shots_have_the_embeddings_that_they_have_without_a_guard() -> None:
    # The third shot looks like the beginning of the second, which fades into something else while it is passed through:
    # whoever saw no more than that beginning would see no cut.
    fade = [blend(picture(7), picture(3), step / 20) for step in range(1, 21)]
    video = [picture(0)] * 14 + [picture(7)] * 12 + fade + [picture(7)] * 14
    encoder = CountingEncoder()
    alone = semantic_enhancer(guided(), encoder, interval=5)
    expected = [alone([frame])[0].planes[0] for frame in video]
    encoder.calls = 0
    verdicts = iter((True, False, True))

    def probe(plain: Sequence[Picture], enhanced: Sequence[Picture], stamps: Sequence[int]) -> Saving:
        return Saving({}, next(verdicts))

    frames = [FakeFrame(number, frame) for number, frame in enumerate(video)]
    out, _ = run(Guard(semantic_enhancer(guided(), encoder, interval=5), probe), frames)
    kept = [frame.replaced for frame in out]
    assert kept == [True] * 14 + [False] * 32 + [True] * 14
    for frame, want, replaced in zip(out, expected, kept, strict=True):
        assert not replaced or np.array_equal(frame.shown.planes[0], want)
    # At frames 0, 5 and 10 of each shot: the one that is passed through has its 12 frames probed.
    assert encoder.calls == 3 * 3


def blend(first: Picture, second: Picture, share: float) -> Picture:
    planes = [(1 - share) * a + share * b for a, b in zip(first.planes, second.planes, strict=True)]
    return Picture(first.format, tuple(plane.round().astype(np.uint8) for plane in planes))


@pytest.mark.parametrize(
    "size,window",
    [
        ((1920, 1080), (640, 360)),
        ((1080, 1920), (256, 640)),
        ((3840, 1600), (640, 360)),
        ((387, 241), (384, 240)),
        ((255, 241), (254, 240)),
        ((320, 1080), (256, 640)),
        ((17, 16), (16, 16)),
    ],
)
@pytest.mark.parametrize("chroma", ["400", "420", "422", "444"])
def test_the_window_is_the_even_middle(size: tuple[int, int], window: tuple[int, int], chroma: Any) -> None:
    fmt = PictureFormat(*size, chroma=chroma)
    whole = Picture(fmt, tuple(np.indices(shape).sum(axis=0).astype(np.uint16) for shape in fmt.plane_shapes))
    rows, columns = window_of(fmt)
    assert rows.start % 2 == columns.start % 2 == 0
    assert abs((rows.start + rows.stop) - fmt.height) <= 3 and abs((columns.start + columns.stop) - fmt.width) <= 3
    small = crop(whole, (rows, columns))
    assert (small.format.width, small.format.height) == window
    assert tuple(plane.shape for plane in small.planes) == small.format.plane_shapes
    corners = [int(plane[0, 0]) for plane in small.planes]
    across, down = {"420": (2, 2), "422": (2, 1)}.get(chroma, (1, 1))
    assert corners == [rows.start + columns.start, *[rows.start // down + columns.start // across] * 2][: len(corners)]


@pytest.mark.parametrize(
    "size,metrics",
    [
        ((1920, 1080), ("vmaf_neg", "vmaf_v1", "ms_ssim")),
        ((216, 216), ("vmaf_neg", "vmaf_v1", "ms_ssim")),
        ((640, 176), ("vmaf_neg", "vmaf_v1", "ms_ssim")),
        ((214, 214), ("vmaf_neg", "ms_ssim")),
        ((176, 176), ("vmaf_neg", "ms_ssim")),
        ((1920, 175), ()),
    ],
)
def test_what_can_be_measured_hangs_on_the_size(size: tuple[int, int], metrics: tuple[str, ...]) -> None:
    assert probe_for(size, EncoderSettings()).metrics == metrics


@pytest.mark.parametrize("item", ["zones=0,5,q=9", "zonefile=a.txt"])
def test_parameters_that_concern_the_whole_video_are_refused(item: str) -> None:
    with pytest.raises(UsageError, match="counts frames from the beginning"):
        probe_for((640, 360), EncoderSettings("x265", encoder_args=f"aq-mode=1:{item}"))


def probe_for(size: tuple[int, int], settings: EncoderSettings) -> ShotProbe:
    info: Any = SimpleNamespace(format=PictureFormat(*size))
    return ShotProbe(FFmpeg(Path("unused"), "", ""), settings, info)


def test_a_shot_that_is_said_to_begin_gets_a_new_embedding() -> None:
    encoder = CountingEncoder()
    run = semantic_enhancer(guided(), encoder, interval=0)
    with torch.inference_mode():
        for _ in range(3):
            run([picture(0)])
        assert encoder.calls == 1
        run.start_shot()
        run([picture(0)])
    assert encoder.calls == 2
