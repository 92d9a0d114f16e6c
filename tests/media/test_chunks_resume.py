"""Work in chunks that is broken off, damaged or disputed: noticed, done again or refused, and the same file at last."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from chunked import LENGTHS, SECONDS, make_shots
from making import assert_same_pictures, decoded, make_network

import scene
from scene import ChunkedEncodeRequest, EncodeRequest, EncoderSettings, EnhanceOptions, JobRequest
from scene.cli import run
from scene.errors import InputError, MissingError, SceneError, UsageError, VerificationError
from scene.jobs.chunks import journal
from scene.jobs.chunks.folder import BusyError, WorkFolder
from scene.jobs.chunks.runners import parallel

SCENE = [sys.executable, "-m", "scene"]
OPTIONS = ["--model", "none", "--preset", "veryfast"]
SETTINGS = EncoderSettings(preset="veryfast")
BYPASS = EnhanceOptions(model="none")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_shots(tmp_path_factory.mktemp("clip") / "in.mkv")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, clip):
    """A folder with a job all of whose chunks are done."""
    folder = tmp_path_factory.mktemp("finished")
    scene.plan_job(JobRequest(EncodeRequest(clip, folder / "out.mkv", SETTINGS, BYPASS), folder / "work", SECONDS))
    assert len(scene.run_job(folder / "work")) == scene.job_status(folder / "work").chunks >= 3
    scene.join_job(folder / "work")
    return folder


@pytest.fixture
def job(finished, tmp_path):
    """A copy of its work, as of a job whose destination is yet to be made, and what that shall hold."""
    work = tmp_path / "work"
    shutil.copytree(finished / "work", work)
    (finished / "out.mkv").replace(tmp_path / "whole.mkv")
    yield work, finished / "out.mkv", (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "whole.mkv").replace(finished / "out.mkv")


def chunk(work, index):
    return WorkFolder(work).chunk(index)


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def of_another_version(path):
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "format": 99}))


@pytest.mark.parametrize(
    "harm",
    [Path.unlink, lambda path: path.write_bytes(b""), halve, flip, lambda path: path.write_bytes(os.urandom(5000))],
    ids=["gone", "empty", "short", "flipped", "garbage"],
)
def test_a_chunk_that_is_harmed_is_done_again(job, harm):
    work, destination, whole = job
    harm(chunk(work, 2))
    if harm is not flip:
        assert scene.job_status(work).waiting == (2,)
    with pytest.raises(SceneError, match=r"1 of \d+ chunks are missing or damaged: 2\."):
        scene.join_job(work)
    assert not destination.exists()
    assert [result.index for result in scene.run_job(work) if not result.done_before] == [2]
    scene.join_job(work)
    assert destination.read_bytes() == whole


def test_a_chunk_of_another_job_is_done_again(job):
    work, destination, whole = job
    shutil.copy(chunk(work, 1), chunk(work, 0))
    assert not scene.run_chunk(work, 0).done_before
    scene.join_job(work)
    assert destination.read_bytes() == whole


@pytest.mark.parametrize(
    "harm",
    [halve, flip, lambda path: path.write_bytes(b"\0garbage"), of_another_version, lambda path: path.write_text("{}")],
    ids=["short", "flipped", "garbage", "version", "empty"],
)
def test_a_plan_that_is_harmed_is_made_again_and_the_chunks_are_kept(job, clip, harm, caplog):
    work, destination, whole = job
    harm(work / "plan.json")
    for step in (scene.run_job, scene.join_job, scene.job_status):
        with pytest.raises(InputError, match=r"plan\.json is damaged, or of another version; plan the job again"):
            step(work)
    scene.plan_job(JobRequest(EncodeRequest(clip, destination, SETTINGS, BYPASS), work, SECONDS))
    assert "is damaged" in caplog.text
    assert all(result.done_before for result in scene.run_job(work))
    scene.join_job(work)
    assert destination.read_bytes() == whole


def test_another_version_of_the_program_does_all_of_it_again(job, clip, monkeypatch, caplog):
    work, destination, _ = job
    monkeypatch.setattr(journal, "pyav_version", lambda: "99.0")
    for step in (lambda: scene.join_job(work), lambda: (chunk(work, 0).unlink(), scene.run_chunk(work, 0))):
        with pytest.raises(MissingError, match=r"planned by scene .* and here are .* 99\.0; install the same"):
            step()
    scene.plan_job(JobRequest(EncodeRequest(clip, destination, SETTINGS, BYPASS), work, SECONDS))
    assert "another version of the program" in caplog.text
    assert scene.job_status(work).done == 0


def test_other_arguments_are_refused(job, clip, tmp_path):
    work, destination, _ = job
    request = EncodeRequest(clip, destination, SETTINGS, BYPASS)
    network = make_network(tmp_path / "net.safetensors")
    for other, said in [
        (replace(request, settings=replace(SETTINGS, crf=20)), "`crf` was another"),
        (replace(request, settings=replace(SETTINGS, crf=20, preset="fast")), "`crf` and `preset` were another"),
        (replace(request, enhancement=EnhanceOptions(model=str(network))), "`model` was another"),
        (replace(request, audio=False), "`audio` was another"),
        (replace(request, destination=tmp_path / "other.mkv"), "the destination was another"),
    ]:
        with pytest.raises(UsageError, match=f"holds the work of another job: {said}"):
            scene.plan_job(JobRequest(other, work, SECONDS))
    assert scene.plan_job(JobRequest(replace(request, overwrite=True), work, SECONDS)).chunks >= 3


def test_another_model_under_the_same_name_is_refused(clip, tmp_path):
    network = make_network(tmp_path / "net.safetensors")
    request = EncodeRequest(clip, tmp_path / "out.mkv", SETTINGS, EnhanceOptions(model=str(network)))
    scene.plan_job(JobRequest(request, tmp_path / "work", SECONDS))
    make_network(network, identity=True)
    with pytest.raises(UsageError, match=r"the model was net@\w+ and is net@\w+ now"):
        scene.plan_job(JobRequest(request, tmp_path / "work", SECONDS))


def test_another_source_under_the_same_name_is_refused(clip, tmp_path):
    source = Path(shutil.copy(clip, tmp_path / "in.mkv"))
    request = EncodeRequest(source, tmp_path / "out.mkv", SETTINGS, BYPASS)
    scene.plan_job(JobRequest(request, tmp_path / "work", SECONDS))
    scene.run_job(tmp_path / "work")
    chunk(tmp_path / "work", 1).unlink()
    make_shots(source, lengths=LENGTHS[::-1])
    with pytest.raises(UsageError, match="the source has changed"):
        scene.plan_job(JobRequest(request, tmp_path / "work", SECONDS))
    with pytest.raises(InputError, match="has changed since the job was planned"):
        scene.run_chunk(tmp_path / "work", 1)
    shutil.copy(clip, source)
    scene.run_chunk(tmp_path / "work", 1)
    make_shots(source, lengths=LENGTHS[::-1])
    with pytest.raises(InputError, match="has changed since the job was planned"):
        scene.join_job(tmp_path / "work")


def test_other_pictures_in_a_file_that_looks_the_same_are_noticed(clip, tmp_path, monkeypatch):
    """The digest covers the ends of a large file alone; every frame that is encoded is compared."""
    from scene.jobs.chunks import plan as planning
    from scene.jobs.chunks import run as running

    source = Path(shutil.copy(clip, tmp_path / "in.mkv"))
    same = journal.FileIdentity(1, "digest")
    for module in (planning, running):
        monkeypatch.setattr(module, "identify", lambda _: same)
    request = EncodeRequest(source, tmp_path / "out.mkv", SETTINGS, BYPASS)
    scene.plan_job(JobRequest(request, tmp_path / "work", SECONDS))
    make_shots(source, lengths=LENGTHS[::-1])
    with pytest.raises(InputError, match=r"its frame \d+ is not what it was when the work was planned"):
        scene.run_job(tmp_path / "work")


def test_a_join_that_fails_can_be_done_again(job, monkeypatch):
    work, destination, whole = job
    destination.write_text("precious")
    with pytest.raises(UsageError, match="give `overwrite`"):
        scene.join_job(work)
    assert destination.read_text() == "precious"
    destination.unlink()
    import scene.jobs.chunks.join as joining

    def fail(*_):
        raise VerificationError("it is not what was written.")

    monkeypatch.setattr(joining, "verify", fail)
    with pytest.raises(VerificationError):
        scene.join_job(work)
    monkeypatch.undo()
    assert list(destination.parent.iterdir()) == [destination.parent / "work"]
    assert all(result.done_before for result in scene.run_job(work))
    scene.join_job(work)
    assert destination.read_bytes() == whole


def test_a_kill_before_the_work_is_removed_leaves_nothing_to_do(clip, tmp_path, monkeypatch, capfd):
    destination = tmp_path / "out.mkv"
    work = tmp_path / "out.mkv.job"
    request = EncodeRequest(clip, destination, SETTINGS, BYPASS)
    chunked = ChunkedEncodeRequest(request, 1, resume=True, chunk_seconds=SECONDS)

    def killed(folder):
        folder.chunk(1).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(WorkFolder, "remove", killed)
        scene.encode_in_chunks(chunked)
    whole, made = destination.read_bytes(), destination.stat().st_mtime_ns
    shutil.copytree(work, tmp_path / "again")
    assert run(["job", "join", str(work)]) == 0
    with pytest.raises(UsageError, match="holds the work of another job: `crf` was another"):
        scene.encode_in_chunks(replace(chunked, encode=replace(request, settings=replace(SETTINGS, crf=20))))
    result = scene.encode_in_chunks(chunked)
    assert (result.frames, result.bytes) == (sum(LENGTHS), len(whole))
    assert destination.stat().st_mtime_ns == made
    assert not work.exists()
    # Another file of that name is the user's.
    (tmp_path / "again").rename(work)
    destination.write_bytes(whole[:-1])
    with pytest.raises(UsageError, match="give `overwrite`"):
        scene.encode_in_chunks(chunked)
    assert destination.read_bytes() == whole[:-1]


def test_what_a_killed_join_left_is_removed_by_the_next(job):
    work, destination, _ = job
    left, other = destination.with_name(".out.mkv.0123456789ab.part"), destination.with_name(".other.part")
    left.write_bytes(b"half")
    other.write_bytes(b"another's")
    (work / "output").write_bytes(os.fsencode(left))
    scene.join_job(work)
    assert not left.exists() and other.exists() and not (work / "output").exists()
    other.unlink()


def test_two_processes_on_one_job(job, clip, tmp_path, capfd):
    """What is locked by one is refused by the other, with exit code 1; chunks that are not named are left to it."""
    work, destination, _ = job
    request = EncodeRequest(clip, destination, SETTINGS, BYPASS)
    chunk(work, 0).unlink()
    chunk(work, 1).unlink()
    folder = WorkFolder(work)
    with folder.locked(0):
        with pytest.raises(BusyError, match="another process is at work on chunk 0"):
            scene.run_chunk(work, 0)
        assert run(["job", "run", str(work), "--index", "0"]) == 1
        assert scene.job_status(work).running == (0,)
        assert [result.index for result in scene.run_job(work)] == list(range(1, scene.job_status(work).chunks))
    scene.run_chunk(work, 0)
    with folder.locked(), pytest.raises(BusyError, match="another process is at work on the job"):
        scene.join_job(work)
    (tmp_path / "elsewhere").mkdir()
    moved = replace(request, destination=tmp_path / "elsewhere" / "out.mkv")
    chunked = ChunkedEncodeRequest(moved, 1, work=tmp_path / "again", chunk_seconds=SECONDS)
    scene.plan_job(JobRequest(moved, tmp_path / "again", SECONDS))
    with WorkFolder(tmp_path / "again").locked("workers"), pytest.raises(BusyError, match="at work on the job"):
        scene.encode_in_chunks(replace(chunked, resume=True))
    assert not moved.destination.exists()


def test_work_that_is_there_is_resumed_when_that_is_asked_for(clip, tmp_path, capfd):
    destination = tmp_path / "out.mkv"
    command = ["encode", str(clip), str(destination), *OPTIONS]
    assert run(["job", "plan", str(clip), str(destination), *OPTIONS, "--chunk-seconds", "0.4"]) == 0
    assert run(["job", "run", f"{destination}.job", "--index", "1"]) == 0
    capfd.readouterr()
    assert run([*command, "--workers", "1"]) == 2
    assert "give --resume to go on with it" in capfd.readouterr().err
    assert run([*command, "--crf", "20", "--resume"]) == 2
    assert "--crf was another" in capfd.readouterr().err
    assert run([*command, "--resume"]) == 0
    assert "85 frames in" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == [destination]


def test_what_is_not_the_jobs_stays_in_its_folder(clip, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "notes.txt").write_text("mine")
    request = EncodeRequest(clip, tmp_path / "out.mkv", SETTINGS, BYPASS)
    scene.encode_in_chunks(ChunkedEncodeRequest(request, 1, work=work, chunk_seconds=SECONDS))
    assert list(work.iterdir()) == [work / "notes.txt"]


@pytest.fixture
def failing(tmp_path, monkeypatch):
    """Workers that fail so many times at each chunk."""

    def arrange(times, how):
        folder = tmp_path / "failing"
        folder.mkdir()
        (folder / "times").write_text(str(times))
        (folder / "how").write_text(how)
        monkeypatch.setenv("FAILING", str(folder))
        monkeypatch.setattr(parallel, "_WORKER", "failing_workers")
        if how == "hang":
            monkeypatch.setattr(parallel, "_HUNG_S", 5.0)

    return arrange


@pytest.mark.parametrize("how,said", [("die", "was killed by signal 9"), ("hang", "encoded no frame in 5 s")])
def test_a_process_that_fails_in_a_chunk_is_replaced(clip, tmp_path, failing, how, said, caplog):
    failing(1, how)
    request = EncodeRequest(clip, tmp_path / "out.mkv", SETTINGS, BYPASS)
    scene.encode_in_chunks(ChunkedEncodeRequest(request, 2, chunk_seconds=1.6))
    assert caplog.text.count(said) == 2
    assert len(decoded(tmp_path / "out.mkv")) == sum(LENGTHS)


def test_a_chunk_that_always_fails_is_given_up(clip, tmp_path, failing):
    failing(9, "die")
    request = EncodeRequest(clip, tmp_path / "out.mkv", SETTINGS, BYPASS)
    with pytest.raises(SceneError, match=r"chunk \d failed 3 times, at last: its process was killed by signal 9"):
        scene.encode_in_chunks(ChunkedEncodeRequest(request, 1, chunk_seconds=SECONDS))
    assert not (tmp_path / "out.mkv").exists()
    assert (tmp_path / "out.mkv.job" / "plan.json").exists()


def test_an_error_in_a_worker_is_the_commands(clip, tmp_path):
    """With its kind, at once, and the work is kept."""
    source = Path(shutil.copy(clip, tmp_path / "in.mkv"))
    request = EncodeRequest(source, tmp_path / "out.mkv", SETTINGS, BYPASS)
    chunked = ChunkedEncodeRequest(request, 2, resume=True, chunk_seconds=SECONDS)
    scene.plan_job(JobRequest(request, chunked.folder, SECONDS))
    # Where a file is not to be looked for, a folder is.
    for index in range(3):
        chunk(chunked.folder, index).mkdir()
    with pytest.raises(SceneError, match="cannot be written"):
        scene.encode_in_chunks(chunked)
    for index in range(3):
        chunk(chunked.folder, index).rmdir()
    scene.encode_in_chunks(chunked)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv", "out.mkv"]


@pytest.mark.parametrize("place", ["work", "output"])
def test_a_full_disk_keeps_the_work(clip, tmp_path, place):
    """By a limit on the size of files."""
    destination = tmp_path / "out.mkv"
    plan = [*SCENE, "job", "plan", clip, destination, *OPTIONS, "--crf", "1", "--chunk-seconds", "0.4"]
    subprocess.run([*map(str, plan)], check=True, capture_output=True)
    work = Path(f"{destination}.job")
    limit = 40
    if place == "output":
        scene.run_job(work)
        limit = max(path.stat().st_size for path in work.rglob("*.chunk")) // 1024 + 1
    command = ["bash", "-c", f'ulimit -f {limit}; exec "$@"', "bash", *SCENE]
    command += ["encode", str(clip), str(destination), *OPTIONS, "--crf", "1", "--resume"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "file too large" in done.stderr.splitlines()[-1].lower()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mkv.job"]
    assert run(command[command.index("encode") :]) == 0
    assert list(tmp_path.iterdir()) == [destination]


# Processes that end


def descendants(pid):
    """The numbers of all processes that a process has started, theirs too."""
    found, todo = [], [pid]
    while todo:
        try:
            children = Path(f"/proc/{todo[0]}/task/{todo[0]}/children").read_text().split()
            for task in Path(f"/proc/{todo[0]}/task").iterdir():
                children += (task / "children").read_text().split()
        except OSError:
            children = []
        todo = [*todo[1:], *(int(child) for child in children if int(child) not in found)]
        found = list({*found, *map(int, children)})
    return found


def gone(pids):
    """Waits until none of the processes is there; a minute at most."""
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def command(clip, destination, *more):
    return [*SCENE, "encode", str(clip), str(destination), *OPTIONS, "--workers", "2", *more]


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory):
    """A minute in seven shots."""
    lengths = (270, 240, 180, 300, 160, 150, 200)
    return make_shots(tmp_path_factory.mktemp("long") / "in.mkv", lengths=lengths)


def start(words):
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True)


def wait_for(path):
    deadline = time.monotonic() + 60
    while not path() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path()


@pytest.mark.parametrize("number,code,said", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")])
def test_signals_keep_the_work_and_leave_no_process(long_clip, tmp_path, number, code, said):
    words = command(long_clip, tmp_path / "out.mkv", "--preset", "slower")
    words.remove("veryfast")
    words.remove("--preset")
    work = tmp_path / "out.mkv.job"
    process = start(words)
    wait_for(lambda: list(work.glob("chunks/.*.part")))
    children = descendants(process.pid)
    assert len(children) >= 2
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert err.splitlines()[-1] == f"scene: {said}"
    assert f"What is done is kept in {work}; the same command with --resume goes on with it." in err
    assert gone(children) == []
    assert list(tmp_path.iterdir()) == [work]
    # Workers that were asked to end have left nothing half done.
    assert not list(work.glob("chunks/.*.part"))
    assert scene.job_status(work).running == ()


def test_a_kill_leaves_no_process_and_the_rest_is_done_by_the_next(long_clip, tmp_path):
    destination, work = tmp_path / "out.mkv", tmp_path / "out.mkv.job"
    process = start(command(long_clip, destination))
    wait_for(lambda: list(work.glob("chunks/*.chunk")))
    children = descendants(process.pid)
    process.kill()
    process.communicate()
    assert gone(children) == []
    assert not destination.exists()
    before = {path.name: path.stat().st_mtime_ns for path in work.glob("chunks/*.chunk")}
    process = start(command(long_clip, destination, "--resume"))
    wait_for(lambda: len(list(work.glob("chunks/*.chunk"))) > len(before) or destination.exists())
    for name, made in before.items():
        assert not work.exists() or (work / "chunks" / name).stat().st_mtime_ns == made
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert list(tmp_path.iterdir()) == [destination]
    scene.encode(EncodeRequest(long_clip, tmp_path / "one.mkv", SETTINGS, BYPASS))
    assert len(decoded(destination)) == len(decoded(tmp_path / "one.mkv"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_kills_at_random_times(long_clip, tmp_path):
    """Each resumed: the frames of the encode that was not killed, no process left, and nothing else either.

    At random in every stage: while it is planned, after each chunk, while the output is written.
    """
    (tmp_path / "whole").mkdir()
    subprocess.run(command(long_clip, tmp_path / "whole" / "out.mkv"), check=True, capture_output=True)
    whole = decoded(tmp_path / "whole" / "out.mkv")
    rng = random.Random(18)
    killed = 0
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        destination, work = folder / "out.mkv", folder / "out.mkv.job"
        stages = (
            lambda: True,
            lambda work=work: list(work.glob("locks/job")),
            lambda work=work: list(work.glob("chunks/.*.part")),
            lambda work=work: list(work.glob("chunks/*.chunk")),
            lambda work=work: len(list(work.glob("chunks/*.chunk"))) > 2,
            lambda folder=folder: list(folder.glob(".out.mkv.*.part")),
        )
        process = start(command(long_clip, destination, "--resume"))
        stage = stages[number % len(stages)]
        wait_for(lambda stage=stage, process=process: stage() or process.poll() is not None)
        time.sleep(rng.random() * 0.4)
        children = descendants(process.pid)
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        assert gone(children) == []
        assert not destination.exists() or len(decoded(destination)) == len(whole)
        finished = destination.exists() and not work.exists()
        again = command(long_clip, destination, "--resume", *(["-y"] if finished else []))
        done = subprocess.run(again, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert_same_pictures(whole, decoded(destination))
        assert list(folder.iterdir()) == [destination]
    assert killed >= 15
