"""The report in a real browser: it draws, it answers to mouse and keyboard, and no name becomes markup."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_results import (
    CLIPS,
    CODECS,
    CRFS,
    FRAMES,
    HOSTILE,
    METHODS,
    MOVING_LUMA,
    UNDEFINED_NOTE,
    comparison,
    comparison_frames,
    frames,
    results,
    side_by_sides,
)
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from scene.evaluation.page import page_html
from scene.evaluation.report.looks import COLOURS, looks
from scene.evaluation.visuals.region import region_tint

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page_html(results(), frames(), side_by_sides()), encoding="utf-8")
    return path


@pytest.fixture
def page(open_page: Open, report: Path) -> Page:
    return open_page(report)


def choose(section: Locator, label: str, option: str) -> None:
    section.get_by_label(label, exact=True).select_option(label=option)


def centre(locator: Locator) -> tuple[float, float]:
    """Where it is once it has come to rest: a chart that is still laid out is drawn anew, and its parts with it."""
    before = None
    for _ in range(100):
        locator.evaluate("element => element.scrollIntoView({ block: 'nearest', behavior: 'instant' })")
        box = locator.bounding_box()
        if box is not None and box == before:
            return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        before = box
        locator.page.wait_for_timeout(50)
    raise AssertionError(f"{locator} does not come to rest")


def test_summary_shows_means_the_best_in_bold_and_why_a_cell_is_undefined(page: Page) -> None:
    table = page.locator("#summary .scroll:has-text('Mean BD-rate')")
    first = table.locator("tbody").first.get_by_role("row").filter(has_text="scene")
    cells = first.get_by_role("cell")
    # -13 and -4 of the two clips for VMAF NEG, which comes first.
    expect(cells.nth(0)).to_contain_text("−8.5")
    expect(cells.nth(0)).to_contain_text("worst −4.0")
    expect(cells.nth(0)).to_contain_text("Δ +1.50")
    expect(cells.nth(0).locator("b")).to_have_text("−8.5")
    assert table.locator("tbody").first.locator("b").count() == 6

    undefined = table.get_by_role("button", name="N/A")
    expect(undefined).to_have_count(1)
    undefined.hover()
    expect(page.get_by_role("tooltip")).to_have_text(f"{HOSTILE}: {UNDEFINED_NOTE}")
    page.mouse.move(0, 0)
    expect(page.get_by_role("tooltip")).to_be_hidden()
    undefined.focus()
    expect(page.get_by_role("tooltip")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("tooltip")).to_be_hidden()


def test_it_opens_with_what_was_won_and_what_to_use_and_where_not(open_page: Open, tmp_path: Path) -> None:
    document = results()
    for row in document["bd_rate"]:
        if (row["codec"], row["method"], row["clip"], row["metric"]) == ("svtav1", "scene", HOSTILE, "ms_ssim"):
            row["percent"] = 3.25
    path = tmp_path / "report.html"
    path.write_text(page_html(document, frames(), side_by_sides()), encoding="utf-8")
    page = open_page(path)
    first, second = page.locator(".verdict").all()
    expect(first.locator(".codec")).to_have_text("x264, scene")
    # -13 and -4 of the two clips, -15 and -6, -16 and -7.
    won = "At equal VMAF NEG these 2 clips need 8.5 % fewer bits on average; MS-SSIM −10.5 %, PSNR −11.5 %."
    expect(first.locator(".won")).to_have_text(won)
    expect(first.locator(".advice")).to_have_text("With x264, use scene.")
    expect(first.locator("li")).to_have_count(0)
    expect(second.locator(".advice")).to_have_text("With svtav1, use scene;")
    expect(second.locator("li")).to_have_text(f"{HOSTILE}: leave it alone (at equal MS-SSIM +3.2 % bits)")
    # Then the pictures, then figures.
    assert page.locator("main > section").evaluate_all("all => all.map(s => s.id)")[:2] == ["look", "summary"]


def test_a_value_of_some_clips_is_marked_and_not_bold(page: Page) -> None:
    row = (
        page.locator("#summary .scroll:has-text('Mean BD-rate') tbody")
        .nth(1)
        .get_by_role("row")
        .filter(has_text="scene")
    )
    psnr = row.get_by_role("cell").nth(4)
    # The lowest of its column, but of one clip.
    expect(psnr).to_contain_text("−16.0 [1/2]")
    assert psnr.locator("b").count() == 0


def test_median_and_worst_are_a_choice(page: Page) -> None:
    choose(page.locator("#summary"), "Show", "Worst clip")
    expect(page.locator("#summary .scroll:has-text('Mean BD-rate')")).to_be_hidden()
    table = page.locator("#summary .scroll:has-text('Worst clip')")
    cell = table.locator("tbody").first.get_by_role("row").filter(has_text="scene").get_by_role("cell").first
    expect(cell).to_contain_text("−4.0")
    expect(cell).to_contain_text(HOSTILE)


def test_tables_by_clip_at_equal_crf_and_of_effects(page: Page) -> None:
    clips = page.locator("#clips")
    choose(clips, "Metric", "PSNR (dB)")
    row = clips.get_by_role("row").filter(has_text="pan.mp4")
    expect(row.get_by_role("cell")).to_have_text(["−8.0", "N/A", "−16.0"])
    row.get_by_role("button", name="N/A").click()
    expect(page.get_by_role("tooltip")).to_have_text(UNDEFINED_NOTE)

    crf = page.locator("#crf").get_by_role("row").filter(has_text="scene").get_by_role("cell")
    # Of both codecs.
    expect(crf).to_have_text(["+2.0", "+1.00", "+4.00", "+0.50", "+0.0020", "−1.00", "−0.80", "+0.10"] * 2)
    effect = page.locator("#effect").get_by_role("row").filter(has_text="contrast:tuned (x264)")
    expect(effect.get_by_role("cell")).to_have_text(["1.080", "−10.2", "1.20", "+6.0", "+5.4", "90", "+0.02", "N/A"])


def test_rate_plot_has_every_point_and_a_readout(page: Page) -> None:
    section = page.locator("#rate")
    choose(section, "Clip", "pan.mp4")
    expect(section.locator(".chart .curve")).to_have_count(len(METHODS))
    expect(section.locator(".chart .marker")).to_have_count(len(METHODS) * len(CRFS))
    page.mouse.move(*centre(section.locator(".chart .look0 .marker").nth(2)))
    # 3200 kbit/s halved twice; 95 - 18.
    expect(section.locator(".tip div")).to_have_text(["x264 only", "CRF 32", "800 kbit/s", "VMAF NEG 77.00"])
    choose(section, "Metric", "MS-SSIM")
    page.mouse.move(*centre(section.locator(".chart .look0 .marker").nth(0)))
    expect(section.locator(".tip div")).to_have_text(["x264 only", "CRF 20", "3,200 kbit/s", "MS-SSIM 0.9950"])


def test_rate_plot_of_all_clips_is_their_mean_at_equal_crf(page: Page) -> None:
    section = page.locator("#rate")
    expect(section.locator(".chart .marker")).to_have_count(len(METHODS) * len(CRFS))
    page.mouse.move(*centre(section.locator(".chart .look0 .marker").nth(2)))
    # The middle of five rates in powers of two is their geometric mean.
    expect(section.locator(".tip")).to_contain_text("1.000 × the clip's mean rate")


def test_plots_are_read_with_the_keyboard(page: Page) -> None:
    section = page.locator("#rate")
    choose(section, "Clip", "pan.mp4")
    status = section.get_by_role("status")
    section.get_by_label("Metric").focus()
    page.keyboard.press("Tab")
    expect(section.locator(".chart")).to_be_focused()
    expect(status).to_have_text("x264 only, CRF 20, 3,200 kbit/s, VMAF NEG 95.00")
    page.keyboard.press("ArrowRight")
    expect(status).to_have_text("x264 only, CRF 26, 1,600 kbit/s, VMAF NEG 86.00")
    page.keyboard.press("ArrowDown")
    expect(status).to_have_text("contrast:tuned, CRF 26, 1,632 kbit/s, VMAF NEG 86.50")
    page.keyboard.press("End")
    expect(status).to_have_text("contrast:tuned, CRF 44, 204 kbit/s, VMAF NEG 59.50")


def test_legend_hides_a_method_in_all_plots(page: Page) -> None:
    button = page.locator("#rate").get_by_role("button", name="unsharp")
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    expect(button).to_be_focused()
    for section in ("#rate", "#frames"):
        expect(page.locator(f"{section} .chart .curve")).to_have_count(len(METHODS) - 1)
    button.click()
    expect(page.locator("#rate .chart .curve")).to_have_count(len(METHODS))


def test_frames_are_those_of_the_closest_bitrate(page: Page) -> None:
    section = page.locator("#frames")
    expect(section.locator(".chart .curve")).to_have_count(len(METHODS))
    expect(section.get_by_role("button", name="scene")).to_have_text("scene · CRF 32 · 848 kbit/s")
    section.get_by_label("Metric").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    chart = section.locator(".chart")
    expect(chart).to_be_focused()
    page.keyboard.press("ArrowRight")
    # 77 and half a point more for every method, and 0.1 for an odd frame.
    expect(section.locator(".tip div")).to_have_text(
        ["Frame 1", "scene 78.60", "unsharp 78.10", "contrast:tuned 77.60", "x264 only 77.10"]
    )
    page.keyboard.press("End")
    expect(section.locator(".tip-head")).to_have_text(f"Frame {FRAMES - 1}")
    choose(section, "CRF of the codec alone", "20")
    expect(section.get_by_role("button", name="scene")).to_contain_text("CRF 20")


def test_divider_moves_by_mouse_and_by_keys(page: Page) -> None:
    look = page.locator("#look")
    slider = look.get_by_role("slider")
    over = look.locator(".over")
    expect(slider).to_have_attribute("aria-valuenow", "50")
    x, y = centre(look.locator(".stage"))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 80, y)
    page.mouse.up()
    # The stage is 320 pixels wide.
    expect(slider).to_have_attribute("aria-valuenow", "25")
    expect(over).to_have_css("clip-path", "inset(0px 75% 0px 0px)")
    page.mouse.move(x, y)
    expect(slider).to_have_attribute("aria-valuenow", "25")
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuenow", "27")
    page.keyboard.press("Home")
    expect(over).to_have_css("clip-path", "inset(0px 100% 0px 0px)")
    page.keyboard.press("End")
    expect(over).to_have_css("clip-path", "inset(0px 0% 0px 0px)")
    expect(slider).to_have_attribute("aria-valuetext", "100 % x264 only")


def test_divider_shows_the_chosen_versions(page: Page) -> None:
    look = page.locator("#look")
    expect(look.locator(".captions .left")).to_have_text("Left: x264 only none at 500 kbit/s")
    expect(look.locator(".captions .right")).to_have_text("Right: scene scene at 500 kbit/s")
    choose(look, "Left", "source")
    expect(look.locator(".captions .left")).to_contain_text("source at 500 kbit/s")
    choose(look, "Picture", f"{HOSTILE} · x264 · frame 7")
    expect(look.locator(".over")).to_have_attribute("alt", f"Left: x264 only, frame 7 of {HOSTILE}")
    sizes = look.locator("img").evaluate_all("images => images.map(i => [i.complete, i.naturalWidth])")
    assert sizes == [[True, 320], [True, 320], [True, 80], [True, 80], [True, 80]]


def test_an_enlarged_picture_shows_its_marked_detail(page: Page) -> None:
    look = page.locator("#look")
    choose(look, "Size", "400 %")
    viewport = look.locator(".viewport")
    # The detail's centre is at 120 of 320 pixels; the box is narrower than the picture.
    expect(look.get_by_role("slider")).to_have_attribute("aria-valuenow", "38")
    left, width = viewport.evaluate("box => [box.scrollLeft, box.clientWidth]")
    assert abs(left + width / 2 - max(480, width / 2)) <= 1
    expect(look.locator(".stage")).to_have_css("width", "1280px")
    expect(look.locator(".under")).to_have_css("image-rendering", "pixelated")


def saved(page: Page, button: Locator, folder: Path) -> Path:
    with page.expect_download() as download:
        button.click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_the_region_is_tinted_where_there_is_one(open_page: Open, tmp_path: Path) -> None:
    mask = np.zeros((240, 320), np.uint8)
    mask[60:120, 80:160] = 255
    path = tmp_path / "report.html"
    path.write_text(page_html(results(), frames(), side_by_sides(), [region_tint(mask), None]), encoding="utf-8")
    page = open_page(path)
    look = page.locator("#look")
    tint, wish = look.locator(".stage .region"), look.get_by_label("Tint the region")
    expect(tint).to_be_hidden()
    wish.check()
    expect(tint).to_be_visible()
    # Of the red of the codec alone, inside and outside the tint.
    stage = Image.open(io.BytesIO(look.locator(".stage").screenshot())).convert("RGB")
    assert stage.getpixel((stage.width // 4 + 4, stage.height // 3))[1] > stage.getpixel((8, stage.height // 3))[1] + 15
    # The divider is still there to be dragged.
    x, y = centre(look.locator(".stage"))
    page.mouse.click(x / 2, y)
    expect(look.locator(".handle")).not_to_have_attribute("aria-valuenow", "50")
    look.get_by_label("Picture", exact=True).select_option(index=1)
    expect(wish).to_be_hidden()
    expect(tint).to_be_hidden()


def test_scores_by_region_have_a_section_of_their_own(open_page: Open, report: Path, tmp_path: Path) -> None:
    expect(open_page(report).locator("#regions")).to_have_count(0)
    document = results()
    for row in [row for row in document["bd_rate"] if row["metric"] == "vmaf_neg"]:
        document["bd_rate"].append({**row, "metric": "ssim_inside"})
        document["bd_rate"].append({**row, "metric": "psnr_inside"})
    path = tmp_path / "regions.html"
    path.write_text(page_html(document, frames(), side_by_sides()), encoding="utf-8")
    section = open_page(path).locator("#regions")
    first = section.locator(".scroll:visible tbody").first.get_by_role("row").filter(has_text="scene")
    expect(first.get_by_role("cell").first).to_contain_text("−8.5")
    choose(section, "Show", "Worst clip")
    expect(section.locator(".scroll:visible tbody").first).to_contain_text("−4.0")


def test_a_table_is_saved_as_csv_as_it_is_shown(page: Page, tmp_path: Path) -> None:
    table = page.locator("#summary .scroll:has-text('Mean BD-rate')")
    path = saved(page, table.get_by_role("button", name="CSV"), tmp_path)
    assert path.name == "Mean-BD-rate-over-clips.csv"
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    assert rows[0] == ["Codec", "Method", "VMAF NEG", "VMAF", "VMAF v1", "MS-SSIM", "PSNR", "XPSNR"]
    assert [row[:2] for row in rows[1:]] == [[codec, method] for codec in CODECS for method in METHODS[1:]]
    assert rows[3][2:] == ["-8.5", "-7.5", "-9.5", "-10.5", "-11.5", "-12.5"]
    assert rows[2][6] == "N/A" and rows[6][6] == "-16.0 [1/2]"


def test_points_are_saved_with_every_digit_and_no_name_is_a_formula(open_page: Open, tmp_path: Path) -> None:
    document = results()
    for entry in document["points"]:
        entry["clip"] = "=1+2, or so" if entry["clip"] == HOSTILE else entry["clip"]
    report = tmp_path / "report.html"
    report.write_text(page_html(document, {}, []), encoding="utf-8")
    page = open_page(report)
    path = saved(page, page.locator("#rate").get_by_role("button", name="Save every point as CSV"), tmp_path)
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    assert len(rows) == len(document["points"])
    assert {row["clip"] for row in rows} == {"pan.mp4", "'=1+2, or so"}
    for row, entry in zip(rows, document["points"], strict=True):
        assert float(row["ms_ssim"]) == entry["ms_ssim"] and float(row["kbps"]) == entry["kbps"]
    # Nothing stands still in this clip.
    assert rows[0]["flicker"] == ""


def test_a_plot_is_saved_as_png_in_the_colours_of_the_page(page: Page, tmp_path: Path) -> None:
    section = page.locator("#rate")
    choose(section, "Clip", "pan.mp4")
    section.get_by_role("button", name="unsharp").click()
    path = saved(page, section.get_by_role("button", name="Save the plot as PNG"), tmp_path)
    assert path.name == "pan-mp4-x264-VMAF-NEG.png"
    shown = section.locator(".chart").bounding_box()
    assert shown is not None
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[1] == round(2 * shown["width"]) and pixels.shape[0] > 2 * shown["height"]
    for method, number in looks(results()).items():
        colour = tuple(bytes.fromhex(COLOURS[number][0][1:]))
        count = int((pixels == colour).all(axis=2).sum())
        assert count == 0 if method == "unsharp" else count > 300, method


def test_vmaf_is_clipped_where_it_is_shown_and_says_so(open_page: Open, tmp_path: Path) -> None:
    document, scores = results(), frames()
    for entry in document["points"]:
        entry["vmaf"] += 20
        entry["vmaf_clipped"] = min(100, entry["vmaf"])
    for entry in scores["frames"]:
        entry["scores"]["vmaf"] = [score + 20 for score in entry["scores"]["vmaf"]]
    report = tmp_path / "report.html"
    report.write_text(page_html(document, scores, []), encoding="utf-8")
    page = open_page(report)
    rate, by_frame = page.locator("#rate"), page.locator("#frames")
    choose(rate, "Clip", "pan.mp4")
    choose(rate, "Metric", "VMAF clipped at 100")
    page.mouse.move(*centre(rate.locator(".chart .look0 .marker").nth(0)))
    expect(rate.locator(".tip")).to_contain_text("VMAF clipped at 100 100.00")
    choose(rate, "Metric", "VMAF not clipped, as BD-rates take it")
    page.mouse.move(*centre(rate.locator(".chart .look0 .marker").nth(0)))
    expect(rate.locator(".tip")).to_contain_text("116.00")
    choose(by_frame, "Metric", "VMAF clipped at 100")
    choose(by_frame, "CRF of the codec alone", "20")
    by_frame.locator(".chart").focus()
    page.keyboard.press("ArrowRight")
    expect(by_frame.locator(".tip")).to_contain_text("x264 only 100.00")


def brightness(page: Page, place: int = 0) -> float:
    """Of what a canvas of the moving comparison shows, in 8-bit codes of RGB."""
    shot = page.locator("#look .moving canvas").nth(place).screenshot()
    with Image.open(io.BytesIO(shot)) as image:
        return float(np.asarray(image.convert("L"))[20:-20, 20:-20].mean())


def stopped(stage: Locator) -> int:
    """The number of the frame that is shown, once nothing moves any more."""
    expect(stage).to_have_attribute("data-still", "true")
    return int(stage.get_attribute("data-frame") or "")


def rgb(luma: float) -> float:
    return (luma - 16) * 255 / 219


def test_versions_move_in_step_and_are_gone_through_frame_by_frame(page: Page) -> None:
    look = page.locator("#look")
    stage = look.get_by_role("group", name="Moving comparison")
    stage.scroll_into_view_if_needed()
    # Three times 160 pixels have room beside one another.
    expect(stage.locator("canvas")).to_have_count(3)
    expect(stage.locator("figcaption")).to_have_text(["source", "x264 only", "scene"])
    expect(look.get_by_role("button", name="Pause")).to_be_visible()
    numbers = {stage.get_attribute("data-frame") for _ in range(20) if page.wait_for_timeout(60) is None}
    assert len(numbers) > 3
    stage.focus()
    page.keyboard.press("Space")
    expect(look.get_by_role("button", name="Play")).to_be_visible()
    for key, step in (("ArrowRight", 1), ("ArrowRight", 1), ("ArrowLeft", -1)):
        number = (stopped(stage) + step) % FRAMES
        page.keyboard.press(key)
        expect(stage).to_have_attribute("data-frame", str(number))
        for place, luma in enumerate(MOVING_LUMA.values()):
            assert abs(brightness(page, place) - rgb(luma + 4 * number)) < 4
    expect(look.locator(".moving-label")).to_have_text(f"frame {number}")
    page.keyboard.down("f")
    expect(stage.locator("figcaption")).to_have_text(["source", "x264 only", "x264 only"])
    assert abs(brightness(page, 2) - rgb(60 + 4 * number)) < 4
    page.keyboard.up("f")
    expect(stage.locator("figcaption")).to_have_text(["source", "x264 only", "scene"])


def test_a_held_key_or_finger_shows_the_other_version(page: Page) -> None:
    look = page.locator("#look")
    choose(look, "Show", "one, to flip")
    stage = look.get_by_role("group", name="Moving comparison")
    stage.scroll_into_view_if_needed()
    stage.focus()
    look.get_by_role("button", name="Pause").click()
    number = stopped(stage)
    label = look.locator(".moving-label")
    expect(label).to_have_text(f"scene · frame {number}")
    assert abs(brightness(page) - rgb(90 + 4 * number)) < 4
    page.keyboard.down("f")
    expect(label).to_have_text(f"x264 only · frame {number}")
    assert abs(brightness(page) - rgb(60 + 4 * number)) < 4
    page.keyboard.up("f")
    expect(label).to_have_text(f"scene · frame {number}")
    choose(look, "While held", "source")
    page.mouse.move(*centre(stage))
    page.mouse.down()
    expect(label).to_have_text(f"source · frame {number}")
    page.mouse.up()
    expect(label).to_have_text(f"scene · frame {number}")


def test_the_difference_of_two_versions_is_enlarged(page: Page) -> None:
    look = page.locator("#look")
    choose(look, "Show", "the difference, times 4")
    stage = look.get_by_role("group", name="Moving comparison")
    stage.scroll_into_view_if_needed()
    look.get_by_role("button", name="Pause").click()
    stopped(stage)
    # 30 codes of luma are 35 of RGB.
    assert abs(brightness(page) - 4 * rgb(46)) < 12
    choose(look, "While held", "scene")
    assert brightness(page) < 2
    choose(look, "While held", "source")
    # 10 codes of luma are 11.6 of RGB.
    assert abs(brightness(page) - 4 * rgb(26)) < 12
    choose(look, "Picture", f"{HOSTILE} · x264 · frame 7")
    expect(look.locator(".in-motion")).to_be_hidden()


def test_an_enlarged_moving_picture_shows_its_middle(open_page: Open, report: Path) -> None:
    page = open_page(report, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    look = page.locator("#look")
    # No room for three beside one another.
    expect(look.locator(".moving canvas")).to_have_count(1)
    choose(look, "Enlarged", "400 %")
    expect(look.locator(".moving canvas")).to_have_css("width", "640px")
    expect(look.locator(".moving canvas")).to_have_css("image-rendering", "pixelated")
    left, width = look.locator(".moving-box").evaluate("box => [box.scrollLeft, box.clientWidth]")
    assert width < 390 and abs(left - (640 - width) / 2) <= 1
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_who_wants_less_motion_starts_it_himself(open_page: Open, report: Path) -> None:
    page = open_page(report, reduced_motion="reduce")
    look = page.locator("#look")
    look.get_by_role("group", name="Moving comparison").scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    expect(look.locator(".moving-label")).to_have_text("frame 0")
    look.get_by_role("button", name="Play").click()
    expect(look.locator(".moving-label")).not_to_have_text("frame 0")


def test_no_name_becomes_markup(page: Page) -> None:
    assert page.locator("img").count() == 5
    assert page.locator("script").count() == 5
    for section in ("#clips", "#rate", "#frames", "#look", "#repeat"):
        expect(page.locator(section)).to_contain_text(HOSTILE)
    expect(page.locator("#repeat")).to_contain_text("it <b>broke</b>")


def test_colours_follow_the_system_and_the_button(open_page: Open, report: Path) -> None:
    page = open_page(report, color_scheme="dark")
    body = page.locator("body")
    expect(body).to_have_css("background-color", "rgb(20, 23, 28)")
    button = page.get_by_role("button", name="Colours")
    button.click()
    expect(button).to_have_text("Colours: light")
    expect(body).to_have_css("background-color", "rgb(255, 255, 255)")
    button.click()
    expect(body).to_have_css("background-color", "rgb(20, 23, 28)")


def test_a_phone_does_not_scroll_sideways(open_page: Open, report: Path) -> None:
    page = open_page(report, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [360, 360]
    table = page.locator("#summary .scroll:has-text('Mean BD-rate')")
    assert table.evaluate("box => box.scrollWidth > box.clientWidth")
    marker = page.locator("#rate .chart .look0 .marker").nth(1)
    page.touchscreen.tap(*centre(marker))
    expect(page.locator("#rate .tip")).to_contain_text("CRF 26")
    page.touchscreen.tap(*centre(page.locator("#summary .note").first))
    expect(page.get_by_role("tooltip")).to_be_visible()


def test_every_control_is_reached_with_tab(page: Page) -> None:
    wanted = page.evaluate(
        "[...document.querySelectorAll('a, button, select, [tabindex]')].filter(e => e.checkVisibility()).length"
    )
    reached = []
    for _ in range(wanted):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    assert len(set(reached)) == wanted
    assert reached == sorted(reached)


def test_without_script_the_summary_is_there(open_page: Open, report: Path) -> None:
    page = open_page(report, java_script_enabled=False)
    expect(page.locator("#summary .scroll:has-text('Mean BD-rate')")).to_be_visible()
    expect(page.locator("#summary noscript p")).to_be_visible()
    expect(page.locator("#repeat")).to_contain_text("scene evaluate pan.mp4")


def test_a_comparison_of_files_shows_its_points(open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page_html(comparison(), comparison_frames(), []), encoding="utf-8")
    page = open_page(path)
    expect(page.get_by_role("heading", level=1)).to_have_text("Files compared with ref.y4m")
    row = page.locator("#summary").get_by_role("row").filter(has_text="a.mkv")
    expect(row.get_by_role("cell").nth(0)).to_have_text("h264")
    expect(row.get_by_role("cell").nth(2)).to_have_text("87.00")
    expect(page.locator(".won")).to_contain_text(f"{HOSTILE} has as many bits as a.mkv, and VMAF NEG +0.00")
    expect(page.locator("#rate .chart .marker")).to_have_count(2)
    expect(page.locator("#frames .chart .curve")).to_have_count(2)
    expect(page.locator("#clips")).to_be_hidden()
    expect(page.locator("#look")).to_be_hidden()
    assert page.locator("img").count() == 0


def test_documents_of_older_versions_and_empty_ones_render(open_page: Open, tmp_path: Path) -> None:
    older = {name: results()[name] for name in ("format", "environment", "points", "bd_rate", "failures")}
    for row in older["bd_rate"]:
        del row["bd_quality"]
    for number, document in enumerate((older, {})):
        path = tmp_path / f"{number}.html"
        path.write_text(page_html(document, {}, []), encoding="utf-8")
        page = open_page(path)
        expect(page.locator("#effect")).to_be_hidden()
        expect(page.locator("#repeat")).to_be_visible()
    expect(page.locator("#summary")).to_contain_text("There are no BD-rates")


def test_the_policy_forbids_everything_but_the_pages_own_script_and_style(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; img-src data:; media-src data:; style-src 'sha256-")
    assert "unsafe" not in policy[1]
    assert len(re.findall(r"<script\b", text)) == len(re.findall(r"</script>", text)) == 5
    assert CLIPS[1] not in text


def test_long_clips_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    from scene.evaluation.page import page as module

    monkeypatch.setattr(module, "_MOST_FRAME_SCORES", 12)
    thinned = module._thinned(comparison_frames())
    assert thinned["step"] == 2
    assert thinned["frames"][0]["scores"]["vmaf"] == [80.0, 82.0, 84.0, 86.0, 88.0, 90.0]
