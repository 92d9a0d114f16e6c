"""One line that says which program, network and arguments made the pictures of a file."""

from __future__ import annotations

from collections.abc import Sequence

import scene
from scene.metrics.targets import Target
from scene.options import BYPASS, CENTRE, FOUND, LOOK_EVERY, EnhanceOptions, FocusOptions
from scene.video.encoders.base import Encoder
from scene.video.encoders.params import join_encoder_args, joined_items
from scene.video.encoders.settings import EncoderSettings

# Encoder parameters whose values are names of files.
_FILES = frozenset(
    {"stats", "qpfile", "zonefile", "cqmfile", "csv", "recon", "dump-yuv", "analysis-save", "analysis-load"}
    | {"lambda-file", "scaling-list", "fgs-table", "roi-map-file", "dolby-vision-rpu", "dhdr10-info"}
)
_CONTROLS = frozenset({"none", "constant", "random", "shuffled"})


def provenance(
    codec: Encoder,
    settings: EncoderSettings,
    enhancement: EnhanceOptions,
    model: str,
    *,
    focus: FocusOptions,
    guard: bool,
    deinterlace: bool,
    size: tuple[int, int] | None = None,
    targets: Sequence[Target] = (),
) -> str:
    """For example "scene 0.1.0; model scene@cdc703201d2a; strength 1; codec x264; crf 23; preset medium".

    Never names of the user's own files: a network that is not a shipped one is called "custom", with its hash, and
    encoder parameters that name files, or look like it, are left without their value.

    Args:
        codec: that of the settings.
        model: the network's identity, "none" for a bypass.
        focus: whether bits were moved to what matters.
        guard: whether one was at work.
        deinterlace: whether frames were made progressive.
        size: that they were scaled to, if they were.
        targets: what each chunk was to reach, at a CRF of its own.
    """
    bypass = model == BYPASS
    if not bypass:
        from scene.model import model_names  # loads torch

        if enhancement.model not in model_names():
            model = f"custom@{model.rpartition('@')[2]}"
    parts = [f"scene {scene.__version__}", f"model {model}", f"strength {0 if bypass else enhancement.strength:g}"]
    if not bypass and enhancement.semantics != "auto":
        parts.append(f"semantics {enhancement.semantics if enhancement.semantics in _CONTROLS else 'custom'}")
    if not bypass and enhancement.semantic_interval:
        parts.append(f"semantic-interval {enhancement.semantic_interval}")
    if not bypass and enhancement.temporal != "auto":
        parts.append(f"temporal {enhancement.temporal}")
    if focus.focus:
        parts += [f"focus {focus.focus:g}", f"focus-by {focus.focus_by}"]
        parts.append(f"focus-map {focus.focus_map if focus.focus_map in {FOUND, CENTRE} else 'custom'}")
        if focus.focus_interval != LOOK_EVERY:
            parts.append(f"focus-interval {focus.focus_interval}")
    rate = f"crf {codec.crf_of(settings):g}" if settings.bitrate is None else f"bitrate {settings.bitrate}"
    if targets:
        rate = "crf by chunk for " + ", ".join(f"{t.metric.replace('_', '-')}={t.value:g}" for t in targets)
    parts += [f"codec {codec.name}", rate, f"preset {settings.preset or codec.default_preset}"]
    if settings.passes is not None:
        parts.append(f"passes {settings.passes}")
    if settings.encoder_args:
        items = [(name, _without_file(name, value)) for name, value in joined_items(settings.encoder_args)]
        parts.append(f"encoder-args {join_encoder_args(items)}")
    parts += [name for name, on in (("guard", guard), ("deinterlace", deinterlace)) if on]
    if size is not None:
        parts.append(f"size {size[0]}x{size[1]}")
    return "; ".join(parts)


def _without_file(name: str, value: str) -> str:
    return "..." if name in _FILES or "/" in value or "\\" in value else value
