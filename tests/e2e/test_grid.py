"""A grid that can be left alone: killed and resumed, bounded on the disk, effects, failures, and through Ray."""

import copy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from grid_child import tiny_grid
from pan_clip import write_pan

from scene.errors import MissingError, SceneError, UsageError, VerificationError
from scene.evaluation.grid import local as workers
from scene.evaluation.grid import ray as cluster
from scene.evaluation.grid import tasks as work
from scene.evaluation.grid.grid import Grid, measure_grid, plan
from scene.evaluation.grid.local import RunnerConfig, run_locally
from scene.evaluation.grid.methods import NONE, Method, parse_method, parse_methods
from scene.evaluation.grid.prefilter import PrefilterEffect
from scene.evaluation.grid.tasks import PrefilterTask, Task, TaskResults
from scene.evaluation.grid.variant import make_variant
from scene.measure.cache import Measurement, PointCache
from scene.measure.clip import Recipe, open_clips
from scene.measure.encode import codec_run
from scene.measure.point import measure_point
from scene.measure.raw_video import RawVideo, count_raw_video
from scene.measure.workspace import PREFIX, remove_leftovers
from scene.metrics.scores import FRAME_METRICS, Scores
from scene.model import NetworkConfig, build_network, save_network
from scene.progress import Progress, silent
from scene.video.ffmpeg import FFmpeg, StoppedError

CHILD = Path(__file__).with_name("grid_child.py")


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The system's temporary folder for this test, here and in children; a short name, for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="t", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@contextmanager
def child(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process of `grid_child.py`, which does not outlive the block."""
    process = subprocess.Popen(
        [sys.executable, str(CHILD), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None and process.stderr is not None
    for conditioned in process.stdout:
        if conditioned.strip() == line:
            return
    raise AssertionError(process.stderr.read())


def test_a_killed_grid_goes_on_where_it_was(ffmpeg: FFmpeg, pan: Path, tmp_path: Path, temporary: Path) -> None:
    cache = tmp_path / "cache"
    with child(pan, cache, "hang") as process:
        wait_for(process, "middle")
        process.send_signal(signal.SIGKILL)
        process.wait()
    # Nobody could clean up: raw video is still there.
    (left,) = temporary.glob(f"{PREFIX}*")
    assert list(left.rglob("reference.y4m"))
    entries = len(list(cache.rglob("*.json")))
    assert 3 <= entries < 9
    readings: list[Progress] = []
    resumed = measure_grid(tiny_grid(pan), ffmpeg, PointCache(cache), jobs=2, on_progress=readings.append)
    assert readings[0].fields["cached"] == entries
    assert readings[0].done == entries
    assert list(temporary.glob(f"{PREFIX}*")) == []
    assert resumed.timing is not None and resumed.timing.points <= 9 - entries
    assert resumed == measure_grid(tiny_grid(pan), ffmpeg, PointCache(tmp_path / "another"), jobs=2)


@pytest.mark.parametrize("what", ["interrupt", "ray-interrupt"])
def test_an_interrupted_grid_cleans_up(pan: Path, tmp_path: Path, temporary: Path, what: str) -> None:
    with child(pan, tmp_path / "cache", what) as process:
        _, err = process.communicate(timeout=240)
    assert process.returncode != 0
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert 3 <= len(list((tmp_path / "cache").rglob("*.json"))) < 9
    if what == "ray-interrupt":
        # Ray kills a worker that takes long to end, on a busy machine; what that leaves is the next call's to remove.
        remove_leftovers()
    assert list(temporary.glob(f"{PREFIX}*")) == []


def test_ray_gives_the_same_points(pan: Path, tmp_path: Path, temporary: Path) -> None:
    with child(pan, tmp_path / "cache", "ray") as process:
        out, err = process.communicate(timeout=240)
    assert (process.returncode, out.splitlines()) == (0, ["equal", "2 jobs"]), err
    # The driver's cache has everything, and nobody left raw video.
    assert len(list((tmp_path / "cache").rglob("*.json"))) == 9
    assert list(temporary.glob(f"{PREFIX}*")) == []


def test_without_ray_a_cluster_is_refused(
    ffmpeg: FFmpeg, pan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingError, match=r"needs Ray: pip install ray$"):
        measure_grid(tiny_grid(pan), ffmpeg, PointCache(tmp_path), ray="auto")


def test_a_cluster_that_does_not_answer_is_an_error_at_once(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with socket.socket() as taken:
        # Bound and not listening: nobody answers here.
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SceneError, match="no Ray cluster answers at"):
            measure_grid(tiny_grid(pan), ffmpeg, PointCache(tmp_path), ray=address)
    with pytest.raises(UsageError, match="HOST:PORT"):
        measure_grid(tiny_grid(pan), ffmpeg, PointCache(tmp_path), ray="nowhere")


class LostError(Exception):
    """What the stand-in for Ray raises when a worker is gone."""


class OneProcessRay:
    """As much of Ray as the driver uses, in this process; streams die as often as they are told to."""

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths
        self.exceptions = type("exceptions", (), {"RayError": LostError})
        self.sent = 0

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def put(self, value: object) -> object:
        return value

    def get(self, value: object) -> object:
        if value is LostError:
            raise LostError("first line\nthe machine is gone")
        return value

    def wait(self, streams: list[object], **_: object) -> tuple[list[object], list[object]]:
        return streams[:1], streams[1:]

    def remote(self, **options: object):
        assert options["num_returns"] == "streaming"

        def decorate(function):
            ray = self

            class Remote:
                @staticmethod
                def remote(*arguments: object):
                    ray.sent += 1
                    # What gets there is a copy, networks included.
                    return ray.stream(function(*copy.deepcopy(arguments)))

            return Remote

        return decorate

    def stream(self, results):
        yield next(results)
        if self.deaths:
            self.deaths -= 1
            yield LostError
        yield from results


def results_of(grid: Grid, ffmpeg: FFmpeg, cache: Path) -> TaskResults:
    versions = {run.codec.name: "of this test" for run in grid.codecs}
    return TaskResults(list(plan(grid, ffmpeg, versions)), PointCache(cache), silent)


@pytest.mark.parametrize(("deaths", "done"), [(0, 4), (1, 4), (2, 2)])
def test_a_lost_worker_costs_what_it_had_in_hand(
    ffmpeg: FFmpeg, pan: Path, tmp_path: Path, deaths: int, done: int
) -> None:
    codecs = (codec_run("x264", preset="veryfast", crfs=(24, 28, 32, 36)),)
    results = results_of(replace(tiny_grid(pan), methods=(NONE,), codecs=codecs), ffmpeg, tmp_path / "cache")
    ray = OneProcessRay(deaths)
    cluster._Driver(ray, results, RunnerConfig(ffmpeg, Recipe(frames=2), tmp_path, 1, 1, "cpu")).run()
    # A worker gives one point and dies with the next; what is left goes to another, once.
    assert (len(results.done), len(results.failed)) == (done, 4 - done)
    assert set(results.failed.values()) <= {"a worker was lost: the machine is gone"}
    assert ray.sent == (2 if deaths else 1)


def test_a_network_travels_in_a_parcel(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    weights = tmp_path / "tiny.safetensors"
    config = NetworkConfig(guidance="features", planes="luma", channels=8, global_skip=False)
    torch.manual_seed(1)
    save_network(build_network(config), weights)
    codecs = (codec_run("x264", preset="veryfast", crfs=(30,)),)
    grid = replace(tiny_grid(pan), methods=parse_methods([str(weights)]), codecs=codecs)
    here, there = (results_of(grid, ffmpeg, tmp_path / name) for name in ("here", "there"))
    config = RunnerConfig(ffmpeg, Recipe(frames=2), tmp_path / "raw", 1, 1, "cpu")
    config.folder.mkdir()
    run_locally(here, config)
    cluster._Driver(OneProcessRay(0), there, config).run()
    # None, the effect and the network's point.
    assert len(here.done) == 3
    assert there.done == here.done
    assert there.done[0] != there.done[2]


def told_method(folder: Path) -> Method:
    """A network that is told the quantiser and changes pictures, at each step in another way."""
    config = NetworkConfig(guidance="features", planes="luma", channels=8, quantiser=(6, 60))
    network = build_network(config, seed=1)
    with torch.no_grad():
        network.tail.weight.normal_(std=0.02, generator=torch.Generator().manual_seed(1))
    save_network(network, folder / "told.safetensors")
    return parse_method(str(folder / "told.safetensors"))


def told_grid(pan: Path, method: Method) -> Grid:
    """Of the network five points at four steps, one of them also the effect's; svtav1's is beyond the range."""
    runs = (
        codec_run("x264", preset="veryfast", crfs=(24, 30)),
        codec_run("x265", preset="ultrafast", crfs=(24, 36)),
        codec_run("svtav1", preset="10", crfs=(60,)),
    )
    return Grid(open_clips([pan]), Recipe(frames=3), (NONE, method), runs)


def test_a_network_that_is_told_the_quantiser_makes_a_variant_for_each_step(
    ffmpeg: FFmpeg, pan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = told_method(tmp_path)
    grid, made, pictures = told_grid(pan, method), [], set()

    def watched(program: FFmpeg, method: Method, *arguments: object, **options: object) -> RawVideo:
        video = make_variant(program, method, *arguments, **options)  # type: ignore[arg-type]
        made.append((method.label, options["step"]))
        pictures.add(video.path.read_bytes())
        return video

    monkeypatch.setattr(workers, "make_variant", watched)
    result = measure_grid(grid, ffmpeg, PointCache(tmp_path / "cache"), jobs=2, device="cpu")
    assert (len(result.points), len(result.effects), result.failures) == (10, 1, ())
    # The effect's is made first: it takes longest. x264 and x265 share that of CRF 24.
    assert made == [("none", None), ("told", 20), ("told", 10), ("told", 40), ("told", 42.78125)]
    assert len(pictures) == 5
    # A point by hand.
    (clip,) = grid.clips
    reference = workers.make_reference(ffmpeg, clip, grid.recipe, tmp_path / "r.y4m")
    by_hand = make_variant(ffmpeg, method, reference, tmp_path / "v.y4m", step=40, device="cpu")
    point = next(p for p in result.points if (p.method, p.run.codec.name, p.crf) == (method, "x265", 36))
    assert measure_point(ffmpeg, reference, by_hand, point.run, 36, 50, folder=tmp_path) == point.measurement
    made.clear()
    assert measure_grid(grid, ffmpeg, PointCache(tmp_path / "cache")) == result
    assert made == []
    # One further CRF costs one further variant.
    more = replace(grid, codecs=(codec_run("x264", preset="veryfast", crfs=(24, 27, 30)),))
    measure_grid(more, ffmpeg, PointCache(tmp_path / "cache"), device="cpu")
    assert [step for label, step in made if label == "told"] == [pytest.approx(14.14, abs=0.01)]


def test_a_stopped_evaluation_stops_a_network(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    stopped = replace(ffmpeg, stop=threading.Event())
    stopped.stop.set()
    with pytest.raises(StoppedError):
        make_variant(
            *(stopped, told_method(tmp_path), count_raw_video(pan, "bt601"), tmp_path / "v.y4m"), step=20, device="cpu"
        )


def test_keys_name_the_step_of_networks_that_are_told_and_of_nothing_else(
    ffmpeg: FFmpeg, pan: Path, tmp_path: Path
) -> None:
    method = told_method(tmp_path)
    grid = told_grid(pan, method)
    grid = replace(grid, methods=(NONE, parse_method("contrast"), method))
    tasks = list(plan(grid, ffmpeg, dict.fromkeys(("x264", "x265", "svtav1"), "of this test")))
    named = [task.key["method"] for task in tasks]
    # The last is a quarter of SVT-AV1's 171 at CRF 60.
    steps = ["20", "10", "20", "10", "40", "42.78"]
    assert named == ["none"] * 5 + ["contrast:1.05"] * 6 + [f"{method.identity}:step={step}" for step in steps]


def test_a_step_is_a_parcel_and_gives_the_same_points(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    grid = told_grid(pan, told_method(tmp_path))
    here, there = (results_of(grid, ffmpeg, tmp_path / name) for name in ("here", "there"))
    config = RunnerConfig(ffmpeg, grid.recipe, tmp_path / "raw", 1, 1, "cpu")
    config.folder.mkdir()
    # Five points of none; then the effect with x264's CRF 30, both CRFs 24, and two alone.
    portions = [[index for index, _ in unit.tasks] for unit in cluster._work_units(there, config)]
    assert portions == [[0, 1], [2, 3], [4], [5, 7], [6, 8], [9], [10]]
    run_locally(here, config)
    cluster._Driver(OneProcessRay(0), there, config).run()
    assert (len(here.done), here.failed) == (11, {})
    assert there.done == here.done


def test_a_machine_with_another_ffmpeg_ends_it(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    results = results_of(tiny_grid(pan), ffmpeg, tmp_path / "cache")
    config = RunnerConfig(replace(ffmpeg, build="0123456789ab"), Recipe(frames=2), tmp_path, 1, 1, "cpu")
    with pytest.raises(MissingError, match="another build of ffmpeg"):
        cluster._Driver(OneProcessRay(0), results, config).run()
    assert results.done == {}


def test_parcels_are_a_codec_each_and_effects_travel_along(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    results = results_of(tiny_grid(pan), ffmpeg, tmp_path)
    units = list(cluster._work_units(results, RunnerConfig(ffmpeg, Recipe(), tmp_path, 1, 1, "cpu")))
    # Of none two codecs of two points; of contrast the same, the first with the effect.
    assert [[index for index, _ in unit.tasks] for unit in units] == [[0, 1], [2, 3], [4, 5, 6], [7, 8]]


def test_effects_are_measured_once(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    tuned = Method("x264:film", "x264:film", codecs=("x264",), parameters=("film=1",))
    grid = replace(
        tiny_grid(pan),
        methods=(*parse_methods(["contrast:1.10"]), tuned),
        codecs=(codec_run("svtav1", preset="10", crfs=(50,)),),
    )
    result = measure_grid(grid, ffmpeg, PointCache(tmp_path))
    # None for the anchor, nor for a method that is a setting of an encoder.
    (effect,) = result.effects
    assert (effect.clip.name, effect.method.label) == ("pan.y4m", "contrast:1.10")
    assert effect.effect.gain == pytest.approx(1.1, abs=0.01)
    readings: list[Progress] = []
    again = measure_grid(grid, ffmpeg, PointCache(tmp_path), on_progress=readings.append)
    assert again == result
    assert again.timing is None
    assert [reading.done for reading in readings] == [3]


def test_a_effect_that_fails_is_left_out_and_tried_again_later(
    ffmpeg: FFmpeg, pan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("no pixel")

    grid = replace(tiny_grid(pan), codecs=(codec_run("x264", preset="veryfast", crfs=(36,)),))
    with monkeypatch.context() as patch:
        patch.setattr(work, "measure_effect", broken)
        result = measure_grid(grid, ffmpeg, PointCache(tmp_path))
    assert (len(result.points), result.effects, result.failures) == (2, (), ())
    assert "contrast before any encoder: ZeroDivisionError: no pixel (given up)" in caplog.text
    assert len(measure_grid(grid, ffmpeg, PointCache(tmp_path)).effects) == 1


def test_a_variant_that_fails_is_tried_again_and_loses_only_its_own_points(
    ffmpeg: FFmpeg, pan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def flaky(program: FFmpeg, method: Method, *arguments: object, **options: object) -> object:
        tries.append(method.label)
        if method.label == "contrast" or tries.count(method.label) == 1:
            raise VerificationError(f"{method.label} lost a frame")
        return make_variant(program, method, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(workers, "make_variant", flaky)
    grid = replace(
        tiny_grid(pan),
        methods=parse_methods(["contrast", "unsharp"]),
        codecs=(codec_run("x264", preset="veryfast", crfs=(36,)),),
    )
    result = measure_grid(grid, ffmpeg, PointCache(tmp_path))
    assert tries == ["none", "none", "contrast", "contrast", "unsharp", "unsharp"]
    assert {point.method.label for point in result.points} == {"none", "unsharp"}
    assert [(failure.method, failure.reason) for failure in result.failures] == [("contrast", "contrast lost a frame")]


@pytest.mark.parametrize("what", ["filters", "told"])
def test_raw_video_is_bounded_and_removed_with_its_last_task(
    ffmpeg: FFmpeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Five clips and six variants of each, with a worker that gives the same figures whatever it is given."""
    clips = open_clips([write_pan(tmp_path / f"{number}.y4m", 3, first=number) for number in range(5)])
    if what == "filters":
        codecs = (codec_run("x264", crfs=(20, 30, 40)),)
        methods = parse_methods([f"contrast:{1 + number / 100}" for number in range(1, 7)])
        tasks = 6 + 7 * 3
    else:
        codecs = tuple(codec_run(name, crfs=(20, 24, 26, 28, 30, 32)) for name in ("x264", "x265"))
        methods = (NONE, told_method(tmp_path))
        tasks = 1 + 2 * 12
    grid = Grid(clips, Recipe(), methods, codecs)
    place = tmp_path / "raw"
    place.mkdir()
    most = {"clips": 0, "variants": 0}

    def count() -> None:
        # Only by the thread that makes and removes files: beside it, a list of two folders may be of two moments.
        most["clips"] = max(most["clips"], len(list(place.iterdir())))
        most["variants"] = max(most["variants"], len([p for p in place.rglob("*.y4m") if p.stem != "reference"]))

    def run_task(_: FFmpeg, task: Task, reference: RawVideo, processed: RawVideo, *__: object, **___: object) -> object:
        assert reference.path.exists() and processed.path.exists()
        # A worker that is done before the other thread comes to it runs out of tasks, for which more may be made.
        time.sleep(0.02)
        if isinstance(task, PrefilterTask):
            return PrefilterEffect(1.0, 0.0, 0.0, 0.0, 0.0, None, 0.0, None)
        return Measurement(1000, 320, 192, 8, Scores(*[50.0] * 8, None, 3), dict.fromkeys(FRAME_METRICS, (50.0,) * 3))

    def copy(source: Path, destination: Path) -> RawVideo:
        destination.write_bytes(source.read_bytes())
        count()
        return count_raw_video(destination, "bt601")

    monkeypatch.setattr(workers, "run_task", run_task)
    monkeypatch.setattr(workers, "make_reference", lambda _, clip, __, destination: copy(clip.path, destination))
    monkeypatch.setattr(
        workers,
        "make_variant",
        lambda _, method, reference, destination, **__: (
            reference if method.label == "none" else copy(reference.path, destination)
        ),
    )
    results = results_of(grid, ffmpeg, tmp_path / "cache")
    # An assertion that fails in a worker becomes the reason of a failed task.
    run_locally(results, RunnerConfig(ffmpeg, Recipe(), place, 1, 1, "cpu"))
    assert results.failed == {}
    assert len(results.done) == 5 * tasks
    assert most["clips"] <= 2 and most["variants"] <= 4
    assert list(place.iterdir()) == []


def test_two_methods_of_one_identity_are_measured_once(ffmpeg: FFmpeg, pan: Path, tmp_path: Path) -> None:
    contrast = parse_method("contrast:1.10")
    methods = (NONE, contrast, replace(contrast, label="contrast:tuned", codecs=("x264",)))
    grid = Grid(open_clips([pan]), Recipe(frames=3), methods, (codec_run("x264", preset="veryfast", crfs=(24, 36)),))
    measured = measure_grid(grid, ffmpeg, PointCache(tmp_path / "cache"), jobs=2, effects=False)
    assert [point.method.label for point in measured.points] == [m.label for m in methods for _ in range(2)]
    assert len(list((tmp_path / "cache").rglob("*.json"))) == 4
    assert measured.timing is not None
