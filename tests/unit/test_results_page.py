"""docs/results.md and README's table are what scripts/make_results.py makes of the committed results."""

import copy
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "make_results.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_results", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def clips() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / "docs" / "results" / "clips" / "results.json").read_text("utf-8"))
    return document


def test_the_page_is_what_the_script_makes(script: ModuleType) -> None:
    made = script.results_page(ROOT)
    assert "{{" not in made
    assert (ROOT / "docs" / "results.md").read_text("utf-8") == made, "run python scripts/make_results.py"


def test_the_readmes_table_is_what_the_script_makes(script: ModuleType) -> None:
    assert (ROOT / "README.md").read_text("utf-8") == script.readme_page(ROOT), "run python scripts/make_results.py"


def test_every_figure_of_the_page_is_there(script: ModuleType) -> None:
    for line in script.results_page(ROOT).splitlines():
        if line.startswith("!["):
            assert (ROOT / "docs" / line.partition("(")[2].rstrip(")")).is_file()


def test_it_needs_no_torch() -> None:
    code = (
        f"import runpy, sys\nmodule = runpy.run_path({str(SCRIPT)!r})\nmodule['results_page'](module['ROOT'])\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_template_may_name_only_what_there_is(script: ModuleType, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs" / "results" / "clips", tmp_path / "docs" / "results" / "clips")
    template = tmp_path / "scripts" / "results.template.md"
    template.parent.mkdir()
    template.write_text("# Page\n\n{{ count clips }} clips and\nmore\n\n{{ figures clips }}\n")
    assert script.results_page(tmp_path).startswith("# Page\n\n8 clips and more\n\n![")
    template.write_text("{{ cuont clips }}\n")
    with pytest.raises(KeyError, match="cuont"):
        script.results_page(tmp_path)


def test_the_readmes_table_is_made_between_its_marks(script: ModuleType, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs" / "results" / "clips", tmp_path / "docs" / "results" / "clips")
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    made = script.readme_page(tmp_path)
    assert made.startswith("before\n<!-- results -->\n| BD-rate, %, mean of 8 clips (worst) | VMAF NEG |")
    assert made.endswith(".\n<!-- /results -->\nafter\n")
    assert "old" not in made
    rows = [line.split(" | ")[0] for line in made.splitlines() if line.startswith("| ")]
    assert rows[2:] == ["| x264", "| x265", "| svtav1"]
    readme.write_text("no marks\n")
    assert script.readme_page(tmp_path) == "no marks\n"


def test_the_readme_has_the_default_model_against_the_codec_alone(script: ModuleType, clips: dict[str, Any]) -> None:
    document = copy.deepcopy(clips)
    document["environment"]["codecs"] = [{"codec": "x264"}, {"codec": "svtav1"}, {"codec": "vvenc"}]
    document["bd_rate"] = [
        mean("x264", "contrast", -25.0),
        mean("x264", "scene-lite", -18.0, worst=-3.0),
        mean("x264", "scene-lite", 1.0, anchor="asconvsr"),
        *(mean("x264", "scene-lite", value, clip=f"{value}", metric="vmaf_neg") for value in (-1.0, 0.5, None)),
        mean("svtav1", "scene-lite", -31.0, clips=6),
        mean("svtav1", "scene-lite", -2.0, clip="a", metric="vmaf_neg"),
    ]
    table = script.readme_table(document)
    assert table[1:] == [
        ["x264", "N/A", "N/A", "N/A", "N/A", "-18.0 (-3.0)"],
        ["svtav1", "N/A", "N/A", "N/A", "N/A", "-31.0 (-31.0) \\[6/8\\]"],
    ]
    said = script.readme_sentence(document)
    assert said == "Clips on which VMAF NEG gets worse: 1 of 3 with x264 and 0 of 1 with svtav1."


def test_what_is_reached_is_bold(script: ModuleType, clips: dict[str, Any]) -> None:
    document = copy.deepcopy(clips)
    document["bd_rate"] = [mean("x264", "scene-lite", -28.0), mean("x265", "scene-lite", -32.9)]
    lines = script.aims(document, "scene-lite").splitlines()
    assert lines[2].startswith("| x264 | **-28.0** (-28) | N/A (-15) |")
    assert lines[3].startswith("| x265 | -32.9 (-33) |")


def test_sizes_stand_beside_their_savings(
    script: ModuleType, clips: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = {"method": "scene-fast", "parameters": None, "flops": None, "torch_ms": None, "fastest_ms": 2.54}
    small = {"method": "u4c8", "parameters": 17_000, "flops": 1.5e9, "torch_ms": 20.04, "fastest_ms": 9.96}
    large = {"method": "asconvsr", "parameters": 232_020, "flops": 2.7e10, "torch_ms": 140.0, "fastest_ms": 62.0}
    monkeypatch.setattr(script, "_speeds", lambda: [bank, small, large])
    document = copy.deepcopy(clips)
    document["bd_rate"] = [
        mean("x264", speed["method"], percent, metric=metric)
        for speed, percent in ((bank, -7.6), (small, -6.0), (large, -9.4))
        for metric in ("vmaf_neg", "vmaf_v1", "ms_ssim")
    ]
    lines = script.sizes(document).splitlines()
    assert lines[2].startswith("| scene-fast |  |  |  | 2.5 | -7.6 | -7.6 | -7.6 | N/A |")
    assert lines[3].startswith("| u4c8 | 17,000 | 0.8 | 20.0 | 10.0 | -6.0 |")
    script.draw_sizes(document, tmp_path / "sizes.png")
    assert (tmp_path / "sizes.png").read_bytes().startswith(b"\x89PNG")


def test_a_command_shows_its_clips_as_one_pattern(script: ModuleType, clips: dict[str, Any]) -> None:
    document = copy.deepcopy(clips)
    names = [clip["clip"] for clip in document["environment"]["clips"]]
    given = " ".join(f"some/where/{name}" for name in names)
    document["environment"]["command"] = f"scene evaluate {given} --models none,scene --out 'my results'"
    assert script.command(document) == "    scene evaluate some/where/* --models none,scene --out 'my results'"
    # Not all of a folder, or not of one folder: as they are.
    document["environment"]["command"] = f"scene evaluate {given.replace('some', 'else', 1)}"
    assert script.command(document).startswith(f"    scene evaluate else/where/{names[0]} some/where/{names[1]}")


def mean(codec: str, method: str, percent: float | None, anchor: str = "none", **more: object) -> dict[str, object]:
    place = {"clip": "mean", "codec": codec, "method": method, "anchor": anchor, "metric": "vmaf"}
    values = {"percent": percent, "median": percent, "worst": percent, "worst_clip": "a.mp4", "clips": 8, "of_clips": 8}
    return {**place, **values, "note": "", **more}


def test_the_papers_figures_stand_beside_ours(script: ModuleType, clips: dict[str, Any]) -> None:
    document = copy.deepcopy(clips)
    document["bd_rate"] = [
        mean("x264", "asconvsr", -17.94),
        mean("svtav1", "scene", None),
        mean("x265", "contrast:tuned", -37.06, clips=7),
    ]
    lines = script.paper_table(document).splitlines()
    assert "| H.264, x264 | asconvsr | +6.1 | N/A | -29.4 | -17.9 | -11.9 | N/A |" in lines
    assert "| H.265, x265 | contrast:tuned |  | N/A |  | -37.1 \\[7/8\\] |  | N/A |" in lines
    assert "| AV1, svtav1 | scene | +15.02 | N/A | N/A | N/A | -5.39 | N/A |" in lines


def test_sentences_are_computed(script: ModuleType, clips: dict[str, Any]) -> None:
    document = copy.deepcopy(clips)
    document["environment"]["codecs"] = [{"codec": "x264"}, {"codec": "svtav1"}]
    document["bd_rate"] = [
        mean("x264", "contrast", -25.0),
        mean("x264", "asconvsr", -18.0),
        mean("x264", "scene", -17.0, worst_clip="b_1.mp4"),
        mean("svtav1", "scene", -31.0, clips=6, bd_quality=2.345),
        mean("svtav1", "asconvsr", -30.0, clips=6, bd_quality=2.0),
        mean("x264", "scene", 1.2, anchor="asconvsr"),
    ]
    document["equal_crf"] = [
        {"clip": "mean", "codec": "svtav1", "method": "scene", "anchor": "none", "rate_percent": 12.34},
    ]
    assert script.knob(document, "scene") == "-17.0 against -25.0 with x264"
    assert script.fewer(document, "asconvsr", "scene") == "1 of 2"
    assert script.weakest(document, "scene", "vmaf") == "`b_1.mp4` (-17.0 with x264) and `a.mp4` (-31.0 with svtav1)"
    assert script.direct(document) == (
        "Directly against `asconvsr`, the VMAF BD-rate of `scene` in % is +1.2 with x264 (in the paper -3.9)."
    )
    assert script.gains(document, "svtav1", "scene") == (
        "Here the VMAF BD-rate of `scene` is -31.0 \\[6/8\\] %, at equal rate VMAF changes by +2.3 points, and at "
        "equal CRF the rate changes by +12.3 %."
    )
    assert "not been measured" in script.gains(document, "vvenc", "scene")


def test_the_page_says_whose_encoders_were_measured(script: ModuleType, clips: dict[str, Any]) -> None:
    document = copy.deepcopy(clips)
    document["environment"]["pyav"] = "18.1.0"
    assert script.build(document).startswith("The encoders are those of PyAV 18.1.0: the build, and")
