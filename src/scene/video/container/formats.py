"""The containers that can be written, and what each of them can hold beside the pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from scene.errors import UsageError

_TS_DATA = frozenset({"klv", "timed_id3", "smpte_2038"})
# FFmpeg's mpegts muxer would write any other codec as private data that no reader recognises.
_TS_CODECS = frozenset(
    {"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vvc"}
    | {"mp2", "mp3", "aac", "aac_latm", "ac3", "eac3", "dts", "truehd", "opus", "s302m"}
    | {"dvb_subtitle", "dvb_teletext"}
    | _TS_DATA
)

# What cameras record about themselves, such as GoPro's.
_MP4_DATA = frozenset({"bin_data"})

# Keys of global tags that FFmpeg writes into these files; it leaves out all others without a word.
_MP4_TAGS = frozenset(
    {"title", "comment", "description", "synopsis", "keywords", "artist", "copyright", "grouping", "creation_time"}
    | {"date", "genre", "album", "track", "lyrics", "show", "network", "media_type", "composer", "album_artist"}
    | {"disc", "episode_id", "season_number", "episode_sort", "hd_video", "compilation", "gapless_playback"}
    | {"location", "timecode"}
)
_MOV_TAGS = frozenset(
    {"title", "comment", "artist", "author", "copyright", "creation_time", "date", "genre", "album", "make", "model"}
    | {"location", "timecode"}
)


@dataclass(frozen=True, slots=True)
class Container:
    """One kind of file.

    Attributes:
        name: as messages say it.
        muxer: FFmpeg's name of it.
        options: of the muxer.
        edit_lists: the start of a stream can be hidden and delayed, and each stream keeps a clock of its own.
        codecs: FFmpeg's names of the only codecs that it holds, None where the muxer itself refuses all others.
        data: FFmpeg's names of the data that it holds.
        rotation: turns and mirror images of the picture are kept.
        attachments: files can be attached, covers among them.
        covers: covers are tracks.
        shifts: all time stamps are moved together, so that none is negative.
        tags: keys of the global tags that it keeps, None for all.
        track_tags: titles and other tags of tracks, besides the language, are kept.
        dispositions: that it keeps of those that are not the default.
    """

    name: str
    muxer: str
    dispositions: frozenset[str]
    options: dict[str, str] = field(default_factory=dict, hash=False)
    edit_lists: bool = False
    codecs: frozenset[str] | None = None
    data: frozenset[str] = frozenset()
    rotation: bool = True
    chapters: bool = True
    attachments: bool = False
    covers: bool = False
    shifts: bool = False
    tags: frozenset[str] | None = None
    track_tags: bool = True


# Matroska and WebM: otherwise FFmpeg shifts all streams by the audio's priming, which comes before zero.
_UNSHIFTED = {"avoid_negative_ts": "disabled"}
# A decoder's buffer fills for this long before the first frame, in microseconds, as FFmpeg's program has it. And each
# packet of audio has a time of its own: of several together only the first one's is written, and a gap would close.
_TS_OPTIONS = {"max_delay": "700000", "pes_payload_size": "0"}

_MP4 = Container(
    "mp4",
    "mp4",
    frozenset({"dub", "comment", "forced", "hearing_impaired", "visual_impaired", "captions", "descriptions"}),
    edit_lists=True,
    data=_MP4_DATA,
    covers=True,
    tags=_MP4_TAGS,
)
_MOV = Container("mov", "mov", frozenset(), edit_lists=True, data=_MP4_DATA, tags=_MOV_TAGS)
_MKV = Container(
    "mkv",
    "matroska",
    frozenset({"dub", "original", "comment", "forced", "hearing_impaired", "visual_impaired"}),
    options=_UNSHIFTED,
    attachments=True,
)
_WEBM = Container("webm", "webm", frozenset({"forced"}), options=_UNSHIFTED)
_TS = Container(
    "ts",
    "mpegts",
    frozenset({"hearing_impaired", "visual_impaired", "descriptions"}),
    options=_TS_OPTIONS,
    codecs=_TS_CODECS,
    data=_TS_DATA,
    rotation=False,
    chapters=False,
    shifts=True,
    tags=frozenset(),
    track_tags=False,
)
_M2TS = Container(
    "m2ts",
    "mpegts",
    _TS.dispositions,
    options=_TS_OPTIONS | {"mpegts_m2ts_mode": "1"},
    codecs=_TS_CODECS - _TS_DATA | {"hdmv_pgs_subtitle", "hdmv_text_subtitle", "pcm_bluray"},
    rotation=False,
    chapters=False,
    shifts=True,
    tags=frozenset(),
    track_tags=False,
)

CONTAINERS = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": _MOV,
    ".mkv": _MKV,
    ".webm": _WEBM,
    ".ts": _TS,
    ".m2ts": _M2TS,
}


def container_of(path: Path) -> Container:
    """The container for a file name. Raises UsageError for a suffix that is not one of `CONTAINERS`."""
    try:
        return CONTAINERS[path.suffix.lower()]
    except KeyError:
        raise UsageError(f"{path}: give the output one of the suffixes {', '.join(CONTAINERS)}.") from None
