"""Search and encode in one: the CRF that reaches a quality, and the file."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scene.errors import UsageError
from scene.jobs.encode import CheckedRequest, EncodeRequest, EncodeResult, check_request, choose_model_for, encode
from scene.jobs.prepare.rehearsal import rehearse, without_warnings
from scene.jobs.search import (
    DEFAULT_SAMPLE_SECONDS,
    SearchRequest,
    SearchResult,
    check_as_it_is,
    check_search,
    encode_request,
    search,
)
from scene.metrics.targets import Target
from scene.progress import StageProgress, silent_stages
from scene.video.source.open import open_input
from scene.video.source.probe import best_video


@dataclass(frozen=True, slots=True)
class TargetEncodeRequest:
    """One file to encode at a quality.

    Attributes:
        encode: what to encode and how, without a CRF or a bitrate. A model that turns out not to pay is left out.
        targets, max_kbps, samples, sample_seconds, best_effort: see `scene.SearchRequest`.
    """

    encode: EncodeRequest
    targets: tuple[Target, ...]
    max_kbps: float | None = None
    samples: int | None = None
    sample_seconds: float = DEFAULT_SAMPLE_SECONDS
    best_effort: bool = False

    @property
    def search(self) -> SearchRequest:
        """The search that comes first."""
        return SearchRequest(
            source=self.encode.source,
            targets=self.targets,
            max_kbps=self.max_kbps,
            settings=self.encode.settings,
            enhancement=self.encode.enhancement,
            samples=self.samples,
            sample_seconds=self.sample_seconds,
            best_effort=self.best_effort,
        )


@dataclass(frozen=True, slots=True)
class TargetEncodeResult:
    """What was done.

    Attributes:
        found: the CRF, and what enhancement saves there.
        encoded: the file.
    """

    found: SearchResult
    encoded: EncodeResult


def encode_to_target(request: TargetEncodeRequest, stages: StageProgress = silent_stages) -> TargetEncodeResult:
    """Finds the CRF that reaches a quality by encodes of samples, and encodes the file with it.

    What `scene.encode` would refuse is refused before the search.

    Args:
        stages: opened as "search", which counts samples, and as "encode", which counts frames.

    Raises:
        UsageError: as of `scene.search` and `scene.encode`, or what a search does not go with.
        TargetError: no CRF meets all constraints, and `best_effort` is off; nothing is written then.
        InputError, VerificationError, MissingError, SceneError: see `scene.search` and `scene.encode`.
    """
    checked = check_target(request)
    request = replace(request, encode=choose_model_for(request.encode, checked.plan))
    with stages("search", "samples") as on_progress:
        found = search(request.search, on_progress)
    chosen = encode_request(request.search, found, request.encode.destination)
    settled = replace(request.encode, settings=chosen.settings, enhancement=chosen.enhancement)
    with stages("encode", "frames") as on_progress:
        return TargetEncodeResult(found, encode(settled, on_progress))


def check_target_settings(request: TargetEncodeRequest) -> None:
    """Raises UsageError, or MissingError, for what is wrong with a request whatever its source is."""
    wanted = request.encode
    if wanted.settings.crf is not None or wanted.settings.bitrate is not None:
        name = "crf" if wanted.settings.crf is not None else "bitrate"
        raise UsageError(f"`{name}` and `targets` exclude each other; give one of them.")
    check_as_it_is(wanted)
    if wanted.allow_network:
        raise UsageError("`targets` is found on samples of the file as it is; leave `allow_network` out.")
    check_search(request.search)


def check_target(request: TargetEncodeRequest) -> CheckedRequest:
    """All that can be refused before the search; raises as `encode_to_target` does."""
    check_target_settings(request)
    wanted = request.encode
    with without_warnings():
        checked = check_request(wanted)
        rehearse(wanted, checked)
    with open_input(wanted.source) as opened:
        best = best_video(opened, wanted.source).index
    if checked.chosen.video != best:
        raise UsageError(f"`targets` is found on stream 0:{best}, and `maps` chooses another video; give `crf`.")
    return checked
