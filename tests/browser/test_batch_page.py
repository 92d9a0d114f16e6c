"""The page of a batch in a real browser: it shows what it says, loads nothing, and no name becomes markup."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from scene import EncodeRequest, FileResult
from scene.jobs.batch.outcome import Encoded
from scene.jobs.batch.report import write_report
from scene.jobs.batch.run import BatchResult

NAME = "<img src=x onerror=alert(1)>.mkv"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    def encoded(before: int, after: int) -> Encoded:
        return Encoded(100, 5.0, before, after, "scene-lite@0123456789ab", 0, None, -4.2, ("loses <b>its</b> styling",))

    files = [
        FileResult(EncodeRequest(Path(name), Path("out") / name), "done", encoded(before, after))
        for name, before, after in ((NAME, 8_000_000, 2_000_000), ("a" * 200 + ".mkv", 4_000_000, 4_000_000))
    ]
    files.append(FileResult(EncodeRequest(Path("b.mkv"), Path("out/b.mkv")), "failed", None, f"{NAME} is short.", 3))
    write_report(BatchResult(tuple(files), 2, 61.0), tmp_path, "scene batch in --out out")
    return tmp_path / "batch.html"


def test_sizes_are_drawn_to_scale_and_failures_come_first(open_page: Callable[..., Page], report: Path) -> None:
    page = open_page(report)
    expect(page.get_by_role("heading", level=1)).to_have_text("2 of 3 files encoded, 1 failed")
    assert page.locator("h2").all_inner_texts() == ["Failed", "Before and after"]
    expect(page.locator("section").first.locator("tbody tr")).to_have_text([f"b.mkv{NAME} is short.3"])
    widths = page.locator("rect").evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)")
    assert widths == [120, 30, 60, 60]
    # The style holds, which the page's own policy could forbid.
    before, after = (page.locator(f"rect.{kind}").first for kind in ("before", "after"))
    expect(before).to_have_css("fill", "rgb(167, 174, 187)")
    expect(after).to_have_css("fill", "rgb(0, 114, 178)")
    assert page.locator("img").count() == 0


def test_the_page_follows_the_systems_colours_and_fits_a_telephone(
    open_page: Callable[..., Page], report: Path
) -> None:
    page = open_page(report, color_scheme="dark", viewport={"width": 390, "height": 700})
    expect(page.locator("body")).to_have_css("background-color", "rgb(20, 23, 28)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
