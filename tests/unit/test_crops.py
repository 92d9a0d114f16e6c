"""docs/labbook.md is what scripts/make_crops.py makes of its committed figures; what the script computes by itself."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT = DOCS.parent / "scripts" / "make_crops.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_crops", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Where its dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_makes(script: ModuleType) -> None:
    assert (DOCS / "labbook.md").read_text("utf-8") == script.labbook_page(DOCS), "run python scripts/make_crops.py"
    for subject in script.SUBJECTS:
        assert f"(images/crops-{subject.name}.png)" in script.labbook_page(DOCS)
        assert (DOCS / "images" / f"crops-{subject.name}.png").stat().st_size < 400_000


def test_the_judgement_is_of_the_weights_that_were_measured() -> None:
    page = (DOCS / "labbook.md").read_text("utf-8")
    judgement = page.partition("<!-- looked -->")[2].partition("<!-- /looked -->")[0]
    for model in json.loads((DOCS / "results" / "crops.json").read_text("utf-8"))["models"]:
        assert f"@{model['identity'].split(':')[1]}`" in judgement, "look at the pictures again"


def test_a_page_needs_its_marks(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    shutil.copy(DOCS / "results" / "crops.json", tmp_path / "results")
    (tmp_path / "labbook.md").write_text("before\n<!-- crops -->\nold\n<!-- /crops -->\nafter\n")
    made = script.labbook_page(tmp_path)
    assert made.startswith("before\n<!-- crops -->\n\n    python scripts/make_crops.py")
    assert made.endswith(" |\n\n<!-- /crops -->\nafter\n")
    assert "old" not in made
    (tmp_path / "labbook.md").write_text("no marks\n")
    with pytest.raises(ValueError, match="marks"):
        script.labbook_page(tmp_path)


@pytest.mark.parametrize("factor", [1.0, 0.4, 1.3, 6.0])
def test_a_crf_is_found_by_its_size(script: ModuleType, factor: float) -> None:
    tried = []

    def size_at(crf: float) -> int:
        tried.append(crf)
        # Not quite the slope that the first guess supposes, and bent.
        return round(factor * 2e5 * 2 ** (-(crf + 0.05 * (crf - 30) ** 2 / 10) / 5))

    found = script.crf_of_size(size_at, 3000, 30.0, (0, 51))
    assert abs(size_at(found) / 3000 - 1) <= 0.01
    assert tried[0] == 30.0
    assert len(tried) < 10


def test_the_nearest_crf_where_no_size_is_near(script: ModuleType) -> None:
    steps = {True: 4000, False: 2500}
    found = script.crf_of_size(lambda crf: steps[crf < 33.333], 3000, 30.0, (0, 51))
    assert found > 33.33
    # Beyond either end of the range.
    assert script.crf_of_size(lambda crf: 900 - round(crf), 3000, 30.0, (0, 51)) == 0
    assert script.crf_of_size(lambda crf: 9000 - round(crf), 3000, 30.0, (0, 51)) == 51


def test_a_pattern_is_told_from_a_change_of_the_picture(script: ModuleType) -> None:
    before = np.random.default_rng(0).integers(40, 200, (64, 64)).astype(np.uint8)
    assert script.pattern_of([(before, before + 9)]) == 0
    striped = before.copy()
    striped[::2] -= 2
    assert script.pattern_of([(before, striped), (before, before)]) == 1


def test_grain_is_new_in_every_frame_and_the_same_every_time(script: ModuleType) -> None:
    (subject,) = (subject for subject in script.SUBJECTS if subject.grain)
    first, second = (list(script.frames_of(subject))[:2] for _ in range(2))
    assert np.array_equal(first, second)
    clean = list(script.frames_of(script.replace(subject, grain=0.0)))[:2]
    noise = np.subtract(first, clean, dtype=float)
    # Dark and bright ends of the range cut some of it off.
    assert 0.7 * subject.grain < noise.std() < 1.1 * subject.grain
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.05
