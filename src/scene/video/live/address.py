"""Where live video comes from and goes to, and how an address is shown without what is secret in it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from scene.errors import UsageError

Kind = Literal["file", "pipe", "network", "srt", "hls", "dash"]

_VARIABLE = "env:"
_SOURCES = ("udp", "tcp", "http", "https", "rtmp", "rtmps", "srt")
_DESTINATIONS = ("udp", "tcp", "rtmp", "rtmps", "srt")
# What FFmpeg needs below each of them.
_LAYERS = {"http": "http,tcp", "https": "https,http,tls,tcp", "rtmp": "rtmp,tcp", "rtmps": "rtmps,rtmp,tls,tcp"}
# The only ones whose server FFmpeg's option opens, rather than a part of the address.
_LISTENING = frozenset({"rtmp", "http"})
_PLAYLIST = "live.m3u8"


@dataclass(frozen=True, slots=True)
class Address:
    """One end of a live run.

    Attributes:
        kind: how it is opened.
        scheme: of a network's address, empty otherwise.
        url: as FFmpeg takes it; it may hold keys and passwords.
        shown: the same without these, for messages.
        path: of a file.
        listens: whether it waits for the other side to call.
    """

    kind: Kind
    scheme: str
    url: str = field(repr=False)
    shown: str
    path: Path
    listens: bool = False

    @property
    def protocols(self) -> str:
        """The only protocols that FFmpeg may use for it."""
        return _LAYERS.get(self.scheme, self.scheme)


def source_address(text: str) -> Address:
    """Of a source: a file, "-", an address, or "env:NAME" for one that an environment variable holds.

    Raises:
        UsageError: it is none of these.
    """
    text = _resolved(text)
    if text == "-":
        return Address("pipe", "", text, "standard input", Path("-"))
    if "://" in text:
        return _network(text, _SOURCES)
    return Address("file", "", text, text, Path(text))


def destination_address(text: str) -> Address:
    """Of a destination: as `source_address`; a folder stands for the playlist in it.

    Raises:
        UsageError: it is nothing that can be written to.
    """
    text = _resolved(text)
    if text == "-":
        return Address("pipe", "", text, "standard output", Path("-"))
    if "://" in text:
        return _network(text, _DESTINATIONS)
    path = Path(text) / _PLAYLIST if text.endswith("/") or Path(text).is_dir() else Path(text)
    kinds: dict[str, Kind] = {".m3u8": "hls", ".mpd": "dash", ".ts": "file"}
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise UsageError(
            f"{text}: live video goes to a folder, to .m3u8, .mpd or .ts, to - or to an address "
            f"({', '.join(_DESTINATIONS)})."
        )
    # A folder that is named as one is made, in one that is there.
    there = path.parent.parent if text.endswith("/") else path.parent
    if not there.is_dir():
        raise UsageError(f"the folder {there} does not exist.")
    return Address(kind, "", str(path), str(path), path)


def _resolved(text: str) -> str:
    if not text.startswith(_VARIABLE):
        return text
    name = text.removeprefix(_VARIABLE)
    value = os.environ.get(name, "")
    if not value:
        raise UsageError(f"the environment variable {name} is not set.")
    return value


def _network(text: str, known: tuple[str, ...]) -> Address:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise UsageError(f"the address of {text.partition('://')[0]} is malformed.") from None
    scheme = parts.scheme.lower()
    if scheme not in known:
        raise UsageError(f"{scheme}:// is not among the addresses that are taken: {', '.join(known)}.")
    host = parts.hostname or ""
    shown = f"{scheme}://{host}" + (f":{port}" if port else "")
    folders = [part for part in parts.path.split("/") if part]
    # RTMP's path is an application and a stream's key.
    shown += "".join(f"/{part}" for part in folders[:-1] if scheme.startswith("rtmp"))
    shown += "/…" if folders else ""
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    listens = query.get("listen") == "1" or query.get("mode") == "listener"
    if listens and scheme in _LISTENING:
        del query["listen"]
        text = urlunsplit(parts._replace(query=urlencode(query)))
    kind: Kind = "srt" if scheme == "srt" else "network"
    return Address(kind, scheme, text, shown, Path(shown.replace("://", " ")), listens)
