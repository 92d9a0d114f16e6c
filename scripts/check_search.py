"""Whether `scene search` predicts what `scene encode` gives: both, and the measurements of `scene compare`, as a table.

    python scripts/check_search.py CLIPS --target vmaf-neg=90 --codec x265 --preset fast --samples 3 --sample-seconds 2

The answer that a search chooses is encoded; "predicted / measured" stand side by side. The measured rate counts the
message with x264's and x265's settings, 0.7 and 2.4 kB, which the prediction leaves out.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path

from scene.cli.console import setup_logging
from scene.evaluation.comparison.files import compare_files, open_files
from scene.jobs.encode import encode
from scene.jobs.search import DEFAULT_SAMPLE_SECONDS, SearchRequest, encode_request, search
from scene.metrics.targets import parse_target, score_text, title
from scene.options import EnhanceOptions
from scene.video.encoders.settings import EncoderSettings
from scene.video.ffmpeg import find_ffmpeg


def main() -> None:
    """Reads the arguments and prints a row for each clip as it is finished."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--target", action="append", required=True, type=parse_target)
    parser.add_argument("--codec", default="x264")
    parser.add_argument("--preset")
    parser.add_argument("--model", default="scene")
    parser.add_argument("--samples", type=int)
    parser.add_argument("--sample-seconds", type=float, default=DEFAULT_SAMPLE_SECONDS)
    given = parser.parse_args()
    setup_logging("text")
    logging.getLogger("scene").setLevel(logging.WARNING)
    metrics = list(dict.fromkeys(["vmaf", "vmaf_neg", *(target.metric for target in given.target)]))
    heads = (
        "clip",
        "frames sampled",
        "pictures",
        "CRF",
        "kbit/s",
        "error",
        *map(title, metrics),
        "saving",
        "probes",
        "s",
    )
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for clip in given.clips:
        print("| " + " | ".join(check(clip, given, metrics)) + " |", flush=True)


def check(clip: Path, given: argparse.Namespace, metrics: list[str]) -> list[str]:
    """The cells of one clip's row."""
    settings = EncoderSettings(given.codec, None, given.preset)
    request = SearchRequest(
        source=clip,
        targets=tuple(given.target),
        settings=settings,
        enhancement=EnhanceOptions(given.model),
        samples=given.samples,
        sample_seconds=given.sample_seconds,
    )
    found = search(request)
    answer = found.chosen
    with tempfile.TemporaryDirectory(prefix="scene-check-") as folder:
        encoded = Path(folder) / "encoded.mkv"
        encode(encode_request(request, found, encoded))
        reference, files = open_files(clip, [encoded])
        (compared,) = compare_files(find_ffmpeg(), reference, files).files
    kbps = compared.kbps(reference.rate)
    scores = compared.comparison.scores
    probes = (len(one.tried) for one in (found.plain, found.enhanced) if one is not None)
    return [
        *(clip.name, f"{found.sampled_frames} of {scores.frames}"),
        "unprocessed" if answer is found.plain else "enhanced",
        f"{answer.measured.crf:g}",
        f"{answer.measured.kbps:.0f} / {kbps:.0f}",
        f"{100 * (answer.measured.kbps / kbps - 1):+.1f} %",
        *(f"{score_text(m, answer.measured.scores[m])} / {score_text(m, getattr(scores, m))}" for m in metrics),
        "" if found.saving is None else f"{found.saving:.1f} %",
        " + ".join(map(str, probes)),
        f"{found.took:.0f}",
    ]


if __name__ == "__main__":
    main()
