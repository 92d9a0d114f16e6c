"""A source's audio and subtitles as files that can be packaged, by the ffmpeg program."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from av.container import InputContainer
from av.stream import Stream

from scene.errors import InputError
from scene.files import PendingFile
from scene.video.container.digest import codec_name
from scene.video.ffmpeg import SAFE_INPUT, FFmpeg, ProcessError, input_name
from scene.video.packaging.packager import plain_title

log = logging.getLogger(__name__)

# Audio that players of HLS and DASH take; all else becomes AAC.
_TAKEN = frozenset({"aac", "ac3", "eac3"})
_KBPS_A_CHANNEL = 64
# Subtitles that are text.
_TEXT = frozenset({"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"})


@dataclass(frozen=True, slots=True)
class Rendition:
    """A track beside the video.

    Attributes:
        kind: of the track.
        index: of its stream in the source.
        codec: of audio, as it will be; empty of text.
        copied: whether it stays as it is coded.
        bitrate: of what it is coded to, in kbit/s.
        language: its tag by BCP 47, empty where the source says none that there is.
        title: unique among those of its kind.
    """

    kind: Literal["audio", "text"]
    index: int
    codec: str
    copied: bool
    bitrate: int
    language: str
    title: str

    @property
    def file_name(self) -> str:
        """Of the file that is made of it."""
        return f"{self.kind}-{self.index}.{'mp4' if self.kind == 'audio' else 'vtt'}"


def find_renditions(container: InputContainer, path: Path) -> tuple[Rendition, ...]:
    """The audio and the subtitles of a source; those that are pictures are left out with a warning."""
    found: list[Rendition] = []
    for stream in container.streams:
        if stream.type == "audio":
            codec = codec_name(stream)
            channels = max(1, getattr(stream.codec_context, "channels", 2))
            taken = codec in _TAKEN
            found.append(_named(found, stream, "audio", codec if taken else "aac", taken, _KBPS_A_CHANNEL * channels))
        elif stream.type == "subtitle":
            if codec_name(stream) in _TEXT:
                found.append(_named(found, stream, "text", "", False, 0))
            else:
                log.warning("%s: its subtitles %d are no text and are left out.", path, stream.index)
    return tuple(found)


def write_rendition(ffmpeg: FFmpeg, source: Path, rendition: Rendition, destination: Path) -> None:
    """Writes a track into a file of its own, at the source's times.

    Raises:
        InputError: the track cannot be decoded.
        SceneError: there is no room.
    """
    if rendition.kind == "text":
        coded = ["-c:s", "webvtt", "-f", "webvtt"]
    elif rendition.copied:
        coded = ["-c:a", "copy", "-f", "mp4"]
    else:
        coded = ["-c:a", "aac", "-b:a", f"{rendition.bitrate}k", "-f", "mp4"]
    with PendingFile(destination) as pending:
        words = [*SAFE_INPUT, "-copyts", "-i", input_name(source), "-map", f"0:{rendition.index}", *coded]
        try:
            ffmpeg.run([*words, "-map_metadata", "-1", "-map_chapters", "-1", input_name(pending.path)])
        except ProcessError as error:
            raise InputError(f"{source}: its {rendition.kind} stream {rendition.index} failed: {error}") from None
        pending.publish(overwrite=True)


def _named(
    before: list[Rendition], stream: Stream, kind: Literal["audio", "text"], codec: str, copied: bool, bitrate: int
) -> Rendition:
    language, name = _language(stream.metadata.get("language", ""))
    others = [other.title for other in before if other.kind == kind]
    title = plain_title(stream.metadata.get("title", "")) or name or f"{kind.title()} {len(others) + 1}"
    while title in others:
        title = f"{title} {len(others) + 1}"
    return Rendition(kind, stream.index, codec, copied, bitrate, language, title)


def _language(code: str) -> tuple[str, str]:
    """The tag of a language and its name in itself, both empty for none that there is."""
    # An extra of this package.
    from langcodes import Language
    from langcodes.tag_parser import LanguageTagError

    try:
        language = Language.get(code)
    except LanguageTagError:
        return "", ""
    if not language.is_valid() or language.language in {None, "und", "zxx", "mis", "mul"}:
        return "", ""
    name = language.autonym()
    return language.to_tag(), plain_title(name[:1].upper() + name[1:])
