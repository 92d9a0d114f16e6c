"""What savings cost: the processor time of whole encodes beside the BD-rates of an evaluation."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scene.benchmarks.encode import encode_apart
from scene.errors import InputError, UsageError
from scene.measure.clip import Recipe, make_reference, open_clips
from scene.measure.encode import codec_run, encoder_settings
from scene.measure.workspace import workspace
from scene.metrics.bjontegaard import bd_rate
from scene.options import BYPASS, EnhanceOptions
from scene.progress import OnProgress, Progress, silent
from scene.video.encoders.settings import EncoderSettings
from scene.video.ffmpeg import find_ffmpeg

METRICS = ("vmaf_neg", "vmaf_v1", "ms_ssim", "vmaf", "psnr_y")
_NETWORK = "network:"


@dataclass(frozen=True, slots=True)
class Way:
    """A way to encode that an evaluation has measured.

    Attributes:
        codec, method: as the evaluation calls them.
        settings: of the encoder, at the middle of the evaluation's CRFs, with as many threads as it likes.
        options: of the model before it.
        tuned: whether the encoder has other parameters than the evaluation's other methods.
    """

    codec: str
    method: str
    settings: EncoderSettings
    options: EnhanceOptions
    tuned: bool


@dataclass(frozen=True, slots=True)
class Cost:
    """A way beside an encoder with nothing before it.

    Attributes:
        anchor: the encoder that it is held against.
        codec, method: the way.
        cpu_s: seconds of processor time a frame, mean over clips.
        ratio: of that to the anchor's, geometric mean over clips.
        percent: BD-rate against the anchor by metric, mean over clips; None where a clip has none.
    """

    anchor: str
    codec: str
    method: str
    cpu_s: float
    ratio: float
    percent: Mapping[str, float | None]


def bench_cost(results: Path, clips: Sequence[Path], *, on_progress: OnProgress = silent) -> tuple[Cost, ...]:
    """Measures the processor time of every way to encode of an evaluation, and sets its savings beside it.

    Each clip is encoded once in every way, one after the other, in a process of its own each; what loading torch takes
    is left out. Of each encoder all ways are held against it with nothing before it, and so is the next encoder, with
    nothing before it and with each model.

    Args:
        results: `results.json` of `scene.evaluate`. Filters in it are left out: nobody encodes with them.
        clips: the clips of that evaluation, or some of them.

    Raises:
        InputError: the results cannot be read, or a clip is not of them.
        UsageError: there is no clip.
        MissingError, ProcessError, CheckpointError: no ffmpeg, a failed encode, a model that is gone.
    """
    document = _read(results)
    ways = ways_of(document)
    opened = open_clips(list(clips))
    if not opened:
        raise UsageError("give clips of the evaluation.")
    known = {clip["clip"] for clip in document["environment"]["clips"]}
    for clip in opened:
        if clip.name not in known:
            raise InputError(f"{clip.path} is not a clip of {results}.")
    recipe = Recipe(*(document["environment"]["recipe"][name] for name in ("frames", "halve_above")))
    ffmpeg = find_ffmpeg()
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    done, total = 0, len(opened) * len(ways)
    for clip in opened:
        with workspace() as folder:
            make_reference(ffmpeg, clip, recipe, folder / "clip.y4m")
            for way in ways:
                seconds[way.codec, way.method].append(encode_apart(folder, way.settings, way.options)["cpu_s"])
                done += 1
                on_progress(Progress(done, total, {"clip": clip.name}))
    return held_against_anchors(document, ways, seconds)


def ways_of(document: Mapping[str, Any]) -> list[Way]:
    """The ways to encode of an evaluation's results, encoder by encoder."""
    ways = []
    environment = document["environment"]
    for codec in environment["codecs"]:
        crf = codec["crf"][len(codec["crf"]) // 2]
        # The protocol's own parameters, one thread among them, are left out.
        run = codec_run(codec["codec"], preset=codec["preset"], encoder_args="")
        measured = {point["method"] for point in document["points"] if point["codec"] == codec["codec"]}
        for method in environment["methods"]:
            # A conditioned network has a method for each strength, of one label, and each encoder but one of them.
            if method["method"] not in measured or (method["codecs"] and codec["codec"] not in method["codecs"]):
                continue
            options = _options(method)
            if options is None:
                continue
            parameters = tuple(method["parameters"])
            # Without those of the protocol there is no key-frame interval to be filled in.
            settings = encoder_settings(run, crf, 1, parameters)
            ways.append(Way(codec["codec"], method["method"], settings, options, bool(parameters)))
    return ways


def held_against_anchors(
    document: Mapping[str, Any], ways: Sequence[Way], seconds: Mapping[tuple[str, str], Sequence[float]]
) -> tuple[Cost, ...]:
    """Costs and savings of all ways.

    Args:
        seconds: of processor time a frame, by codec and method, one a clip.
    """
    codecs = [codec["codec"] for codec in document["environment"]["codecs"]]
    costs = []
    for place, anchor in enumerate(codecs):
        following = codecs[place + 1 : place + 2]
        for way in ways:
            if way.codec != anchor and (way.codec not in following or way.tuned):
                continue
            own, base = seconds[way.codec, way.method], seconds[anchor, BYPASS]
            ratios = [mine / theirs for mine, theirs in zip(own, base, strict=True)]
            costs.append(
                Cost(
                    anchor,
                    way.codec,
                    way.method,
                    statistics.fmean(own),
                    statistics.geometric_mean(ratios),
                    {metric: _percent(document, anchor, way, metric) for metric in METRICS},
                )
            )
    return tuple(costs)


def _options(method: Mapping[str, Any]) -> EnhanceOptions | None:
    """The model of a method; None for a filter."""
    label, identity = method["method"], method["identity"]
    if identity.startswith(_NETWORK):
        name = label.partition("+")[0]
        strength = 1.0 if method["strength"] is None else method["strength"]
        return EnhanceOptions(name.partition(":")[0], strength)
    return EnhanceOptions(BYPASS) if identity.partition("+")[0] == BYPASS else None


def _percent(document: Mapping[str, Any], anchor: str, way: Way, metric: str) -> float | None:
    curves: dict[str, dict[tuple[str, str], list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for point in document["points"]:
        if (point["codec"], point["method"]) in {(anchor, BYPASS), (way.codec, way.method)}:
            curves[point["clip"]][point["codec"], point["method"]].append((point["bytes"], point[metric]))
    found = [bd_rate(curve[anchor, BYPASS], curve[way.codec, way.method]).percent for curve in curves.values()]
    defined = [percent for percent in found if percent is not None]
    return statistics.fmean(defined) if defined and len(defined) == len(found) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
        if not isinstance(document, dict) or not {"environment", "points"} <= document.keys():
            raise ValueError("it has no environment or no points")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as the results of an evaluation: {error}") from error
    return document
