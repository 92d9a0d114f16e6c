"""Which streams of a source are taken over: `maps`, a subset of what ffmpeg's `-map` understands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from scene.errors import UsageError
from scene.video.container.digest import codec_name
from scene.video.source.probe import best_video, is_cover

_KINDS = {"v": "video", "a": "audio", "s": "subtitle", "d": "data", "t": "attachment"}
_SPECIFIER = re.compile(
    r"(?P<minus>-)?(?:0:(?=.))?(?:"
    r"(?P<all>all|(?<!:)0)"
    r"|(?P<kind>[vasdt])(?::(?P<nth>\d+))?(?P<kind_language>:m:language:(?P<of_kind>[\w-]+))?"
    r"|m:language:(?P<of_any>[\w-]+)"
    r"|(?P<index>\d+)"
    r")(?P<optional>\?)?"
)


@dataclass(frozen=True, slots=True)
class Specifier:
    """One `maps`.

    Attributes:
        text: as given.
        negative: takes streams away instead of adding them.
        kind: "video", "audio", "subtitle", "data" or "attachment"; None for all.
        nth: only the nth of these, from 0.
        language: only those with this language.
        index: only the stream with this number in the file.
        optional: may match nothing.
    """

    text: str
    negative: bool
    kind: str | None
    nth: int | None
    language: str | None
    index: int | None
    optional: bool

    def matches(self, streams: Sequence[Stream]) -> list[Stream]:
        """The streams that are meant, in the order of the file."""
        found = [s for s in streams if self.kind in {None, s.type} and self.index in {None, s.index}]
        if self.language is not None:
            found = [s for s in found if s.metadata.get("language", "").lower() == self.language.lower()]
        return found if self.nth is None else found[self.nth : self.nth + 1]


@dataclass(frozen=True, slots=True)
class Selection:
    """What to take over of a source's streams.

    Attributes:
        maps: as `parse_map` takes them, in their order. Without any, or where the first takes away, it begins with
            all streams; otherwise with none.
        audio: take over audio; off leaves all of it out, whatever `maps` say.
    """

    maps: tuple[str, ...] = ()
    audio: bool = True


@dataclass(frozen=True, slots=True)
class Chosen:
    """Numbers of streams in their file: the video to enhance, and those to copy."""

    video: int
    copied: frozenset[int]


def parse_map(text: str) -> Specifier:
    """Reads `[-][0:]WHAT[?]`, WHAT being `all`, KIND, KIND:N, KIND:m:language:CODE, m:language:CODE or 0:INDEX.

    Raises:
        UsageError: it is of another form.
    """
    match = _SPECIFIER.fullmatch(text)
    plain_number = match and match["index"] and not text.lstrip("-").startswith("0:")
    if match is None or plain_number or (match["nth"] and match["kind_language"]):
        raise UsageError(
            f"`maps` {text!r} is not understood; give all, v, a, s, d or t (video, audio, subtitles, data, "
            "attachments), a:1 for the second audio, 0:3 for stream 3, a:m:language:eng; - in front takes away."
        )
    return Specifier(
        text=text,
        negative=bool(match["minus"]),
        kind=_KINDS.get(match["kind"] or ""),
        nth=int(match["nth"]) if match["nth"] else None,
        language=match["of_kind"] or match["of_any"],
        index=int(match["index"]) if match["index"] else None,
        optional=bool(match["optional"]),
    )


def choose_streams(container: InputContainer, selection: Selection, path: Path) -> Chosen:
    """Applies a selection to an open file.

    The video is FFmpeg's choice among all, or, where maps name video, among what the first such map names.

    Raises:
        UsageError: a map is malformed, matches nothing, or no video is left.
        InputError: the file has no video.
    """
    specifiers = [parse_map(text) for text in selection.maps]
    default = best_video(container, path)
    streams = list(container.streams)
    taken: dict[int, Stream] = {}
    if not specifiers or specifiers[0].negative:
        taken = {s.index: s for s in [default, *streams]}
    for specifier in specifiers:
        found = specifier.matches(streams)
        if not found and not specifier.optional:
            raise UsageError(f"`maps` {specifier.text} matches no stream of {path}, which has {list_streams(streams)}.")
        if default in found:
            found = [default, *found]
        for stream in found:
            if specifier.negative:
                taken.pop(stream.index, None)
            else:
                taken.setdefault(stream.index, stream)
    video = next((s for s in taken.values() if _can_be_enhanced(s)), None)
    if video is None:
        raise UsageError(f"`maps` leaves no video of {path} to enhance; add `maps` v. It has {list_streams(streams)}.")
    copied = {s.index for s in taken.values() if s is not video and (selection.audio or s.type != "audio")}
    return Chosen(video.index, frozenset(copied))


def list_streams(streams: Sequence[Stream]) -> str:
    """All streams in words, for example "0:0 v:0 h264, 0:1 a:0 aac (eng)"."""
    letters = {kind: letter for letter, kind in _KINDS.items()}
    counts: dict[str, int] = {}
    words = []
    for stream in streams:
        letter = letters.get(stream.type, "?")
        nth = counts.get(letter, 0)
        counts[letter] = nth + 1
        language = stream.metadata.get("language")
        words.append(f"0:{stream.index} {letter}:{nth} {codec_name(stream)}" + (f" ({language})" if language else ""))
    return ", ".join(words)


def _can_be_enhanced(stream: Stream) -> bool:
    return stream.type == "video" and stream.codec_context is not None and not is_cover(cast(VideoStream, stream))
