"""What holds the project together: one-way imports, a quick --help, one set of commands everywhere."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import cyclopts
import pytest

import scene
from scene import errors
from scene.cli import app, run
from scene.cli.console import flag_of

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "scene"

# docs/architecture.md: what each room may import, beside itself and the leaves. A room is a folder of files; below
# `scene` a room's name has dots, and a room knows its sub-rooms no more than others do.
LEAVES = {"cluster", "errors", "files", "options", "pages", "picture", "progress", "signals"}
NETWORK = {"model", "model.semantics"}
VIDEO = {"video", "video.source", "video.encoders", "video.encoding", "video.container", "video.rawvideo"}
PACKAGING = {"video.packaging"}
MEASURING = {"measure", "metrics"}
TRAINING = {"training", "training.config", "training.data"}
REPORTING = {"evaluation.grid", "evaluation.report", "evaluation.visuals", "evaluation.page"}
EVALUATION = REPORTING | {"evaluation", "evaluation.comparison"}
BELOW_JOBS = NETWORK | {"proxy", "temporal", "graphs", "runtimes", "importance", "enhance"} | VIDEO | MEASURING
ARROWS = {
    **{leaf: set() for leaf in LEAVES},
    "model": set(),
    "model.semantics": {"model"},
    "proxy": {"model"},
    "metrics": {"model"},
    "temporal": set(),
    "graphs": {"model"},
    "runtimes": {"model", "graphs"},
    "importance": NETWORK | {"temporal", "enhance"},
    "mapping": {"importance"} | VIDEO,
    "enhance": NETWORK | {"temporal", "runtimes", "video", "video.encoders"},
    "video": set(),
    "video.source": {"video"},
    "video.rawvideo": {"video", "video.source"},
    "video.encoders": {"video", "video.source"},
    "video.encoding": {"video", "video.source", "video.encoders"},
    "video.container": {"video", "video.source", "video.encoders", "video.encoding"},
    "video.packaging": {"video", "video.source", "video.container"},
    "video.live": VIDEO,
    "video.live.outputs": VIDEO | {"video.live"},
    "measure": VIDEO | {"metrics"},
    "jobs.samples": BELOW_JOBS,
    "jobs": BELOW_JOBS | PACKAGING | {"jobs.samples"},
    "jobs.prepare": BELOW_JOBS | {"jobs", "jobs.samples"},
    "jobs.batch": BELOW_JOBS | {"jobs", "jobs.prepare"},
    "jobs.chunks": BELOW_JOBS | {"jobs", "jobs.samples", "jobs.prepare"},
    "jobs.ladder": BELOW_JOBS | PACKAGING | {"jobs", "jobs.samples", "jobs.chunks"},
    "jobs.live": BELOW_JOBS | {"jobs", "video.live", "video.live.outputs"},
    "jobs.chunks.runners": BELOW_JOBS | {"jobs", "jobs.chunks"},
    "training.data": BELOW_JOBS,
    "training.config": BELOW_JOBS | {"training.data"},
    "training": BELOW_JOBS | {"training.config", "training.data"},
    "calibration": BELOW_JOBS | {"training.data"},
    "evaluation.grid": BELOW_JOBS,
    "evaluation.report": BELOW_JOBS | {"evaluation.grid"},
    "evaluation.visuals": BELOW_JOBS | {"evaluation.grid", "evaluation.report"},
    "evaluation.page": {"metrics", "evaluation.report", "evaluation.visuals"},
    "evaluation.comparison": BELOW_JOBS | REPORTING,
    "evaluation": BELOW_JOBS | REPORTING | {"evaluation.comparison"},
    "exporting": NETWORK | {"graphs", "enhance", "video.encoders"},
    "benchmarks": BELOW_JOBS | TRAINING | {"jobs"},
    "benchmarks.gpu": BELOW_JOBS | TRAINING | {"benchmarks"},
    "cli": BELOW_JOBS
    | TRAINING
    | EVALUATION
    | {"jobs", "jobs.samples", "jobs.prepare", "jobs.batch", "jobs.chunks", "jobs.chunks.runners"}
    | {"jobs.ladder", "jobs.live"}
    | {"mapping", "calibration", "exporting", "benchmarks", "benchmarks.gpu"},
}
# One small file a command.
CROWDED = {"cli"}
MOST_FILES = 12


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in PACKAGE.rglob("*.py")}


def room_of(module: str) -> str:
    folder = MODULES[module].relative_to(PACKAGE).parts[:-1]
    return ".".join(folder) or module


def imported_rooms(file: Path) -> set[str]:
    """The rooms of all modules that a file imports, for types only too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            # `from package import module` and `from module import name` look the same.
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                names.add(full if full.removeprefix("scene.") in MODULES else node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    inside = {name.removeprefix("scene.") for name in names if name.startswith("scene.")}
    return {room_of(name) for name in inside if name in MODULES}


@pytest.mark.parametrize("room", sorted(ARROWS))
def test_imports_point_one_way(room: str) -> None:
    modules = [module for module in MODULES if module and room_of(module) == room]
    assert modules
    for module in modules:
        forbidden = imported_rooms(MODULES[module]) - ARROWS[room] - LEAVES - {room}
        assert not forbidden, f"{module} imports {forbidden}"


def test_no_arrow_leads_back() -> None:
    """The rooms can be put in an order in which each imports earlier ones only."""
    order = list(graphlib.TopologicalSorter({room: ARROWS[room] for room in ARROWS}).static_order())
    assert set(order) == set(ARROWS)


def test_every_room_is_on_the_map() -> None:
    rooms = {room_of(module) for module in MODULES if module and room_of(module) not in {"__main__"}}
    assert rooms == set(ARROWS)


def test_no_room_is_crowded() -> None:
    for folder in {file.parent for file in MODULES.values()}:
        if folder.name not in CROWDED:
            files = sorted(file.name for file in folder.glob("*.py"))
            assert len(files) <= MOST_FILES, f"{folder.relative_to(PACKAGE)}: {files}"


def test_only_video_touches_pyav_or_starts_processes() -> None:
    for file in PACKAGE.rglob("*.py"):
        if file.is_relative_to(PACKAGE / "video"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {name.split(".")[0] for name in names}
            assert not roots & {"av", "subprocess"}, file


def library_strings() -> Iterator[tuple[Path, str]]:
    """Every string of the library, docstrings too; the command line speaks of its own options."""
    for file in PACKAGE.rglob("*.py"):
        if file.is_relative_to(PACKAGE / "cli"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield file, node.value


ENCODER_NAME = re.compile(r"\b(lib)?(x264|x265|svtav1|vvenc)\b|nvenc", re.IGNORECASE)


def test_encoders_are_named_in_their_own_room_only() -> None:
    """All that is special about an encoder stands there; elsewhere it is asked for."""
    for file in MODULES.values():
        if file.is_relative_to(PACKAGE / "video" / "encoders"):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        described = {id(node.body[0].value) for node in ast.walk(tree) if _has_docstring(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in described:
                assert not ENCODER_NAME.search(node.value), f"{file.relative_to(PACKAGE)}:{node.lineno}: {node.value}"


def _has_docstring(node: ast.AST) -> TypeGuard[ast.Module]:
    return isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None


def test_the_library_speaks_of_fields_and_the_command_line_of_options() -> None:
    for file, text in library_strings():
        assert not re.search(r"(?<![\w!-])--[a-z]", text), f"{file.relative_to(PACKAGE)}: {text}"


def options_of(commands: cyclopts.App) -> set[str]:
    """Every option of every command."""
    found: set[str] = set()
    for word in commands:
        if not word.startswith("-"):
            command = commands[word]
            found |= options_of(command)
            if command.default_command is not None:
                found |= {name for argument in command.assemble_argument_collection() for name in argument.names}
    return found


def library_messages() -> Iterator[tuple[Path, str]]:
    """Every string of the library that is no docstring."""
    for file in PACKAGE.rglob("*.py"):
        if not file.is_relative_to(PACKAGE / "cli"):
            nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
            docstrings = {node.value for node in nodes if isinstance(node, ast.Expr)}
            for node in nodes:
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
                    yield file, node.value


def test_every_field_that_a_message_names_is_an_option_of_some_command() -> None:
    options = options_of(app)
    assert {"--crf", "--map", "--target", "--semantic-interval"} <= options
    named = {(file, field) for file, text in library_messages() for field in re.findall(r"`([a-z_]+)`", text)}
    assert len(named) > 50
    for file, field in named:
        assert flag_of(field) in options, f"{file.relative_to(PACKAGE)}: {field}"


@pytest.mark.parametrize(
    "arguments",
    [
        [*command, "--help"]
        for command in (
            [],
            ["encode"],
            ["batch"],
            ["filter"],
            ["search"],
            ["evaluate"],
            ["export"],
            ["compare"],
            ["train"],
            ["distill"],
            ["doctor"],
            ["job", "plan"],
            ["job", "run"],
            ["live"],
            ["bench", "training"],
            ["bench", "semantics"],
            ["bench", "encode"],
            ["bench", "gpu"],
            ["completion"],
        )
    ],
)
def test_help_loads_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom scene.cli import run\n"
        f"code = run({arguments!r})\n"
        "assert code == 0 and not {'torch', 'av', 'numpy', 'matplotlib'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_exit_codes_are_the_documented_ones() -> None:
    codes = {error.__name__: error.exit_code for error in _leaves(errors.SceneError)}
    assert codes == {
        "SceneError": 1,
        "UsageError": 2,
        "InputError": 3,
        "CheckpointError": 3,
        "VerificationError": 4,
        "TargetError": 5,
        "MissingError": 6,
    }


def _leaves(error: type[errors.SceneError]) -> list[type[errors.SceneError]]:
    return [error] + [
        leaf for child in error.__subclasses__() if child.__module__ == "scene.errors" for leaf in _leaves(child)
    ]


def test_the_readmes_commands_are_those_that_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = re.findall(r"^    (python3\S* -m venv .*)$", readme, flags=re.MULTILINE)
    # That for torch's CPU build comes before them; where CI runs, pip may be told of another index.
    torch, *commands = commands
    assert "--index-url" in torch and len(commands) == 2
    for command in commands:
        assert command in ci


def test_the_version_is_the_packages() -> None:
    assert f'version = "{scene.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_public_surface_is_locked() -> None:
    assert set(scene.__all__) == {
        "BatchRequest",
        "BatchResult",
        "CalibrationRequest",
        "CalibrationResult",
        "CheckpointError",
        "ChunkResult",
        "ChunkQuality",
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
    }
    for name in scene.__all__:
        assert getattr(scene, name) is not None


def test_models_lists_what_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models"]) == 0
    listed = capsys.readouterr().out
    assert "asconvsr@" in listed
    assert "scene@" in listed
    assert "student-mobilenetv2@" in listed
    assert "none" in listed
