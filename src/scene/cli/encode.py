"""`scene encode`: enhance and encode one file."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from scene.jobs import EncodeResult
    from scene.jobs.guard import GuardReport


def encode(
    src: Path,
    dst: Path,
    *,
    codec: Literal["x264", "x265", "svtav1", "vvenc", "nvenc-h264", "nvenc-hevc", "nvenc-av1"] = "x264",
    crf: float | None = None,
    bitrate: int | None = None,
    passes: int | None = None,
    preset: str | None = None,
    encoder_args: str = "",
    model: str = "scene",
    strength: float = 1.0,
    semantics: str = "auto",
    semantic_interval: int = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    guard: Annotated[bool, Parameter(negative="")] = False,
    map: Annotated[tuple[str, ...], Parameter(allow_leading_hyphen=True, negative="", consume_multiple=False)] = (),
    no_audio: Annotated[bool, Parameter(negative="")] = False,
    deinterlace: Annotated[bool, Parameter(negative="")] = False,
    on_error: Literal["fail", "skip"] = "fail",
    allow_network: Annotated[bool, Parameter(negative="")] = False,
    verify: Literal["quick", "full"] = "quick",
    overwrite: Annotated[bool, Parameter(name=["--overwrite", "-y"], negative="")] = False,
    log_format: Literal["text", "json"] = "text",
) -> None:
    """Enhance a video and encode it, keeping its audio, subtitles, chapters, time stamps and colour tags.

    DST appears under its name only when it is complete and has been verified.

    Args:
        src: Video file to read.
        dst: File to write; its suffix chooses the container: .mp4, .mov, .mkv, .webm, .ts or .m2ts.
        codec: Encoder.
        crf: Constant rate factor, lower is better. By default 23 for x264, 28 for x265, 35 for svtav1. With vvenc a QP,
            by default 32. With NVENC its constant quality, by default the same for H.264, HEVC and AV1.
        bitrate: Mean bitrate of the video stream in kbit/s, instead of a constant rate factor.
        passes: Passes over the source for a bitrate: 1, or 2, which is what x264 and x265 make by default.
        preset: Speed preset of the encoder. By default medium, with svtav1 6, with vvenc faster, with NVENC p4.
        encoder_args: The encoder's own parameters, as key=value:key=value; a colon in a value needs a
            backslash before it.
        model: Name of a shipped model (see `scene models`), a .safetensors file, or none to encode unchanged.
        strength: How much of the model's change to apply; 0 changes nothing.
        semantics: What steers a model that takes semantic embeddings: auto for the encoder it was trained with, the
            name, file or folder of another, or a control: none, constant, random, shuffled.
        semantic_interval: Frames between two embeddings within a shot; 0 for one a shot.
        device: Where the model runs.
        guard: Probe the beginning of each shot, and leave the shot unchanged where the model would not save rate.
        map: Streams to take over, may be given again: all, v, a, s, d or t for video, audio, subtitles, data and
            attachments, a:1 for the second audio, 0:3 for stream 3, a:m:language:eng; -a:1 takes away, ? may match
            nothing. Everything by default.
        no_audio: Leave out all audio.
        deinterlace: Make a progressive frame of each interlaced one.
        on_error: What to do where the source is damaged or cut short: fail, or skip it with a warning.
        allow_network: Follow HLS playlists and concat scripts, to other files and over the network.
        verify: How much of DST is decoded before it appears: some key frames, or all frames.
        overwrite: Replace DST if it exists.
        log_format: Log and progress on stderr as text or as JSON lines.
    """
    from scene.cli.console import announce, progress_display, setup_logging

    setup_logging(log_format)
    # Torch's threads would wait for one another by spinning, on the cores that the encoder's threads need: with
    # x264 beside a small network on two busy cores that costs two thirds of all CPU time. Read once, at its import.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    from scene.jobs import EncodeRequest, encode_file
    from scene.video.encoders.base import EncoderSettings

    request = EncodeRequest(
        source=src,
        destination=dst,
        settings=EncoderSettings(codec, crf, preset, encoder_args, bitrate, passes),
        model=model,
        strength=strength,
        semantics=semantics,
        semantic_interval=semantic_interval,
        device=device,
        guard=guard,
        overwrite=overwrite,
        skip_damage=on_error == "skip",
        allow_network=allow_network,
        maps=map,
        audio=not no_audio,
        deinterlace=deinterlace,
        verify=verify,
    )
    with progress_display("encode", "frames", log_format) as on_progress:
        result = encode_file(request, on_progress)
    announce(_summary(result), {**asdict(result), "destination": str(result.destination)})


def _summary(result: EncodeResult) -> str:
    guard = "" if result.guard is None else _in_words(result.guard)
    damage = f", {result.damage} damaged places" if result.damage else ""
    change = 100 * (result.bytes / result.source_bytes - 1)
    return (
        f"{result.destination}: {result.frames} frames in {result.seconds:.1f} s "
        f"({result.frames / result.seconds:.2f} fps), {result.source_bytes / 1e6:.2f} MB -> "
        f"{result.bytes / 1e6:.2f} MB ({change:+.1f} %), model {result.model}{damage}{guard}"
    )


def _in_words(report: GuardReport) -> str:
    return f"; guard: {report.passed} of {report.shots} shots passed through, probes took {report.seconds:.1f} s"
