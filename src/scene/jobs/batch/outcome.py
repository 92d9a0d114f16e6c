"""What became of the files of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scene.jobs.encode import EncodeRequest, EncodeResult
from scene.jobs.prepare.target import TargetEncodeRequest, TargetEncodeResult
from scene.jobs.search import gain_by_metric
from scene.metrics.gain_sentence import HONEST

AnyRequest = EncodeRequest | TargetEncodeRequest


@dataclass(frozen=True, slots=True)
class Found:
    """The answer of a search, as it was before the encode.

    Attributes:
        crf: that the file was encoded with.
        kbps, bytes: predicted, of the video stream.
        scores: predicted, by name of `scene.metrics.scores.Scores`.
        met: whether that reaches all that was asked for.
        saving_percent: of rate through enhancement at exactly the targets; None where it is not known.
        took: seconds of the search.
    """

    crf: float
    kbps: float
    bytes: float
    scores: dict[str, float]
    met: bool
    saving_percent: float | None
    took: float


@dataclass(frozen=True, slots=True)
class Encoded:
    """A file that is there and has been verified.

    Attributes:
        frames, seconds, source_bytes, bytes, model, damage: see `scene.EncodeResult`; the search is not in the seconds.
        found: None without a target.
        equal_neg_percent: change of rate through enhancement at equal VMAF NEG, negative where it saves; None where it
            is not known.
        warnings: what was said of the file, such as a track that its container does not hold.
    """

    frames: int
    seconds: float
    source_bytes: int
    bytes: int
    model: str
    damage: int
    found: Found | None
    equal_neg_percent: float | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file.

    Attributes:
        request: of it.
        state: encoded now; encoded by an earlier run and left as it is; or failed.
        encoded: None if it failed.
        reason: why it failed, in a sentence.
        code: the exit code that `reason` has by itself, 0 if it did not fail.
    """

    request: AnyRequest
    state: Literal["done", "unchanged", "failed"]
    encoded: Encoded | None
    reason: str = ""
    code: int = 0

    @property
    def encode(self) -> EncodeRequest:
        """Source, destination and settings."""
        return plain(self.request)


def plain(request: AnyRequest) -> EncodeRequest:
    """The encode of a request, which a search may come before."""
    return request.encode if isinstance(request, TargetEncodeRequest) else request


def encoded(request: AnyRequest, result: EncodeResult | TargetEncodeResult) -> Encoded:
    """The part of a result that is kept."""
    found = None
    percent: float | None = None
    if isinstance(result, TargetEncodeResult):
        assert isinstance(request, TargetEncodeRequest)
        search, result = result.found, result.encoded
        answer = search.chosen
        gains = gain_by_metric(request.search, search)
        # Of what was encoded, and not of a model that was left out.
        percent = gains[HONEST] if gains is not None and answer is search.enhanced else None
        found = Found(
            crf=answer.measured.crf,
            kbps=answer.measured.kbps,
            bytes=answer.bytes,
            scores=dict(answer.measured.scores),
            met=not answer.missed,
            saving_percent=search.saving,
            took=search.took,
        )
    elif result.gain is not None:
        percent = result.gain.equal_score_percent.get(HONEST)
    return Encoded(
        *(result.frames, result.seconds, result.source_bytes, result.bytes, result.model, result.damage),
        found=found,
        equal_neg_percent=percent,
    )
