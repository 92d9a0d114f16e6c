"""BD-rates inside and outside of masks without libvmaf: some seconds a point, for trying many maps and strengths.

    python scripts/measure_focus.py CLIPS... --regions MASKS --models focus:mask,focus:centre [--against none]

The same encodes and the same scores by region as `scene evaluate --regions`, which has all other metrics too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

from scene.evaluation.grid.focus import make_maps, told
from scene.evaluation.grid.methods import Method, parse_methods
from scene.evaluation.grid.variant import make_variant
from scene.measure.clip import Clip, Recipe, make_reference, open_clips
from scene.measure.encode import codec_run, encoder_settings, key_frame_interval
from scene.measure.point import decode_encode, score_regions
from scene.measure.raw_video import RawVideo
from scene.measure.regions import Mask, make_mask, open_masks
from scene.measure.workspace import workspace
from scene.metrics.bjontegaard import bd_rate
from scene.video.encoding.isolated import encode_isolated
from scene.video.ffmpeg import FFmpeg, find_ffmpeg

SHOWN = ("psnr_inside", "ssim_inside", "psnr_outside", "ssim_outside", "psnr_whole", "ssim_whole")
CRFS = {"x264": (22, 26, 30, 34, 38), "x265": (22, 26, 30, 34, 38), "svtav1": (27, 34, 41, 48, 55)}

# kilobytes and scores by method, codec and clip
Curves = dict[tuple[str, str, str], list[tuple[float, dict[str, float]]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--regions", type=Path, required=True)
    parser.add_argument("--models", required=True)
    parser.add_argument("--codecs", default="x264")
    parser.add_argument("--against", default="none")
    parser.add_argument("--frames", type=int)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    ffmpeg = replace(find_ffmpeg(), stop=threading.Event())
    clips, recipe = open_clips(given.clips), Recipe(frames=given.frames)
    masks = open_masks(given.regions, clips, recipe)
    names = list(dict.fromkeys([given.against, *given.models.split(",")]))
    methods, codecs = parse_methods(names), given.codecs.split(",")
    curves: Curves = {}
    for clip in clips:
        measure(ffmpeg, clip, masks[clip.sha256], recipe, methods, codecs, curves)
    rows = compare(curves, given.against)
    print(f"| codec | method | {' | '.join(SHOWN)} | worst inside (PSNR, SSIM) |\n|{'---|' * (len(SHOWN) + 3)}")
    for codec, method, means, worst in rows:
        cells = " | ".join(f"{mean:+.1f}" for mean in means)
        print(f"| {codec} | {method} | {cells} | {worst[0]:+.1f}, {worst[1]:+.1f} |")
    if given.out is not None:
        table = {" ".join(place): curve for place, curve in curves.items()}
        given.out.write_text(json.dumps(table, indent=1))


def measure(
    ffmpeg: FFmpeg,
    clip: Clip,
    mask: Mask,
    recipe: Recipe,
    methods: tuple[Method, ...],
    codecs: list[str],
    curves: Curves,
) -> None:
    with workspace() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        reference = make_reference(ffmpeg, clip, recipe, folder / "reference.y4m")
        masked = make_mask(ffmpeg, mask, clip, recipe, folder / "mask.y4m")

        def point(method: Method, codec: str, crf: float) -> tuple[float, dict[str, float]]:
            with tempfile.TemporaryDirectory(dir=folder) as name:
                own = Path(name)
                step = method.step(codec, crf)
                maps = make_maps(ffmpeg, method.focus, clip, mask, recipe, reference, own / "maps.y4m")
                made = make_variant(ffmpeg, method, reference, own / "v.y4m", step=step, device="cpu", maps=maps)
                run = codec_run(codec, crfs=(crf,))
                settings = encoder_settings(run, crf, key_frame_interval(clip.rate), method.parameters)
                stream = own / f"encoded.{run.codec.raw_muxer}"
                encode_isolated(made.path, stream, settings, ffmpeg.stop, told(method.focus, maps))
                decoded: RawVideo = decode_encode(ffmpeg, stream, reference, folder=own)
                scores = asdict(score_regions(reference, decoded, masked))
                scores["psnr_whole"] = whole_psnr(reference, decoded)
                return stream.stat().st_size / 1000, scores

        jobs = {
            (method.label, codec, clip.name, crf): pool.submit(point, method, codec, crf)
            for method in methods
            for codec in codecs
            if method.serves(codec)
            for crf in CRFS[codec]
        }
        for (label, codec, name, _), job in jobs.items():
            curves.setdefault((label, codec, name), []).append(job.result())
            print(".", end="", file=sys.stderr, flush=True)


def whole_psnr(reference: RawVideo, decoded: RawVideo) -> float:
    """Of whole frames, which is PSNR outside of a mask of nothing."""
    import numpy as np

    from scene.measure.raw_video import read_lumas
    from scene.metrics.regions import psnr

    depth = reference.header.format.bit_depth
    pairs = zip(read_lumas(reference), read_lumas(decoded), strict=True)
    return statistics.fmean(
        psnr(float(((one.astype(np.float32) - other) ** 2).mean(dtype=np.float64)), depth) for one, other in pairs
    )


def compare(curves: Curves, anchor: str) -> list[tuple[str, str, list[float], list[float]]]:
    """Codec, method, and of every metric the mean over clips; of the first two the worst clip."""
    rows = []
    for method, codec in dict.fromkeys((method, codec) for method, codec, _ in curves if method != anchor):
        values: dict[str, list[float]] = {name: [] for name in SHOWN}
        for own, coder, clip in curves:
            if (own, coder) != (method, codec):
                continue
            for name in SHOWN:
                pair = [
                    [(rate, scores[name]) for rate, scores in curves[which, codec, clip]] for which in (anchor, method)
                ]
                values[name].append(bd_rate(*pair).percent or float("nan"))
        means = [statistics.fmean(values[name]) for name in SHOWN]
        rows.append((codec, method, means, [max(values[name]) for name in SHOWN[:2]]))
    return rows


if __name__ == "__main__":
    main()
