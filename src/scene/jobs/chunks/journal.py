"""The plan of a job on disk: what is to be made of which source, frame by frame and chunk by chunk."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scene import __version__
from scene.errors import InputError, MissingError
from scene.files import write_atomically
from scene.jobs.chunks.quality import ChunkQuality
from scene.jobs.encode import EncodeRequest
from scene.metrics.targets import Target
from scene.options import EnhanceOptions, FocusOptions
from scene.video.encoders.settings import EncoderSettings
from scene.video.encoding.elementary import pyav_version
from scene.video.source.passage import FrameTable

_FORMAT = 1
_END_BYTES = 1 << 20
# Of a request what the coded video does not depend on.
_FORMALITIES = ("overwrite", "verify", "compare")
_FILES = ("source", "destination")
_LISTS = ("shots", "embedding_shots", "guard_shots", "focus_shots", "starts", "made_with")


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """By which a source or an output is known again: its size, and a digest of its beginning and end."""

    bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class JobPlan:
    """All that a chunk or the join need to know; made by `scene.jobs.chunks.plan.plan_job`.

    Attributes:
        request: what to encode; its names are absolute.
        quality: what each chunk is to reach, at a CRF of its own; None where all have that of the request.
        source: of which file.
        model: identity of the network, "none" for a bypass.
        guide: identity of what conditions it, empty where nothing does.
        stream: number of the video's stream.
        table: of all frames.
        shots: first frames of shots, from 0 on.
        embedding_shots: the same as they are for embeddings, empty where there are none.
        guard_shots: the same as they are for a guard, empty without one.
        focus_shots: the same as they are for a map of what matters, empty where none is found.
        starts: the first frame of each chunk.
        damage: places of the source that were skipped, see `Decoder`.
        made_with: version of this package, and of PyAV with its encoders.
        output: which file the finished output is, from shortly before it has its name.
    """

    request: EncodeRequest
    quality: ChunkQuality | None
    source: FileIdentity
    model: str
    guide: str
    stream: int
    table: FrameTable
    shots: tuple[int, ...]
    embedding_shots: tuple[int, ...]
    guard_shots: tuple[int, ...]
    focus_shots: tuple[int, ...]
    starts: tuple[int, ...]
    damage: int
    made_with: tuple[str, str]
    output: FileIdentity | None = None

    @property
    def frames(self) -> int:
        """Of the whole video."""
        return len(self.table.stamps)

    @property
    def chunks(self) -> int:
        """Their number."""
        return len(self.starts)

    def span(self, index: int) -> tuple[int, int]:
        """A chunk's first frame, and the first of the next."""
        return self.starts[index], (*self.starts, self.frames)[index + 1]

    @property
    def is_joined(self) -> bool:
        """Whether what is under the destination's name is the job's own output, finished and verified."""
        try:
            return self.output is not None and identify(self.request.destination) == self.output
        except InputError:
            return False

    @property
    def identity(self) -> str:
        """Of all that the coded video depends on; each chunk's file names it."""
        return hashlib.sha256(_text(self._record(formalities=False))).hexdigest()[:24]

    def difference(
        self, request: EncodeRequest, quality: ChunkQuality | None, source: FileIdentity, model: str, guide: str
    ) -> str | None:
        """In what another job differs from this one, in words for a sentence; None where it does not."""
        if self.source != source:
            return "the source has changed"
        if self.quality != quality:
            return "`targets`, or how they are searched for, were others"
        mine, other = request_record(self.request), request_record(request)
        flat = [_flattened({**record, **dict.fromkeys(_FORMALITIES)}) for record in (mine, other)]
        differing = [name for name in flat[0] if flat[0][name] != flat[1][name]]
        if "model" in differing:
            # Which of them it runs by follows from the model.
            differing = [name for name in differing if name != "runtime"]
        names = [f"the {name}" if name in _FILES else f"`{name}`" for name in differing]
        if names:
            return f"{' and '.join(names)} {'was' if len(names) == 1 else 'were'} another"
        for what, before, now in (("model", self.model, model), ("semantic encoder", self.guide, guide)):
            if before != now:
                return f"the {what} was {before or 'none'} and is {now or 'none'} now"
        return None

    def check_versions(self) -> None:
        """Raises MissingError where this is another program than that which planned: encoders may differ."""
        if self.made_with != versions():
            raise MissingError(
                f"the job was planned by scene {self.made_with[0]} with PyAV {self.made_with[1]}, and here are "
                f"{' and '.join(versions())}; install the same, or plan again."
            )

    def save(self, path: Path) -> None:
        """Writes it to a file, which is whole or not there. Raises OSError."""
        record = self._record(formalities=True)
        checksum = hashlib.sha256(_text(record)).hexdigest()
        write_atomically(path, json.dumps({"format": _FORMAT, "checksum": checksum, "job": record}) + "\n")

    def _record(self, *, formalities: bool) -> dict[str, Any]:
        request = request_record(self.request)
        if not formalities:
            request = {name: value for name, value in request.items() if name not in _FORMALITIES}
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        tables = {"source": dataclasses.asdict(self.source), "table": dataclasses.asdict(self.table)}
        optional = {
            name: None if fields[name] is None else dataclasses.asdict(fields[name]) for name in ("quality", "output")
        }
        if not formalities:
            del optional["output"], fields["output"]
        return {**fields, **tables, **optional, "request": request}


def load_plan(path: Path) -> JobPlan:
    """Reads a plan. Raises InputError where it is missing, damaged or of another version's form."""
    try:
        document = json.loads(path.read_bytes())
        record = document["job"]
        if document["format"] != _FORMAT or document["checksum"] != hashlib.sha256(_text(record)).hexdigest():
            raise ValueError
        lists = {name: tuple(record[name]) for name in _LISTS}
        parts = {
            "source": FileIdentity(**record["source"]),
            "table": FrameTable(**record["table"]),
            "quality": _quality(record["quality"]),
            "output": None if record["output"] is None else FileIdentity(**record["output"]),
        }
        return JobPlan(**{**record, **lists, **parts, "request": _request(record["request"])})
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; plan the job first.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{path} is damaged, or of another version; plan the job again.") from None


def identify(path: Path) -> FileIdentity:
    """Looks at a file. Raises InputError if it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            digest = hashlib.sha256()
            for place in (0, max(0, size - _END_BYTES)):
                file.seek(place)
                digest.update(file.read(_END_BYTES))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    return FileIdentity(size, digest.hexdigest()[:24])


def versions() -> tuple[str, str]:
    """Of this package, and of PyAV with its encoders."""
    return __version__, pyav_version()


def request_record(request: EncodeRequest) -> dict[str, Any]:
    """A request as JSON types."""
    record = dataclasses.asdict(request)
    names = {name: str(record[name]) for name in ("source", "destination")}
    return {**record, **names, "maps": list(request.maps), "size": list(request.size) if request.size else None}


def _quality(record: dict[str, Any] | None) -> ChunkQuality | None:
    if record is None:
        return None
    return ChunkQuality(**{**record, "targets": tuple(Target(**target) for target in record["targets"])})


def _request(record: dict[str, Any]) -> EncodeRequest:
    names = {name: Path(record[name]) for name in ("source", "destination")}
    parts = {
        "settings": EncoderSettings(**record["settings"]),
        "enhancement": EnhanceOptions(**record["enhancement"]),
        "focus": FocusOptions(**record["focus"]),
        "maps": tuple(record["maps"]),
        "size": tuple(record["size"]) if record["size"] else None,
    }
    return EncodeRequest(**{**record, **names, **parts})


def _flattened(record: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in record.items():
        flat.update(value if isinstance(value, dict) else {name: value})
    return flat


def _text(record: dict[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True).encode()
