"""From made-up points to rows, documents, tables and figures."""

import json
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
from PIL import Image

from scene.errors import UsageError
from scene.evaluation.grid.grid import ClipEffect, Failure, Grid, Measured, Point, Timing
from scene.evaluation.grid.methods import NONE, Method, parse_method
from scene.evaluation.grid.prefilter import PrefilterEffect
from scene.evaluation.output import write_report
from scene.evaluation.report.figures import mean_curve, write_figures
from scene.evaluation.report.looks import COLOURS, colour_of, looks
from scene.evaluation.report.markdown import results_markdown, table_cells
from scene.evaluation.report.results import Report, frames_json, make_report, results_document, results_json
from scene.evaluation.report.summary import clip_rows, equal_crf_rows, mean_rows
from scene.evaluation.report.table import Cell, mark_best
from scene.evaluation.report.tables import bd_rate_table, clip_table, detail_table, effect_table, equal_crf_table
from scene.measure.cache import Measurement
from scene.measure.clip import Clip, Recipe
from scene.measure.encode import codec_run
from scene.metrics.scores import BD_METRICS, FRAME_METRICS, METRICS, Scores
from scene.video.ffmpeg import FFmpeg

RATES = {18: 1135.0, 22: 671.4, 26: 405.1, 30: 247.3, 34: 152.7}
SCORES = {18: 97.5, 22: 92.9, 26: 86.8, 30: 78.6, 34: 67.8}
CONTRAST = parse_method("contrast")
UNSHARP = parse_method("unsharp")
# As tuning makes them: one label, another setting for each codec.
TUNED_X264 = Method("contrast:tuned", "contrast:1.08", contrast=1.08, codecs=("x264",))
TUNED_X265 = Method("contrast:tuned", "contrast:1.12", contrast=1.12, codecs=("x265",))
FFMPEG = FFmpeg(Path("ffmpeg"), "9.0.2", "build")
EFFECT = PrefilterEffect(1.05, -6.4, 0.0012, 5.5, 4.4, 0.8, 0.01, None)


def clip(name: str) -> Clip:
    return Clip(Path(name), name, name, 0, Fraction(25), 1280, 720, 8, "bt709")


def curve(
    source: str, method: Method, scale: float = 1.0, lift: float = 0.0, codec: str = "x264", flicker: float | None = 1.0
) -> list[Point]:
    """Five points; rates times `scale`, every score plus `lift`."""
    run = codec_run(codec, crfs=tuple(RATES))
    return [
        Point(
            *(clip(source), method, run, crf, "1"),
            Measurement(
                # 50 frames at 25/s: two seconds.
                *(round(RATES[int(crf)] * scale * 1000 * 2 / 8), 640, 360, 8),
                replace(Scores(*[SCORES[int(crf)] + lift] * 9, frames=50), flicker=flicker),
                dict.fromkeys(FRAME_METRICS, (SCORES[int(crf)] + lift,) * 50),
            ),
        )
        for crf in run.crfs
    ]


def measured(*curves: list[Point], failures: tuple[Failure, ...] = (), **more: object) -> Measured:
    points = tuple(point for points in curves for point in points)
    return Measured(points, {"x264": "165", "x265": "4.3"}, failures, **more)  # type: ignore[arg-type]


def grid(result: Measured, *methods: Method, codecs: tuple[str, ...] = ("x264",)) -> Grid:
    clips = tuple({point.clip.name: point.clip for point in result.points}.values())
    runs = tuple(codec_run(codec, crfs=tuple(RATES)) for codec in codecs)
    return Grid(clips, Recipe(frames=50), (NONE, *methods), runs)


def report(
    result: Measured, *methods: Method, codecs: tuple[str, ...] = ("x264",), against: str | None = None
) -> Report:
    return make_report(grid(result, *methods, codecs=codecs), result, FFMPEG, command="scene evaluate", against=against)


def test_bd_quality_and_the_hull_stand_beside_bd_rate() -> None:
    rows = clip_rows(measured(curve("a", NONE), curve("a", CONTRAST, 1.0, 2.0)))
    assert [row.metric for row in rows] == list(BD_METRICS)
    for row in rows:
        assert row.bd_quality == pytest.approx(2.0)
        assert row.rate_overlap == 1.0
        assert row.percent is not None and row.percent < 0
        # The curve is concave, so that nothing lies below its hull.
        assert row.hull_percent == row.percent


def test_curves_without_common_scores_have_a_bd_quality_all_the_same() -> None:
    rows = clip_rows(measured(curve("a", NONE), curve("a", CONTRAST, 1.0, 80.0)))
    assert all(row.percent is None and row.bd_quality == pytest.approx(80) for row in rows)
    mean = mean_rows(rows)[0]
    assert (mean.percent, mean.clips, mean.bd_quality_clips) == (None, 0, 1)
    assert mean.bd_quality == pytest.approx(80)


def test_a_curve_of_which_every_point_failed_counts_among_the_clips() -> None:
    failures = tuple(Failure("b", "contrast", "x264", crf, "broken") for crf in RATES)
    result = measured(curve("a", NONE), curve("a", CONTRAST, 0.9), curve("b", NONE), failures=failures)
    (mean,) = (row for row in mean_rows(clip_rows(result)) if row.metric == "vmaf")
    assert (mean.clips, mean.of_clips) == (1, 2)
    assert "5 points could not be measured" in mean.note


def test_methods_that_share_a_label_are_told_apart_by_codec() -> None:
    result = measured(
        curve("a", NONE),
        curve("a", TUNED_X264, 0.9),
        curve("a", NONE, codec="x265"),
        curve("a", TUNED_X265, 0.8, codec="x265"),
    )
    document = results_document(report(result, TUNED_X264, TUNED_X265, codecs=("x264", "x265")))
    table = table_cells(bd_rate_table(document))
    assert [row[:2] for row in table[1:]] == [["x264", "contrast:tuned"], ["x265", "contrast:tuned"]]
    column = table[0].index("VMAF")
    assert [row[column] for row in table[1:]] == ["**-10.0 (-10.0)**", "**-20.0 (-20.0)**"]
    text = results_markdown(document)
    assert "contrast:tuned is contrast:1.08 with x264" in text
    assert "contrast:tuned is contrast:1.12 with x265" in text


def test_rate_at_equal_crf_is_a_geometric_mean_and_scores_an_arithmetic_one() -> None:
    test = [replace(p, measurement=replace(p.measurement, bytes=p.measurement.bytes * 2)) for p in curve("a", CONTRAST)]
    test[0] = curve("a", CONTRAST, 0.5, 10.0)[0]
    clip_row, mean = equal_crf_rows(measured(curve("a", NONE), test))
    assert (clip_row.clip, mean.clip) == ("a", None)
    assert clip_row.rate_percent == pytest.approx(100 * (math.prod([0.5, 2, 2, 2, 2]) ** 0.2 - 1), abs=0.01)
    assert set(clip_row.changes) == {metric.name for metric in METRICS}
    assert clip_row.changes["vmaf"] == pytest.approx(2.0)


def test_equal_crf_averages_over_clips_and_leaves_out_what_is_not_defined() -> None:
    result = measured(
        *(curve("a", NONE), curve("a", CONTRAST, 1.1, 1.0, flicker=1.5)),
        *(curve("b", NONE, flicker=None), curve("b", CONTRAST, 1.3, 3.0, flicker=None)),
        # A clip of which no CRF is common does not count.
        *(curve("c", NONE)[:2], curve("c", CONTRAST, 9.0, 9.0)[2:]),
    )
    rows = {row.clip: row for row in equal_crf_rows(result)}
    assert set(rows) == {"a", "b", None}
    assert rows[None].rate_percent == pytest.approx(20, abs=0.01)
    assert rows[None].changes["vmaf"] == pytest.approx(2)
    assert rows["b"].changes["flicker"] is None
    assert rows[None].changes["flicker"] == pytest.approx(0.5)


def test_a_second_anchor_compares_methods_directly() -> None:
    result = measured(curve("a", NONE), curve("a", CONTRAST, 0.9), curve("a", UNSHARP, 0.81))
    document = results_document(report(result, CONTRAST, UNSHARP, against="contrast"))
    direct = [row for row in document["bd_rate"] if row["anchor"] == "contrast"]
    assert {row["method"] for row in direct} == {"unsharp"}
    assert {row["clip"] for row in direct} == {"a", "mean"}
    assert all(row["percent"] == pytest.approx(-10, abs=0.01) for row in direct)
    # The table against codec only does not change.
    assert len(table_cells(bd_rate_table(document))) == 3
    assert "## Against contrast" in results_markdown(document)
    with pytest.raises(UsageError, match="asconvsr"):
        report(result, CONTRAST, against="asconvsr")


def test_a_second_anchor_has_rows_only_where_it_was_measured() -> None:
    result = measured(
        *(curve("a", NONE), curve("a", TUNED_X264, 0.9), curve("a", CONTRAST, 0.8)),
        *(curve("a", NONE, codec="x265"), curve("a", CONTRAST, 0.8, codec="x265")),
    )
    rows = clip_rows(result, anchor="contrast:tuned")
    assert {row.codec for row in rows} == {"x264"}


def test_the_document_says_all_that_repeats_and_explains_it() -> None:
    result = measured(
        curve("a", NONE, flicker=None),
        curve("a", TUNED_X264, 0.9),
        effects=(ClipEffect(clip("a"), TUNED_X264, EFFECT),),
        timing=Timing(10.0, 15.0, 4.0, 2, 10),
    )
    made = report(result, TUNED_X264)
    document = json.loads(results_json(made))
    assert document["format"] == 1
    assert document["environment"]["recipe"] == {"frames": 50, "halve_above": None, "gop_seconds": 2}
    (codec,) = document["environment"]["codecs"]
    assert (codec["version"], codec["preset"], codec["quality"]) == ("165", "medium", "CRF")
    assert codec["crf"] == list(RATES)
    assert codec["encoder_args"] == "threads=1:keyint={gop}"
    assert document["environment"]["pyav"] == av.__version__
    assert document["points"][0]["encoder_args"] == "threads=1:keyint=50"
    assert "x264 165: preset medium, CRF 18, 22, 26, 30, 34, GOP 2 s, encoder\\_args threads=1:keyint=50" in (
        results_markdown(document)
    )
    assert document["environment"]["methods"][1]["codecs"] == ["x264"]
    assert document["points"][0]["flicker"] is None
    assert document["points"][5]["xpsnr_y"] == 97.5
    assert document["treatments"] == [
        {"clip": "a", "method": "contrast:tuned", "codecs": ["x264"], "gain": 1.05, "offset": -6.4, "clipped": 0.0012}
        | {"vmaf_gain": 5.5, "affine_gain": 4.4, "affine_share": 0.8, "cambi": 0.01, "flicker": None}
    ]
    assert document["timing"]["jobs"] == 2
    for row in document["equal_crf"]:
        assert {"clip", "codec", "method", "anchor", "rate_percent", "vmaf", "flicker"} <= set(row)
    assert "10 points were measured in 10 s by 2 workers, 95%" in results_markdown(results_document(made))

    frames = json.loads(frames_json(made))
    assert frames["format"] == 1
    assert len(frames["frames"]) == len(document["points"])
    assert frames["frames"][1]["crf"] == 22
    assert frames["frames"][1]["scores"]["vmaf_neg"] == [92.9] * 50


def test_the_tables_show_what_the_rows_hold() -> None:
    result = measured(
        *(curve("a", NONE), curve("a", CONTRAST, 0.9), curve("a", UNSHARP, 0.7)),
        *(curve("b", NONE), curve("b", CONTRAST, 0.8), curve("b", UNSHARP, 1.0, 80.0)),
        effects=(
            ClipEffect(clip("a"), CONTRAST, EFFECT),
            ClipEffect(clip("b"), CONTRAST, msgspec.structs.replace(EFFECT, affine_gain_share=None, flicker=0.2)),
        ),
    )
    document = results_document(report(result, CONTRAST, UNSHARP))
    table = table_cells(bd_rate_table(document))
    assert table[0] == ["Codec", "Method", "MS-SSIM", "VMAF", "VMAF NEG", "VMAF v1", "PSNR", "XPSNR"]
    # Bold goes to the method that every clip counts in, however low the other.
    assert table[1] == ["x264", "contrast", *["**-15.0 (-10.0)**"] * 6]
    assert table[2] == ["x264", "unsharp", *["-30.0 (-30.0) \\[1/2\\]"] * 6]
    assert table_cells(detail_table(document))[2][2:] == ["-30.0 \\[1/2\\]", "+42.60", "-30.0 \\[1/2\\]", "+42.60"]
    crf_row = dict(zip(*(table_cells(equal_crf_table(document))[i] for i in (0, 2)), strict=True))
    assert (crf_row["rate, %"], crf_row["VMAF"], crf_row["PSNR, dB"], crf_row["flicker"]) == (
        *("-15.0", "+40.00", "+40.00"),
        "+0.000",
    )
    assert table_cells(effect_table(document))[1] == [
        *("contrast", "1.050", "-6.4", "0.12", "+5.5", "+4.4", "80 \\[1/2\\]", "+0.01", "0.200 \\[1/2\\]")
    ]
    text = results_markdown(document)
    counts = ", ".join(f"{name} 1 of 2" for name in ("VMAF", "VMAF NEG", "VMAF v1", "MS-SSIM", "PSNR", "XPSNR"))
    assert f"- x264, unsharp, clips without a value: {counts} (no overlapping quality interval)" in text
    assert "of the 18 per-clip values are defined" in text


def test_the_best_is_the_lowest_of_those_that_most_clips_count_in() -> None:
    def best(*cells: Cell | None, highest: bool = False) -> list[bool]:
        return [cell is not None and cell.best for cell in mark_best(cells, highest=highest)]

    assert best(Cell(-1.0), Cell(-2.0), None, Cell(None)) == [False, True, False, False]
    assert best(Cell(-1.0), Cell(-2.0), highest=True) == [True, False]
    # What looks the same is equally good.
    assert best(Cell(-2.04), Cell(-1.96), Cell(-1.94)) == [True, True, False]
    assert best(Cell(-9.0, clips=1, of_clips=3), Cell(-2.0, clips=2, of_clips=3)) == [False, True]
    assert best(Cell(None), None) == [False, False]


def test_a_clips_table_marks_the_best_method_of_each_clip() -> None:
    result = measured(
        *(curve("a", NONE), curve("a", CONTRAST, 0.9), curve("a", UNSHARP, 0.8)),
        *(curve("b", NONE), curve("b", CONTRAST, 0.7), curve("b", UNSHARP, 1.0, 80.0)),
    )
    document = results_document(report(result, CONTRAST, UNSHARP))
    vmaf = next(metric for metric in METRICS if metric.name == "vmaf")
    assert table_cells(clip_table(document, "x264", vmaf, "percent")) == [
        ["Clip", "contrast", "unsharp"],
        ["a", "-10.0", "**-20.0**"],
        ["b", "**-30.0**", "N/A"],
    ]
    assert table_cells(clip_table(document, "x264", vmaf, "bd_quality"))[2][2] == "**+80.00**"
    assert clip_table(document, "x265", vmaf, "percent").rows == ()


def test_nothing_defined_is_said_and_not_shown_as_a_number() -> None:
    result = measured(curve("a", NONE), curve("a", CONTRAST, 1.0, 80.0))
    document = results_document(report(result, CONTRAST))
    assert table_cells(bd_rate_table(document))[1][2:] == ["N/A"] * 6
    assert table_cells(detail_table(document))[1][2:] == ["N/A", "+80.00"] * 2


def test_a_document_without_curves_shows_its_points() -> None:
    document = results_document(report(measured(curve("a_b.mp4", NONE))))
    text = results_markdown(document)
    assert "| a\\_b.mp4 | x264 | none | 18 | 1135.0 | 97.5000 | 97.50 |" in text
    assert "BD-rate" not in text


def test_a_document_of_before_still_shows() -> None:
    result = measured(curve("a", NONE), curve("a", CONTRAST, 0.9))
    document = results_document(report(result, CONTRAST))
    for name in ("equal_crf", "treatments", "timing"):
        del document[name]
    document["bd_rate"] = [row for row in document["bd_rate"] if row["metric"] != "xpsnr_y"]
    for row in document["bd_rate"]:
        for name in ("hull_percent", "bd_quality", "rate_overlap", "rate_note", "bd_quality_clips"):
            row.pop(name, None)
    for method in document["environment"]["methods"]:
        del method["codecs"], method["parameters"]
    for codec in document["environment"]["codecs"]:
        del codec["quality"], codec["encoder_args"]
    del document["environment"]["pyav"]
    text = results_markdown(document)
    assert "| x264 | contrast | **-10.0 (-10.0)** |" in text
    assert "XPSNR" not in text
    assert "##" not in text.replace("## How it was measured", "")


def test_a_figure_of_several_clips_gives_each_the_same_weight(tmp_path: Path) -> None:
    near, far = curve("a", NONE), curve("b", NONE, 10.0, lift=2.0)
    document = results_document(report(measured(near, far)))
    both = document["points"]
    rates, scores = mean_curve(both, both, "vmaf")
    alone, _ = mean_curve(both[:5], both[:5], "vmaf")
    mean_rate = math.prod(RATES.values()) ** 0.2
    assert rates == pytest.approx([rate / mean_rate for rate in RATES.values()], rel=1e-3)
    assert scores == pytest.approx([score + 1 for score in SCORES.values()])
    assert alone == pytest.approx(list(RATES.values()), rel=1e-3)
    assert [path.name for path in write_figures(document, tmp_path)] == ["rd_x264.png"]


def test_a_method_has_one_colour_wherever_it_is_drawn(tmp_path: Path) -> None:
    document = results_document(report(measured(curve("a", NONE), curve("a", CONTRAST, 0.9)), CONTRAST))
    document["environment"]["methods"].append({"method": "scene", "identity": "network:f0b3:strength=1:v1"})
    document["points"] += [{**point, "method": "scene"} for point in document["points"] if point["method"] == "none"]
    # The network first, whatever the order of the evaluation.
    assert looks(document) == {"none": 0, "scene": 1, "contrast": 2}
    (path,) = write_figures(document, tmp_path)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    for method in ("scene", "contrast"):
        colour = tuple(bytes.fromhex(COLOURS[looks(document)[method]][0][1:]))
        assert (pixels == colour).all(axis=2).sum() > 200, method


def test_of_many_methods_some_share_a_colour_and_none_has_the_codecs() -> None:
    names = [f"m{number}" for number in range(20)]
    order = looks({"environment": {"methods": [{"method": name, "identity": name} for name in ["none", *names]]}})
    assert [order[name] for name in names] == list(range(1, 21))
    assert [colour_of(look) for look in (0, 1, 8, 9, 17)] == [0, 1, 8, 1, 1]
    assert len(set(COLOURS)) == 9


def test_a_report_leaves_its_files(tmp_path: Path) -> None:
    made = report(measured(curve("a", NONE), curve("a", CONTRAST, 0.9)), CONTRAST)
    folder = tmp_path / "new" / "folder"
    written = write_report(made, folder)
    names = ["results.json", "frames.json", "table.md", "plots/rd_x264.png"]
    assert [str(path.relative_to(folder)) for path in written] == names
    assert all(path.stat().st_size > 0 for path in written)
    assert (folder / "table.md").read_text() == results_markdown(results_document(made))
