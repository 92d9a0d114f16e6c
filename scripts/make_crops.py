"""Faces, text and grain before and after: pictures, figures and the tables of docs/labbook.md.

    OMP_NUM_THREADS=1 python scripts/make_crops.py

Three pictures that scikit-image carries, panned slowly, are encoded with x264 as by `scene evaluate`: once alone at
a CRF, and once after each model at the CRF, a fraction, that gives the same bytes within 1 %. Leaves in docs/ a row of
crops for each picture, results/crops.json, and what labbook.md has between its marks. Takes about a minute on
one core; scikit-image comes with the `dev` extra, and nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from scene.evaluation.grid.methods import NONE, Method, methods_for, parse_methods
from scene.evaluation.grid.prefilter import PrefilterEffect, measure_effect
from scene.evaluation.grid.variant import make_variant
from scene.evaluation.report.markdown import escape, markdown_lines
from scene.evaluation.visuals.still import RGB, read_frame
from scene.files import write_atomically
from scene.measure.encode import CodecRun, codec_run, encoder_settings, key_frame_interval
from scene.measure.point import compare
from scene.measure.raw_video import RawVideo, count_raw_video, read_lumas
from scene.measure.workspace import workspace
from scene.metrics.scores import METRICS, Scores
from scene.picture import Matrix, Plane
from scene.training.data.pan import pan
from scene.video.encoding.isolated import encode_isolated, encoder_version
from scene.video.ffmpeg import FFmpeg, find_ffmpeg, input_name

DOCS = Path(__file__).resolve().parents[1] / "docs"
MARKS = ("<!-- crops -->", "<!-- /crops -->")

FRAMES = 24
RATE = Fraction(24)
# What ffmpeg takes streams without a tag for.
MATRIX: Matrix = "bt601"
# The frame that is shown: a pan is where its photograph's crop was chosen at its middle.
SHOWN = FRAMES // 2
GRAIN_SIGMA = 3.0

TOLERANCE = 0.01
_MOST_ENCODES = 14
# Before there is a bracket: the rate halves about every six steps of CRF.
_CRF_AN_OCTAVE = 6.0

_ENLARGED = 2
_DPI = 100
_MARGIN, _HEADER, _FOOTER = 8, 24, 56
_TITLES = {metric.name: metric.title for metric in METRICS}
_DECIMALS = {metric.name: metric.decimals for metric in METRICS}
_SCORES = ("vmaf", "vmaf_neg", "vmaf_v1", "ms_ssim", "psnr_y")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """A picture and what is made of it.

    Attributes:
        name: of its file, crops-NAME.png.
        source: of what it is made, in words.
        photo: gives it, (H, W, 3).
        width, height: of the clip; 0.8 times the photograph and so about at its own resolution.
        crop: what is shown of a frame: left, top, width, height.
        crf: of the codec alone: one at which there is something to see.
        grain: standard deviation of the noise that is added to every frame anew, in code values of 255.
    """

    name: str
    source: str
    photo: Callable[[], RGB]
    width: int
    height: int
    crop: tuple[int, int, int, int]
    crf: float = 30.0
    grain: float = 0.0


@dataclass(frozen=True, slots=True)
class Shown:
    """An encode with its crop.

    Attributes:
        label: `none` or the model's.
        crf, bytes: at which it was encoded, and what it needs.
        scores: of the whole clip.
        crop: of the frame that is shown.
        rate_percent: of a model, how its bytes at the codec's own CRF differ from the codec's.
        effect: of a model, what it did to the pictures before this encode.
        pattern: see `pattern_of`; of a model.
    """

    label: str
    crf: float
    bytes: int
    scores: Scores
    crop: RGB
    rate_percent: float | None = None
    effect: PrefilterEffect | None = None
    pattern: float | None = None

    @property
    def kbps(self) -> float:
        """The rate of the elementary stream in kbit/s."""
        return float(self.bytes * 8 * RATE / self.scores.frames / 1000)


def face() -> RGB:
    """The upper part of the astronaut."""
    return _picture("astronaut")[:360, :480]


def text() -> RGB:
    """A printed page over handwriting: either alone has fewer lines than MS-SSIM needs."""
    page = _picture("page")
    grey = np.concatenate([page, _picture("text")[:, : page.shape[1]]])
    return np.repeat(grey[..., None], 3, axis=2)


def coffee() -> RGB:
    """The cup, the saucer and some of the table."""
    return _picture("coffee")[20:380, 60:540]


def _picture(name: str) -> RGB:
    """One that scikit-image carries."""
    from skimage import data

    picture: RGB = getattr(data, name)()
    return picture


SUBJECTS = (
    Subject("face", "`astronaut` (NASA, public domain)", face, 384, 288, (112, 8, 128, 128)),
    Subject("text", "`page` over `text` (print, handwriting)", text, 304, 256, (88, 0, 128, 128)),
    Subject("grain", "`coffee` (CC0) with grain", coffee, 384, 288, (112, 96, 128, 128), crf=22.0, grain=GRAIN_SIGMA),
)


def frames_of(subject: Subject) -> Iterator[RGB]:
    """The clip's frames, (height, width, 3); the same ones every time."""
    noise = np.random.default_rng(0)
    for frame in pan(subject.photo(), FRAMES, subject.width, subject.height, seed=0):
        if subject.grain:
            # The same for all three colours, so that it is grain of luma.
            grain = noise.normal(0, subject.grain, (*frame.shape[:2], 1))
            yield (frame + grain).round().clip(0, 255).astype(np.uint8)
        else:
            yield frame


def write_reference(ffmpeg: FFmpeg, subject: Subject, folder: Path) -> RawVideo:
    """The clip as 8-bit 4:2:0 of limited range."""
    raw, reference = folder / "frames.rgb", folder / "reference.y4m"
    with raw.open("wb") as stream:
        for frame in frames_of(subject):
            stream.write(frame.tobytes())
    graph = f"scale=out_color_matrix={MATRIX}:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_int:sws_dither=none"
    ffmpeg.run(
        [
            *("-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{subject.width}x{subject.height}"),
            *("-framerate", str(RATE), "-i", input_name(raw), "-vf", f"{graph},format=yuv420p"),
            *("-f", "yuv4mpegpipe", input_name(reference)),
        ]
    )
    raw.unlink()
    return count_raw_video(reference, MATRIX)


def crf_of_size(size_at: Callable[[float], int], target: int, start: float, limits: tuple[float, float]) -> float:
    """A CRF, of two decimals, whose size is within 1 % of a target; the nearest that was tried where none is.

    Args:
        size_at: encodes at a CRF; larger CRFs give smaller files, but for a little noise.
        start: the CRF that is tried first.
        limits: of the CRF.
    """
    tried: dict[float, float] = {}
    low, high = limits
    crf = start
    while len(tried) < _MOST_ENCODES and crf not in tried:
        error = math.log2(size_at(crf) / target)
        tried[crf] = error
        if abs(error) <= math.log2(1 + TOLERANCE):
            break
        low, high = (max(low, crf), high) if error > 0 else (low, min(high, crf))
        if low == high:
            # At the end of the range, and still too large or too small.
            break
        if low in tried and high in tried:
            # In proportion, but well within the bracket, so that it shrinks from both ends.
            share = min(max(tried[low] / (tried[low] - tried[high]), 0.1), 0.9)
            crf = round(low + (high - low) * share, 2)
        else:
            crf = round(min(max(crf + _CRF_AN_OCTAVE * error, low), high), 2)
    return min(tried, key=lambda one: abs(tried[one]))


def pattern_of(pairs: Iterable[tuple[Plane, Plane]]) -> float:
    """How far a change draws a pattern of 2x2 samples over the pictures, as a pixel shuffle may: stripes, a chequer.

    Args:
        pairs: 8-bit luma of each frame before and after, (H, W).

    Returns:
        The mean change at one of the four places of a square less that at another, at most, in code values.
    """
    sums, frames = np.zeros((2, 2)), 0
    for before, after in pairs:
        change = after.astype(np.int16) - before
        sums += [[change[row::2, column::2].mean() for column in range(2)] for row in range(2)]
        frames += 1
    return float(np.ptp(sums) / frames)


class Desk:
    """Where one subject is encoded.

    Args:
        folder: private; its raw video is left there.
    """

    def __init__(self, ffmpeg: FFmpeg, run: CodecRun, subject: Subject, folder: Path) -> None:
        self._ffmpeg = ffmpeg
        self._run = run
        self._subject = subject
        self._folder = folder
        self._reference = write_reference(ffmpeg, subject, folder)
        self._made: dict[tuple[str, float | None], RawVideo] = {}
        self._stream = folder / f"encoded.{run.codec.raw_muxer}"

    def source(self) -> RGB:
        """The source's crop."""
        return self._crop(self._reference.path)

    def alone(self, crf: float) -> Shown:
        """The codec without a model."""
        return self._shown(NONE, crf)

    def after(self, method: Method, anchor: Shown) -> Shown:
        """The codec after a model, at the anchor's size."""
        encoder = self._run.codec
        crf = crf_of_size(partial(self._encode, method), anchor.bytes, anchor.crf, (encoder.min_crf, encoder.max_crf))
        rate_percent = 100 * (self._encode(method, anchor.crf) / anchor.bytes - 1)
        processed = self._pictures(method, crf)
        effect = measure_effect(self._ffmpeg, self._reference, processed, folder=self._folder)
        pattern = pattern_of(zip(read_lumas(self._reference), read_lumas(processed), strict=True))
        shown = replace(self._shown(method, crf), rate_percent=rate_percent, effect=effect, pattern=pattern)
        if abs(shown.bytes / anchor.bytes - 1) > TOLERANCE:
            print(
                f"{self._subject.name}: {method.label} has {shown.bytes} bytes at CRF {crf:g} for {anchor.bytes}, "
                "the nearest that was found",
                file=sys.stderr,
            )
        return shown

    def _pictures(self, method: Method, crf: float) -> RawVideo:
        step = method.step(self._run.codec.name, crf)
        place = method.identity, step
        if place not in self._made:
            path = self._folder / f"variant-{len(self._made)}.y4m"
            self._made[place] = make_variant(self._ffmpeg, method, self._reference, path, step=step)
        return self._made[place]

    def _encode(self, method: Method, crf: float) -> int:
        settings = encoder_settings(self._run, crf, key_frame_interval(RATE))
        encode_isolated(self._pictures(method, crf).path, self._stream, settings, self._ffmpeg.stop)
        return self._stream.stat().st_size

    def _shown(self, method: Method, crf: float) -> Shown:
        size = self._encode(method, crf)
        scores = compare(self._ffmpeg, self._stream, self._reference, folder=self._folder).scores
        return Shown(method.label, crf, size, scores, self._crop(self._stream))

    def _crop(self, video: Path) -> RGB:
        left, top, width, height = self._subject.crop
        frame = read_frame(self._ffmpeg, video, SHOWN, self._subject.width, self._subject.height)
        return frame[top : top + height, left : left + width]


def draw(source: RGB, shown: Sequence[Shown], codec: str, path: Path) -> None:
    """A row of crops, each pixel as four, with what they are above and their scores below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = [("source", source, "")]
    for encode in shown:
        title = "codec only" if encode.label == NONE.label else encode.label.replace("$", r"\$")
        columns.append((title, encode.crop, _caption(encode, codec)))
    height, width = (side * _ENLARGED for side in source.shape[:2])
    total_width = _MARGIN + len(columns) * (width + _MARGIN)
    total_height = _HEADER + height + _FOOTER
    figure = Figure(figsize=(total_width / _DPI, total_height / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    for index, (title, crop, caption) in enumerate(columns):
        left = _MARGIN + index * (width + _MARGIN)
        enlarged = crop.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1)
        # Set by the pixel: no axes, which would resample.
        figure.figimage(enlarged, left, _FOOTER)
        middle = (left + width / 2) / total_width
        figure.text(middle, 1 - _HEADER / 2 / total_height, title, ha="center", va="center", fontsize=9)
        figure.text(middle, (_FOOTER - 5) / total_height, caption, ha="center", va="top", fontsize=7, linespacing=1.4)
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})


def _caption(encode: Shown, codec: str) -> str:
    scores = encode.scores
    return (
        f"{codec} CRF {encode.crf:g}, {encode.kbps:.1f} kbit/s\n"
        f"VMAF {scores.vmaf:.2f}, NEG {scores.vmaf_neg:.2f}, v1 {scores.vmaf_v1:.2f}\n"
        f"MS-SSIM {scores.ms_ssim:.4f}, PSNR {scores.psnr_y:.2f} dB"
    )


def record(subject: Subject, shown: Sequence[Shown]) -> Document:
    """What was measured of a subject, as JSON types."""
    return {
        "subject": subject.name,
        "source": subject.source,
        "size": [subject.width, subject.height],
        "grain": subject.grain,
        "crop": list(subject.crop),
        "encodes": [
            {
                "method": encode.label,
                "crf": encode.crf,
                "bytes": encode.bytes,
                "kbps": _rounded(encode.kbps),
                **{name: _rounded(getattr(encode.scores, name)) for name in _DECIMALS},
                "rate_percent_at_equal_crf": _rounded(encode.rate_percent),
                "pattern": _rounded(encode.pattern),
                "treatment": encode.effect
                and {name: _rounded(value) for name, value in msgspec.to_builtins(encode.effect).items()},
            }
            for encode in shown
        ],
    }


def tables(results: Document) -> str:
    """What stands between the page's marks: the command, and both tables."""
    models = [(entry["method"].partition("@")[0], entry["identity"].split(":")[1]) for entry in results["models"]]
    names = " and ".join(f"`{name}@{fingerprint}`" for name, fingerprint in models)
    codec = results["codec"]
    scores = [["Subject", "Version", "CRF", "kbit/s", *(_TITLES[name] for name in _SCORES), "CAMBI", "flicker"]]
    effects = [
        [
            "Subject",
            "Model",
            "rate at equal CRF, %",
            "gain",
            "offset",
            "clipped, %",
            "2x2 pattern",
            "VMAF gain",
            "CAMBI",
        ]
    ]
    for entry in results["subjects"]:
        for encode in entry["encodes"]:
            model = encode["method"] != NONE.label
            scores.append(
                [
                    entry["subject"],
                    escape(encode["method"]) if model else "codec only",
                    *(f"{encode['crf']:g}", f"{encode['kbps']:.1f}"),
                    *(_number(encode[name], f".{_DECIMALS[name]}f") for name in (*_SCORES, "cambi", "flicker")),
                ]
            )
            if model:
                effect = encode["treatment"]
                effects.append(
                    [
                        *(entry["subject"], escape(encode["method"])),
                        _number(encode["rate_percent_at_equal_crf"], "+.1f"),
                        _number(effect["gain"], ".3f"),
                        _number(effect["offset"], "+.1f"),
                        _number(100 * effect["clipped"], ".2f"),
                        _number(encode["pattern"], ".2f"),
                        _number(effect["vmaf_gain"], "+.1f"),
                        _number(effect["cambi"], "+.2f"),
                    ]
                )
    return "\n".join(
        [
            f"    {results['command']}",
            "",
            f"{names}; {codec['codec']} {codec['version']}, preset {codec['preset']}; "
            f"{results['frames']} frames. At equal size:",
            "",
            *markdown_lines(scores),
            "",
            "What the models did, the rate at the codec's own CRF and the pictures before the encoder:",
            "",
            *markdown_lines(effects),
        ]
    )


def labbook_page(docs: Path) -> str:
    """The text of labbook.md in a folder with its tables made anew.

    Raises:
        ValueError: it has no marks for them.
    """
    page = (docs / "labbook.md").read_text(encoding="utf-8")
    results = json.loads((docs / "results" / "crops.json").read_text(encoding="utf-8"))
    head, start, rest = page.partition(MARKS[0])
    _, end, tail = rest.partition(MARKS[1])
    if not end:
        raise ValueError(f"labbook.md lacks its marks, {' and '.join(MARKS)}")
    return f"{head}{start}\n\n{tables(results)}\n\n{end}{tail}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="scene", help="shipped models or .safetensors files, by commas")
    parser.add_argument("--crf", type=float, help="of the codec alone, for every picture; by default each one's own")
    parser.add_argument("--out", type=Path, default=DOCS, help="instead of docs/; a labbook.md there is made anew")
    given = parser.parse_args()
    methods = methods_for(parse_methods(given.models.split(",")), ["x264"])[1:]
    if not methods or any(method.network is None for method in methods):
        parser.error("--models takes networks only")
    run = codec_run("x264", crfs=None if given.crf is None else (given.crf,))
    ffmpeg = find_ffmpeg()
    images, results_path = given.out / "images", given.out / "results" / "crops.json"
    for folder in (images, results_path.parent):
        folder.mkdir(parents=True, exist_ok=True)
    subjects = []
    with workspace() as work:
        version = encoder_version(run.codec.name)
        for subject in SUBJECTS:
            private = work / subject.name
            private.mkdir()
            desk = Desk(ffmpeg, run, subject, private)
            anchor = desk.alone(subject.crf if given.crf is None else given.crf)
            shown = [anchor, *(desk.after(method, anchor) for method in methods)]
            draw(desk.source(), shown, run.codec.name, images / f"crops-{subject.name}.png")
            subjects.append(record(subject, shown))
            print(f"{subject.name}: {', '.join(f'{e.label} {e.bytes} bytes' for e in shown)}", flush=True)
    results = {
        "format": 1,
        "command": shlex.join(["python", "scripts/make_crops.py", *sys.argv[1:]]),
        "ffmpeg": ffmpeg.version,
        "codec": {"codec": run.codec.name, "preset": run.preset, "version": version},
        "frames": FRAMES,
        "rate": str(RATE),
        "shown": SHOWN,
        "models": [{"method": method.label, "identity": method.identity} for method in methods],
        "subjects": subjects,
    }
    write_atomically(results_path, json.dumps(results, indent=1) + "\n")
    if (given.out / "labbook.md").exists():
        write_atomically(given.out / "labbook.md", labbook_page(given.out))


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _number(value: float | None, form: str) -> str:
    if value is None:
        return "N/A"
    text = format(value, form)
    # No minus sign before a zero.
    return text if float(text) else format(0.0, form)


if __name__ == "__main__":
    main()
