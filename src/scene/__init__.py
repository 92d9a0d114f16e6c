"""SCENE: a light network that runs before a standard video encoder (see README.md).

    scene.encode(scene.EncodeRequest(Path("in.mkv"), Path("out.mkv"), scene.EncoderSettings("x265", crf=28)))

Names are loaded on first use, so that importing the package loads no torch.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from scene.errors import (
    CheckpointError,
    InputError,
    MissingError,
    SceneError,
    TargetError,
    UsageError,
    VerificationError,
)

if TYPE_CHECKING:
    from scene.calibration.run import CalibrationRequest, CalibrationResult, calibrate
    from scene.enhance import Enhancer, open_enhancer
    from scene.evaluation.compare import CompareResult, compare
    from scene.evaluation.evaluate import EvaluationResult, evaluate
    from scene.evaluation.requests import CompareRequest, EvaluationRequest
    from scene.exporting import ExportRequest, ExportResult, export
    from scene.jobs.batch.outcome import FileResult
    from scene.jobs.batch.run import BatchRequest, BatchResult, batch
    from scene.jobs.chunks.join import join_job
    from scene.jobs.chunks.journal import JobPlan
    from scene.jobs.chunks.plan import JobRequest, plan_job
    from scene.jobs.chunks.quality import ChunkQuality
    from scene.jobs.chunks.run import ChunkResult, run_chunk, run_job
    from scene.jobs.chunks.runners.parallel import ChunkedEncodeRequest, encode_in_chunks
    from scene.jobs.chunks.runners.remote import run_on_cluster
    from scene.jobs.chunks.status import JobStatus, job_status
    from scene.jobs.encode import EncodeRequest, EncodeResult, encode
    from scene.jobs.filter import FilterRequest, FilterResult, filter
    from scene.jobs.ladder.build import LadderRequest, LadderResult, build_ladder
    from scene.jobs.live.request import LiveRequest, LiveResult
    from scene.jobs.live.run import live
    from scene.jobs.prepare.dry_run import DryRun, dry_run
    from scene.jobs.prepare.target import TargetEncodeRequest, TargetEncodeResult, encode_to_target
    from scene.jobs.search import SearchRequest, SearchResult, encode_request, search
    from scene.mapping.run import MapRequest, draw_map
    from scene.metrics.targets import Target
    from scene.model import load_model, model_names
    from scene.options import EnhanceOptions, FocusOptions
    from scene.video.encoders.settings import EncoderSettings

# Torch's threads would wait for one another by spinning, on the cores that encoders and libvmaf need. OpenMP reads this
# once, when torch is loaded. So it is set here, before any module of the package can load torch, in every process.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
__all__ = [
    "BatchRequest",
    "BatchResult",
    "CalibrationRequest",
    "CalibrationResult",
    "CheckpointError",
    "ChunkQuality",
    "ChunkResult",
    "ChunkedEncodeRequest",
    "CompareRequest",
    "CompareResult",
    "DryRun",
    "EncodeRequest",
    "EncodeResult",
    "EncoderSettings",
    "EnhanceOptions",
    "Enhancer",
    "EvaluationRequest",
    "EvaluationResult",
    "ExportRequest",
    "ExportResult",
    "FileResult",
    "FilterRequest",
    "FilterResult",
    "FocusOptions",
    "InputError",
    "JobPlan",
    "JobRequest",
    "JobStatus",
    "LadderRequest",
    "LadderResult",
    "LiveRequest",
    "LiveResult",
    "MapRequest",
    "MissingError",
    "SceneError",
    "SearchRequest",
    "SearchResult",
    "Target",
    "TargetEncodeRequest",
    "TargetEncodeResult",
    "TargetError",
    "UsageError",
    "VerificationError",
    "__version__",
    "batch",
    "build_ladder",
    "calibrate",
    "compare",
    "draw_map",
    "dry_run",
    "encode",
    "encode_in_chunks",
    "encode_request",
    "encode_to_target",
    "evaluate",
    "export",
    "filter",
    "job_status",
    "join_job",
    "live",
    "load_model",
    "model_names",
    "open_enhancer",
    "plan_job",
    "run_chunk",
    "run_job",
    "run_on_cluster",
    "search",
]

_HOMES = {
    "BatchRequest": "scene.jobs.batch.run",
    "BatchResult": "scene.jobs.batch.run",
    "FileResult": "scene.jobs.batch.outcome",
    "batch": "scene.jobs.batch.run",
    "CalibrationRequest": "scene.calibration.run",
    "CalibrationResult": "scene.calibration.run",
    "calibrate": "scene.calibration.run",
    "ChunkResult": "scene.jobs.chunks.run",
    "ChunkQuality": "scene.jobs.chunks.quality",
    "ChunkedEncodeRequest": "scene.jobs.chunks.runners.parallel",
    "CompareRequest": "scene.evaluation.requests",
    "CompareResult": "scene.evaluation.compare",
    "DryRun": "scene.jobs.prepare.dry_run",
    "EncodeRequest": "scene.jobs.encode",
    "EncodeResult": "scene.jobs.encode",
    "EncoderSettings": "scene.video.encoders.settings",
    "EnhanceOptions": "scene.options",
    "Enhancer": "scene.enhance",
    "EvaluationRequest": "scene.evaluation.requests",
    "EvaluationResult": "scene.evaluation.evaluate",
    "ExportRequest": "scene.exporting",
    "ExportResult": "scene.exporting",
    "FilterRequest": "scene.jobs.filter",
    "FilterResult": "scene.jobs.filter",
    "FocusOptions": "scene.options",
    "JobPlan": "scene.jobs.chunks.journal",
    "JobRequest": "scene.jobs.chunks.plan",
    "JobStatus": "scene.jobs.chunks.status",
    "LadderRequest": "scene.jobs.ladder.build",
    "LadderResult": "scene.jobs.ladder.build",
    "LiveRequest": "scene.jobs.live.request",
    "LiveResult": "scene.jobs.live.request",
    "MapRequest": "scene.mapping.run",
    "SearchRequest": "scene.jobs.search",
    "SearchResult": "scene.jobs.search",
    "Target": "scene.metrics.targets",
    "TargetEncodeRequest": "scene.jobs.prepare.target",
    "TargetEncodeResult": "scene.jobs.prepare.target",
    "build_ladder": "scene.jobs.ladder.build",
    "compare": "scene.evaluation.compare",
    "draw_map": "scene.mapping.run",
    "dry_run": "scene.jobs.prepare.dry_run",
    "encode": "scene.jobs.encode",
    "encode_in_chunks": "scene.jobs.chunks.runners.parallel",
    "encode_request": "scene.jobs.search",
    "encode_to_target": "scene.jobs.prepare.target",
    "evaluate": "scene.evaluation.evaluate",
    "export": "scene.exporting",
    "filter": "scene.jobs.filter",
    "job_status": "scene.jobs.chunks.status",
    "join_job": "scene.jobs.chunks.join",
    "live": "scene.jobs.live.run",
    "load_model": "scene.model",
    "model_names": "scene.model",
    "open_enhancer": "scene.enhance",
    "plan_job": "scene.jobs.chunks.plan",
    "run_chunk": "scene.jobs.chunks.run",
    "run_job": "scene.jobs.chunks.run",
    "run_on_cluster": "scene.jobs.chunks.runners.remote",
    "search": "scene.jobs.search",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'scene' has no attribute {name!r}")
