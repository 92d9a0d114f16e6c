"""The parts of a batch without an encode: which files, where to, with which settings, what is done already."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

import scene
from scene.cli import app
from scene.cli.batch_report import table_text
from scene.cli.batch_settings import read_settings
from scene.cli.encode_options import EncodeOptions
from scene.errors import InputError, SceneError, UsageError
from scene.files import PendingFile, remove_leftovers
from scene.jobs.batch.destinations import Placed, outputs_below
from scene.jobs.batch.journal import file_state, open_journal
from scene.jobs.batch.outcome import Encoded, FileResult, Found
from scene.jobs.batch.report import batch_page, write_report
from scene.jobs.batch.run import BatchRequest, BatchResult, batch
from scene.jobs.batch.sources import find_sources
from scene.jobs.batch.worker import request_document, request_of
from scene.metrics.targets import Target
from scene.options import FocusOptions
from scene.video.encoders.settings import EncoderSettings


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# Sources


def test_a_folder_is_its_videos_at_any_depth(tmp_path: Path) -> None:
    for name in ("b.mkv", "a/c.MP4", "a/.hidden.mkv", ".git/d.mkv", "a/notes.txt", "out/e.mkv", "a/out/f.mkv"):
        touch(tmp_path / name)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "gone.mov").symlink_to(tmp_path / "nothing")
    found = find_sources(tmp_path, tmp_path / "out")
    # One that is not there any more is named when it fails, not passed over.
    assert [str(one.name) for one in found.files] == ["b.mkv", "gone.mov", "a/c.MP4", "a/out/f.mkv"]
    assert found.others == 1
    with pytest.raises(UsageError, match="is the folder of the outputs too"):
        find_sources(tmp_path, tmp_path / "a" / "..")
    with pytest.raises(UsageError, match=r"holds no video files \(1 other files\)"):
        find_sources(touch(tmp_path / "texts" / "x.txt").parent, tmp_path / "out")


def test_a_list_is_one_path_a_line(tmp_path: Path) -> None:
    lines = "# old films\r\nfilms/a b.mkv\r\n\n  \n/media/c.mov\n../d.ts\nfilms/caf\xe9.xyz"
    found = find_sources(touch(tmp_path / "list.txt", lines.encode("latin-1")), tmp_path / "out")
    assert [str(one.path) for one in found.files] == [
        *("films/a b.mkv", "/media/c.mov", "../d.ts"),
        "films/caf\udce9.xyz",
    ]
    assert [str(one.name) for one in found.files] == ["films/a b.mkv", "c.mov", "d.ts", "films/caf\udce9.xyz"]


def test_what_is_no_list(tmp_path: Path) -> None:
    for content, said in (
        (b"\x1aE\xdf\xa3\0\0" * 99, "neither a folder nor a list"),
        (b"# nothing\n", "names no files"),
    ):
        with pytest.raises(UsageError, match=said):
            find_sources(touch(tmp_path / "in.mkv", content), tmp_path / "out")
    with pytest.raises(InputError, match="does not exist"):
        find_sources(tmp_path / "gone", tmp_path / "out")


# Destinations


def test_folders_are_kept_and_names_must_differ(tmp_path: Path) -> None:
    def placed(*names: str, codec: str = "x264") -> list[Placed]:
        return [Placed(tmp_path / name, Path(name), codec) for name in names]

    out = tmp_path / "out"
    assert outputs_below(out, placed("a/x.mov", "b/x.avi", "x.ts")) == [out / "a/x.mov", out / "b/x.mkv", out / "x.mkv"]
    assert outputs_below(out, placed("a/x.mov", codec="svtav1")) == [out / "a/x.mkv"]
    for names in (("a/x.avi", "a/x.ts"), ("a/x.mkv", "A/X.mkv"), ("caf\u00e9.mkv", "cafe\u0301.mkv")):
        with pytest.raises(UsageError, match="would both become"):
            outputs_below(out, placed(*names))
    source = touch(out / "a.mkv")
    with pytest.raises(UsageError, match="is a source itself"):
        outputs_below(out, [Placed(source, Path("a.mkv"), "x264")])


# Settings

SETTINGS = """
["*"]
codec = "libx265"
crf = 24
compare = false

["anime/*"]
encoder-args = "tune=animation"
target = ["vmaf-neg=93", "ms-ssim=0.98"]
max-kbps = "2M"
map = ["-a:1", "-t"]

["*.mov"]
bitrate = "3M"
guard = true
"""


def test_a_later_pattern_is_laid_over_an_earlier_one(tmp_path: Path) -> None:
    settings = read_settings(touch(tmp_path / "s.toml", SETTINGS.encode()))
    base = EncodeOptions(EncoderSettings(preset="fast", crf=20), overwrite=True)
    plain = settings.options_of(Path("deep/in/a.mkv"), base)
    assert plain == replace(base, settings=EncoderSettings("x265", crf=24, preset="fast"), compare=False)
    drawn = settings.options_of(Path("anime/x/a.mkv"), base)
    assert drawn.settings == EncoderSettings("x265", preset="fast", encoder_args="tune=animation")
    assert (drawn.target, drawn.max_kbps, drawn.map) == (("vmaf-neg=93", "ms-ssim=0.98"), 2000, ("-a:1", "-t"))
    # One way to say the quality takes the place of another.
    both = settings.options_of(Path("anime/a.mov"), base)
    assert (both.settings.bitrate, both.settings.crf, both.target, both.max_kbps) == (3000, None, (), None)
    assert both.guard and both.map == ("-a:1", "-t")


def test_every_option_that_says_what_becomes_of_a_file_can_be_set(tmp_path: Path) -> None:
    of_the_run = {"--workers", "--resume", "--dry-run", "--log-format", "--compare", "--overwrite"}
    arguments = app["encode"].assemble_argument_collection()
    options = {name for one in arguments for name in one.names if name.startswith("--")} - of_the_run
    options = {name for name in options if not name.startswith("--no-compare")}
    assert len(options) > 20
    values: dict[str, object] = {"--target": "vmaf=90", "--codec": "x265", "--on-error": "skip", "--verify": "full"}
    values |= {"--temporal": "off", "--device": "cpu", "--runtime": "torch", "--focus-by": "picture"}
    switches = {"--best-effort", "--guard", "--no-audio", "--deinterlace", "--allow-network"}
    for name in sorted(options):
        value = json.dumps(True if name in switches else values.get(name, 1))
        settings = read_settings(touch(tmp_path / "s.toml", f'["*"]\n{name[2:]} = {value}\n'.encode()))
        changed = settings.options_of(Path("a.mkv"), EncodeOptions())
        assert changed != EncodeOptions() or name == "--strength", name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("crf = 3", "crf stands in no table"),
        ('["*"]\ncrff = 3', 's.toml, ["*"]: scene encode has no option --crff.'),
        ('["*"]\nworkers = 3', "has no option --workers"),
        ('["*"]\ncrf = "x"', 's.toml, ["*"]: Invalid value for --crf: unable to convert "x" into float.'),
        ('["*"]\ncrf = true', "--crf requires an argument"),
        ('["*"]\ncrf = [20, 22]', "--crf specified multiple times"),
        ('["*"]\ncodec = "h263"', 'Invalid value "h263" for --codec'),
        ('["*"]\ncrf = {low = 3}', "crf cannot be a table"),
    ],
)
def test_settings_that_are_none_are_refused_with_their_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        read_settings(touch(tmp_path / "s.toml", text.encode()))


def test_a_file_of_settings_that_is_no_toml(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not valid TOML"):
        read_settings(touch(tmp_path / "s.toml", b"["))
    with pytest.raises(InputError, match="cannot be read"):
        read_settings(tmp_path / "gone.toml")


# What is refused before anything is done


@pytest.mark.parametrize(
    ("settings", "model", "targets", "said"),
    [
        (EncoderSettings(crf=99), "none", (), "a.mkv: `crf` 99 is out of range"),
        (EncoderSettings(preset="quick"), "none", (), "a.mkv: x264 has no preset 'quick'"),
        (EncoderSettings(), "scenne", (), "a.mkv: no model is called 'scenne'"),
        (EncoderSettings(crf=20), "none", (Target("vmaf", 90.0),), "a.mkv: `crf` and `targets` exclude each other"),
    ],
)
def test_invalid_settings_are_refused_before_work(
    tmp_path: Path, settings: EncoderSettings, model: str, targets: tuple[Target, ...], said: str
) -> None:
    request = scene.EncodeRequest(tmp_path / "a.mkv", tmp_path / "out/a.mkv", settings, scene.EnhanceOptions(model))
    one = scene.TargetEncodeRequest(request, targets) if targets else request
    with pytest.raises(UsageError) as refused:
        batch(BatchRequest((one,), tmp_path / "out"))
    assert said in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_one_destination_for_two_is_refused(tmp_path: Path) -> None:
    two = tuple(scene.EncodeRequest(tmp_path / name, tmp_path / "out.mkv") for name in ("a.mkv", "b.mkv"))
    with pytest.raises(UsageError, match="would both become"):
        batch(BatchRequest(two, tmp_path))
    with pytest.raises(UsageError, match="`workers` must be at least 1"):
        batch(BatchRequest((), tmp_path, workers=0))


# The journal

ENCODED = Encoded(20, 1.5, 900, 300, "none", 0, Found(27.5, 800.0, 299.0, {"vmaf_neg": 93.2}, True, None, 3.0), -2.5)


def test_what_is_done_is_known_again_until_anything_changes(tmp_path: Path) -> None:
    source, output = touch(tmp_path / "a.mkv"), touch(tmp_path / "out" / "a.mkv")
    model = touch(tmp_path / "m.safetensors")
    request = scene.EncodeRequest(source, output, enhancement=scene.EnhanceOptions(str(model)))

    def known(one: scene.EncodeRequest) -> Encoded | None:
        with open_journal(output.parent) as journal:
            entry = journal.find(one)
            return None if entry is None else journal.unchanged(one, entry)

    with open_journal(output.parent) as journal:
        assert journal.find(request) is None
        journal.finish(request, file_state(source), ENCODED)
    assert known(request) == ENCODED
    # What changes nothing in the output.
    assert known(replace(request, overwrite=True, verify="full", compare=True)) == ENCODED
    for other in (
        replace(request, settings=EncoderSettings(crf=20)),
        replace(request, audio=False),
        replace(request, focus=FocusOptions(0.5, str(model))),
        replace(request, enhancement=replace(request.enhancement, strength=0.5)),
    ):
        assert known(other) is None
    for path in (source, output, model):
        content, about = path.read_bytes(), path.stat()
        path.write_bytes(b"other")
        assert known(request) is None
        path.write_bytes(content)
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
        assert known(request) == ENCODED
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
        assert known(request) is None
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    output.unlink()
    assert known(request) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": 2}', b'{"format": 1, "output": 3}'])
def test_an_entry_that_is_damaged_says_only_that_there_was_one(tmp_path: Path, damage: bytes) -> None:
    request = scene.EncodeRequest(touch(tmp_path / "a.mkv"), touch(tmp_path / "out" / "a.mkv"))
    with open_journal(tmp_path / "out") as journal:
        journal.finish(request, file_state(request.source), ENCODED)
        (file,) = (tmp_path / "out" / ".scene-batch").glob("*.json")
        whole = file.read_bytes()
        for content in (damage, whole[: len(whole) // 2]):
            file.write_bytes(content)
            entry = journal.find(request)
            assert entry is not None and journal.unchanged(request, entry) is None


def test_what_was_begun_in_vain_is_forgotten_and_what_was_there_is_not(tmp_path: Path) -> None:
    request = scene.EncodeRequest(touch(tmp_path / "a.mkv"), tmp_path / "out" / "a.mkv")
    with open_journal(tmp_path / "out") as journal:
        journal.begin(request)
        journal.withdraw(request, None)
        assert journal.find(request) is None
        touch(request.destination)
        journal.finish(request, file_state(request.source), ENCODED)
        before = journal.find(request)
        journal.begin(request)
        journal.withdraw(request, before)
        assert journal.find(request) == before


def test_a_second_batch_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    request = BatchRequest((), tmp_path / "out")
    with open_journal(tmp_path / "out"), pytest.raises(UsageError, match="another batch is at work in"):
        batch(request)
    assert batch(request).files == ()


def test_leftovers_of_killed_processes_are_removed_and_nothing_else(tmp_path: Path) -> None:
    destination = tmp_path / ("x[*]" * 40 + ".mkv")
    kept = [
        touch(tmp_path / name) for name in ("a.mkv", ".other.mkv.0123456789ab.part", f".{destination.name[:120]}.part")
    ]
    left = PendingFile(destination)
    assert left.path.exists()
    remove_leftovers(destination)
    assert not left.path.exists() and all(path.exists() for path in kept)


# Between processes, and what is shown


def test_requests_cross_to_another_process_as_they_are() -> None:
    name = os.fsdecode(b"odd \xff\n.mkv")
    request = scene.EncodeRequest(Path(name), Path("out") / name, EncoderSettings("x265", crf=24.5), maps=("-a:1",))
    target = scene.TargetEncodeRequest(request, (Target("vmaf_neg", 93.0),), max_kbps=900.0)
    for one in (request, target):
        assert request_of(json.loads(json.dumps(request_document(one)))) == one


def results(tmp_path: Path) -> BatchResult:
    name = "<script>alert(1)</script>&'\".mkv"
    request = scene.EncodeRequest(tmp_path / name, tmp_path / "out" / name)
    target = scene.TargetEncodeRequest(request, (Target("vmaf_neg", 93.0),))
    return BatchResult(
        (
            FileResult(target, "done", replace(ENCODED, warnings=("<b>lost</b>",))),
            FileResult(request, "unchanged", replace(ENCODED, found=None, equal_neg_percent=None)),
            FileResult(request, "failed", None, f"{tmp_path / name} is <i>cut</i> short.", 3),
        ),
        2,
        61.0,
    )


def test_the_report_has_sizes_reasons_and_no_markup_of_names(tmp_path: Path) -> None:
    result = results(tmp_path)
    write_report(result, tmp_path, "scene batch in --out out")
    document = json.loads((tmp_path / "batch.json").read_text())
    assert {key: document[key] for key in ("files", "done", "unchanged", "failed", "source_bytes", "bytes")} == {
        "files": 3,
        **{"done": 1, "unchanged": 1, "failed": 1},
        **{"source_bytes": 1800, "bytes": 600},
    }
    done, unchanged, failed = document["results"]
    assert done["targets"] == {"vmaf_neg": 93.0} and done["encoded"]["found"]["crf"] == 27.5
    assert unchanged["encoded"]["bytes"] == 300 and failed["encoded"] is None
    assert (failed["code"], failed["state"]) == (3, "failed") and "cut" in failed["reason"]
    page = (tmp_path / "batch.html").read_text()
    assert page == batch_page(result, "scene batch in --out out")
    assert not re.search(r"<(script|b|i)>", page) and "&lt;script&gt;alert(1)" in page
    assert "2 of 3 files encoded" in page and "1 failed" in page
    assert "x264, CRF 27.5<small>VMAF NEG 93.20 expected</small>" in page
    assert "−67 %" in page and "−2.5 %" in page and "http" not in page.replace("http-equiv", "")


def test_the_table_has_sums_and_what_failed(tmp_path: Path) -> None:
    lines = table_text(results(tmp_path)).splitlines()
    assert lines[0].split() == ["file", "before", "after", "change", "quality", "bits", "at", "equal", "NEG"]
    assert lines[1].endswith("CRF 27.5, VMAF NEG 93.20             -2.5 %")
    assert lines[3].startswith("2 of 3 files") and lines[3].endswith("-67 %")
    assert lines[4].startswith("failed: ") and "is <i>cut</i> short." in lines[4]
    assert lines[5] == "1 min, 2 at a time, 1 were there already."


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="cannot be written to"):
        batch(BatchRequest((), touch(tmp_path / "file") / "out"))
