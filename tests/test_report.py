"""The verb `report`, on runs whose files are written here by hand."""

import base64
import dataclasses
import html
import io
import json
import math
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from jeat_tf.attacks.gradient_masking import Finding, Masking
from jeat_tf.config.report import ReportConfig
from jeat_tf.config.store import to_json
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.files import write_json, write_text
from jeat_tf.core.flat import replace
from jeat_tf.core.records import Record, write_record
from jeat_tf.methods.guard_files import GuardEvent, write_events
from jeat_tf.report.collect import read_runs
from jeat_tf.report.lineage import lineage
from jeat_tf.report.published import side_by_side
from jeat_tf.report.run import report
from jeat_tf.report.summary import columns_of, summarise
from jeat_tf.report.tables import MARKER, best_of, cell_text, latex, markdown
from tests.made import attack_results, density_results, rating, row, sample_results, training

EVIL = "<script>alert(1)</script>"


def results(clean=49, pgd=40, weights="w", protocol="20 steps", rows=(), masking=None, net="net.keras"):
    shown = (row("clean", clean, 0.0), row("pgd20", pgd, protocol=protocol), *rows)
    return attack_results(shown, masking=masking, model=f"/runs/{net}", weights_sha256=weights)


def samples_json(agreement=0.9, distance=4.0):
    return sample_results(rating(agreement, distance), rating(0.1, 26.0), rating(0.99, 0.5))


def make_run(folder, *, train=None, evaluation=None, samples=None, history=None, **settings):
    write_text(folder / "config.json", to_json(replace(TrainConfig(), model_dir=str(folder), **settings)))
    files = {
        "evaluation/results.json": evaluation,
        "samples/samples.json": samples,
        "history.json": history,
    }
    for name, value in files.items():
        if isinstance(value, Record):
            write_record(str(folder / name), value)
        elif value:
            write_json(folder / name, value)
    if train is not False:
        (train or training()).write(str(folder))
    if samples:
        Image.fromarray(np.zeros((20, 20), np.uint8)).save(folder / "samples" / "grid.png")
    return folder


def rows_of(folder):
    methods, remarks = summarise(read_runs(str(folder))[0])
    return {method.name: method for method in methods}, remarks


def number(method, title):
    return next(value for column, value in method.values.items() if column.title == title)


def titles(method):
    return {column.title for column in method.values}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """JEAT with three seeds, JEM with one that has all there is, a run that did not finish, and a nasty name."""
    folder = tmp_path_factory.mktemp("runs")
    history = [{"epoch": i, "val_accuracy": 0.1 * i, "gap": 0.5} for i in (1, 2)]
    two_radii = [row("pgd20", 30, 0.2)]
    for seed, (clean, pgd) in enumerate([(47, 40), (48, 41), (49, 45)]):
        evaluated = results(clean, pgd, rows=two_radii)
        make_run(
            folder / f"jeat-{seed}",
            method="jeat",
            seed=seed,
            evaluation=evaluated,
            history=history,
            samples=samples_json(),
        )
    masking = Masking("suspected", (Finding("zero gradients", True, "half"),))
    event = GuardEvent(step=7, action="recover", reason="gap is 2000", value=2000.0, limit=1000.0, restored_step=3)
    jem = make_run(
        folder / "jem-0", method="jem", evaluation=results(masking=masking), samples=samples_json(0.8, 3.0),
        train=training(events=[event]),
    )  # fmt: skip
    for name, record in density_results(EVIL).items():
        write_record(str(jem / "evaluation" / name), record)
    make_run(folder / "jem-1", method="jem", seed=1, train=False, evaluation=results(1, 1))
    write_events(str(folder / "jem-1" / "guard.json"), [event])
    make_run(folder / "inner" / EVIL, method="standard", evaluation=results(50, 5))
    return folder


@pytest.fixture(scope="module")
def written(runs, tmp_path_factory):
    """What the verb returns, and the path of the page."""
    page = tmp_path_factory.mktemp("out") / "report.html"
    return report(ReportConfig(runs=str(runs), out=str(page))), page


class TestSummary:
    def test_seeds_are_averaged_by_the_sample_standard_deviation(self, runs):
        jeat = rows_of(runs)[0]["jeat"]
        clean = number(jeat, "clean")
        assert clean.mean == pytest.approx(96.0)
        assert clean.std == pytest.approx(2.0)
        assert clean.numbers == pytest.approx({0: 94.0, 1: 96.0, 2: 98.0})

    def test_one_seed_has_no_standard_deviation(self, runs):
        assert number(rows_of(runs)[0]["jem"], "clean").std is None

    def test_a_run_that_did_not_finish_is_shown_and_not_averaged(self, runs):
        jem = rows_of(runs)[0]["jem"]
        assert [run.name for run in jem.unfinished] == ["jem-1"]
        assert number(jem, "clean").mean == pytest.approx(98.0)
        assert jem.recoveries == {0: 1, 1: 1}

    def test_data_are_named_as_training_named_them_though_the_settings_give_a_folder(self, tmp_path):
        make_run(tmp_path / "jeat-0", train=training(dataset="digits"), dataset="/data/digits/1.0.0")
        assert rows_of(tmp_path)[0]["jeat"].dataset == "digits"

    def test_runs_with_other_settings_are_other_methods(self, tmp_path):
        for i, epsilon in enumerate((0.1, 0.2)):
            make_run(tmp_path / f"jeat-{i}", epsilon=epsilon)
        assert set(rows_of(tmp_path)[0]) == {"jeat", "jeat-1"}  # both of seed 0: the 1 is no seed

    def test_a_number_that_is_no_seed_stays_in_the_name(self, tmp_path):
        for name, epsilon, seed in (("eps4", 0.1, 0), ("eps8", 0.2, 0), ("pgd10-2", 0.3, 2), ("pgd10-3", 0.3, 3)):
            make_run(tmp_path / name, epsilon=epsilon, seed=seed)
        assert set(rows_of(tmp_path)[0]) == {"eps4", "eps8", "pgd10"}

    def test_the_same_settings_and_seed_twice_are_two_rows_and_a_remark(self, tmp_path):
        for name in ("a/jeat-0", "a/jeat-1", "b/jeat-0"):
            make_run(tmp_path / name, seed=int(name[-1]))
        methods, remarks = rows_of(tmp_path)
        assert {name: len(method.runs) for name, method in methods.items()} == {"a/jeat": 2, "b/jeat": 1}
        assert remarks == [
            "a/jeat-0 and b/jeat-0 have the same settings and the same seed (0): their rows are separate"
        ]

    def test_numbers_under_other_protocols_are_in_other_columns(self, tmp_path):
        make_run(tmp_path / "jem", method="jem", evaluation=results())
        make_run(tmp_path / "jeat", method="jeat", evaluation=results(protocol="50 steps"))
        methods, _ = summarise(read_runs(str(tmp_path))[0])
        columns = [column for column in columns_of(methods) if column.title.startswith("pgd20")]
        assert len(columns) == 2
        assert not any(best_of(methods, column) for column in columns)
        assert "pgd20 0.1 (a)" in markdown(methods, columns)

    def test_seeds_measured_in_different_ways_are_not_averaged(self, tmp_path):
        for seed, net in enumerate(("net.keras", "best.keras")):
            make_run(tmp_path / f"jem-{seed}", seed=seed, evaluation=results(net=net))
        methods, remarks = rows_of(tmp_path)
        clean = number(methods["jem"], "clean")
        assert clean.mean is None
        assert "different ways" in clean.refused
        assert (
            "jem, clean: not averaged: measured in different ways: seed 0 (net.keras); seed 1 (best.keras)" in remarks
        )

    def test_a_number_that_is_not_finite_is_not_averaged(self, tmp_path):
        for seed in (0, 1):
            make_run(tmp_path / f"jem-{seed}", seed=seed, samples=samples_json(distance=[4.0, math.nan][seed]))
        assert number(rows_of(tmp_path)[0]["jem"], "Frechet classifier distance, samples").refused == "not finite"

    def test_an_evaluation_of_other_weights_is_left_out(self, tmp_path):
        make_run(tmp_path / "jem", evaluation=results(weights="older"))
        methods, remarks = rows_of(tmp_path)
        assert "clean" not in titles(methods["jem"])
        assert "jem/evaluation/results.json is left out" in remarks[0]

    def test_seconds_of_a_run_in_several_calls_are_not_given(self, tmp_path):
        make_run(tmp_path / "whole")
        make_run(tmp_path / "resumed", seed=1, train=training(steps=200))
        runs = {run.name: run for run in read_runs(str(tmp_path))[0]}
        assert "seconds" in titles(summarise([runs["whole"]])[0][0])
        assert "seconds" not in titles(summarise([runs["resumed"]])[0][0])

    def test_a_run_in_a_folder_named_by_a_digest_is_called_by_its_method_and_seed(self, tmp_path):
        store = tmp_path / "pipeline" / "artifacts" / "Model"
        make_run(store / "e8fdd7c65849b81d573a97fc", method="jem", seed=0)
        make_run(store / "56e6f1243359c6481f45f0aa", method="jem", seed=1)
        make_run(store / "a3359c6481f45f0aa56e6f12", method="jem", seed=1, epochs=3)
        assert {run.name for run in read_runs(str(tmp_path))[0]} == {"jem-0", "jem-1", "jem-1 (2)"}
        methods, _ = rows_of(tmp_path)
        assert not any(re.search("[0-9a-f]{12}", name) for name in methods)

    def test_a_folder_that_is_a_run_is_read_as_one(self, runs):
        assert set(rows_of(runs / "jeat-0")[0]) == {"jeat"}

    def test_runs_inside_a_run_are_part_of_it(self, tmp_path):
        make_run(tmp_path / "rst")
        make_run(tmp_path / "rst" / "teacher", method="standard")
        assert len(read_runs(str(tmp_path))[0]) == 1


class TestTables:
    def test_the_best_is_the_highest_accuracy_and_the_lowest_distance(self, runs):
        methods, _ = summarise(read_runs(str(runs))[0])
        best = {column.title: best_of(methods, column) for column in columns_of(methods)}
        assert best["pgd20 0.1"] == {"jeat"}
        assert best["Frechet classifier distance, samples"] == {"jem"}
        assert best["joint gradient"] == set()  # alone, and neither direction is better
        assert best["steps"] == set()

    def test_the_start_alone_and_real_images_head_every_table_of_generated_images_and_no_other(self, runs):
        methods, _ = summarise(read_runs(str(runs))[0])
        for part in markdown(methods, columns_of(methods)).split("## ")[1:]:
            rows = [line for line in part.splitlines() if line.startswith("|")][2:]
            if part.startswith("Generated images"):
                assert rows[0].startswith("| *real test images* |")
                assert rows[1].startswith("| *the start alone, uniform* |")
                assert "| 26 ± 0 |" in rows[1]
                assert "| 0.500 ± 0.000 |" in rows[0]
                assert "| 3.50 |" in rows[0]
                assert all("**" not in row for row in rows[:2])  # the best is a net's
            else:
                assert not any(row.startswith("| *") for row in rows)

    def test_what_is_missing_is_said(self, runs):
        methods, _ = rows_of(runs)
        column = next(column for column in methods["jem"].values if column.title == "ECE, %")
        assert cell_text(methods["jem"], column) == "12.5"
        assert cell_text(methods["jeat"], column) == "not measured"

    def test_markdown_and_latex_escape_names(self, tmp_path):
        make_run(tmp_path / "a|b_50%&<i>", evaluation=results())
        methods, _ = summarise(read_runs(str(tmp_path))[0])
        assert r"| a\|b\_50%&amp;&lt;i&gt; | 1 |" in markdown(methods, columns_of(methods))
        assert r"a\textbar{}b\_50\%\&\textless{}i\textgreater{} & 1 &" in latex(methods, columns_of(methods))

    def test_every_row_of_a_latex_table_has_all_its_columns(self, runs):
        methods, _ = summarise(read_runs(str(runs))[0])
        for table in latex(methods, columns_of(methods)).split(r"\end{table}")[:-1]:
            width = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", table)[1])
            rows = [line for line in table.splitlines() if line.endswith(r"\\")]
            assert {len(re.split(r"(?<!\\)&", line)) for line in rows} == {width}
            assert len(rows) == 1 + len(methods) + 2 * ("Generated images" in table)

    def test_published_numbers_are_never_in_our_rows(self, runs):
        methods, _ = summarise(read_runs(str(runs))[0])
        tables = {one.published["source"]: one for one in side_by_side(methods, columns_of(methods))}
        hybrid = tables[next(source for source in tables if source.endswith("ICCV 2021, Table 3"))]
        assert ["85.16%", "30.55%"] in [entry["values"] for entry in hybrid.published["rows"]]
        assert [(name, texts) for name, _, _, texts in hybrid.rows] == [
            ("jeat", ["96.0 ± 2.0", "84.0 ± 5.3"]),
            ("jem", ["98.0", "80.0"]),
        ]
        assert "do not compare" in hybrid.caution


class TestPage:
    def test_four_files_carry_the_marker_and_are_replaced(self, written, runs):
        _, page = written
        files = {path for path in page.parent.iterdir() if path.name != ".jeat_tf-report.lock"}
        assert {path.name for path in files} == {f"report.{s}" for s in ("html", "json", "md", "tex")}
        assert all(MARKER in path.read_text()[:4096] for path in files)
        report(ReportConfig(runs=str(runs), out=str(page)))

    def test_the_json_is_what_is_returned(self, written):
        found, page = written
        assert json.loads(page.with_suffix(".json").read_text()) == found

    def test_the_page_loads_nothing(self, written):
        text = written[1].read_text()
        assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", text)
        assert not re.search(r"@import|url\(|https?://|fetch\(|XMLHttpRequest", text)

    def test_text_from_outside_stays_text(self, written):
        found, page = written
        text = page.read_text()
        assert text.count("<script") == 2
        assert EVIL not in text
        assert html.escape(f"inner/{EVIL}") in text
        embedded = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', text, re.DOTALL)[1]
        assert json.loads(embedded)["methods"] == found["methods"]

    def test_every_number_of_every_run_is_there_with_its_origin(self, written, runs):
        text = html.unescape(written[1].read_text())
        assert text.count("SHA-256 of the weights") >= sum(1 for _ in runs.glob("**/results.json"))
        for part in ("jem-1", "stopped by the guard, failed, or still running", "step 7: gap is 2000; back to step 3"):
            assert part in text
        assert "suspected; zero gradients (half)" in text
        assert "Published, not ours" in text
        assert "Small scale" in text

    def test_the_contents_lead_to_every_section(self, written):
        text = written[1].read_text()
        contents = re.search(r"<nav .*?</nav>", text, re.DOTALL)[0]
        assert re.findall(r'href="#(\w+)"', contents) == re.findall(r'<h2 id="(\w+)"', text)

    def test_accuracy_and_generation_have_tables_that_a_page_is_wide_enough_for(self, written):
        text = written[1].read_text()
        tables = dict(
            re.findall(r'aria-label="([^"]*)" tabindex="0">\s*<table class="sortable">(.*?)</table>', text, re.DOTALL)
        )
        assert list(tables)[:2] == ["Accuracy, %", "Generated images"]
        assert all(table.count("data-better") <= 8 for table in tables.values())
        for name, table in tables.items():
            assert ("the start alone" in table) == name.startswith("Generated images")
            assert table.count("<td") == table.count("data-label")  # what a narrow screen shows beside each number

    def test_charts_are_drawn_for_dark_pages_too(self, written):
        text = written[1].read_text()
        sources = re.findall(r'<source srcset="data:image/png;base64,([^"]+)"', text)
        assert len(sources) == 2
        for png in sources:
            corner = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").getpixel((1, 1))
            assert max(corner) < 64

    def test_papers_of_other_data_are_folded(self, written):
        text = written[1].read_text()
        assert "(other data than here)</summary>" in text
        assert not re.search(r"<details open><summary>[^<]*\(other data", text)

    def test_grids_are_large_enough_to_look_at(self, written):
        grids = re.findall(r'width="(\d+)" height="\d+" alt="Generated images', written[1].read_text())
        assert len(grids) == 2
        assert all(int(width) >= 600 for width in grids)

    def test_images_have_a_text_instead_of_them(self, written):
        images = re.findall(r"<img [^>]*>", written[1].read_text())
        assert len(images) == 4  # curves over epsilon and epochs; grids of two methods
        assert all(re.search(r'alt="[^"]+"', image) for image in images)


class TestLineage:
    @pytest.fixture
    def drawn(self, tmp_path):
        """JEAT, which was measured and judged by the net of the other run, and that run."""
        samples = samples_json()
        judge = dataclasses.replace(samples.judge, weights_sha256="of the judge")
        make_run(tmp_path / "jeat", evaluation=results(), samples=dataclasses.replace(samples, judge=judge))
        make_run(tmp_path / "standard", method="standard", train=training("of the judge"))
        return lineage(summarise(read_runs(str(tmp_path))[0])[0], "report.html")

    def test_has_a_box_for_each_thing_and_arrows_from_what_it_was_made_of(self, drawn):
        names = [box.name for box in drawn.boxes]
        assert sorted(names) == sorted(
            ["digits", "jeat", "standard", "samples of jeat", "evaluation of jeat", "report.html"]
        )
        places = {box.name: box for box in drawn.boxes}
        ends = [re.fullmatch(r"M(\d+),(\d+) .* \d+,(\d+) H(\d+)", path).groups() for path in drawn.arrows]
        right = {(box.x + drawn.box_width, box.y + drawn.box_height // 2): name for name, box in places.items()}
        left = {(box.x, box.y + drawn.box_height // 2): name for name, box in places.items()}
        assert {(right[int(x), int(y)], left[int(end), int(last)]) for x, y, last, end in ends} == {
            ("digits", "jeat"),
            ("digits", "standard"),
            ("jeat", "samples of jeat"),
            ("standard", "samples of jeat"),  # the judge
            ("jeat", "evaluation of jeat"),
            ("samples of jeat", "report.html"),
            ("evaluation of jeat", "report.html"),
        }

    def test_no_boxes_meet_and_none_reaches_beyond_the_drawing(self, drawn):
        for i, a in enumerate(drawn.boxes):
            assert 0 <= a.x <= drawn.width - drawn.box_width
            assert 0 <= a.y <= drawn.height - drawn.box_height
            for b in drawn.boxes[:i]:
                assert abs(a.x - b.x) >= drawn.box_width or abs(a.y - b.y) >= drawn.box_height

    def test_is_on_the_page_without_what_a_name_could_smuggle_in(self, written):
        (svg,) = re.findall(r"<svg .*?</svg>", written[1].read_text(), re.DOTALL)
        assert svg.count("<rect") == svg.count("<title>") > 6
        assert EVIL not in svg


def test_a_run_that_the_guard_stopped_was_not_taken_back_there(tmp_path):
    make_run(tmp_path / "jem", method="jem")
    folder = make_run(tmp_path / "jem-1", method="jem", seed=1, train=False)
    back = GuardEvent(step=5, action="recover", reason="gap is 2000", value=2000.0, limit=1e3, restored_step=0)
    stop = dataclasses.replace(back, step=9, action="stop", restored_step=None)
    write_events(str(folder / "guard.json"), [back, stop])
    found = report(ReportConfig(runs=str(tmp_path), out=str(tmp_path / "report.html")))
    assert "did not finish (stopped by the guard at step 9, taken back by the guard 1 time)" in str(found)
    page = html.unescape((tmp_path / "report.html").read_text())
    assert "step 5: gap is 2000; back to step 0" in page
    assert "step 9: gap is 2000; stopped" in page


class TestRefusals:
    def refused(self, runs, out, message):
        with pytest.raises(ValueError, match=message):
            report(ReportConfig(runs=str(runs), out=str(out)))

    def test_no_runs(self, tmp_path):
        self.refused(tmp_path, tmp_path / "report.html", "no runs in")
        self.refused(tmp_path / "nowhere", tmp_path / "report.html", "which is no folder")
        self.refused("", tmp_path / "report.html", "set --runs")

    @pytest.mark.parametrize("name", ["train.json", "evaluation/results.json", "config.json"])
    @pytest.mark.parametrize("text", ["{", "[1]", '{"results": 3}'])
    def test_a_damaged_file_is_named(self, tmp_path, name, text):
        make_run(tmp_path / "jem", evaluation=results())
        write_text(tmp_path / "jem" / name, text)
        self.refused(tmp_path, tmp_path / "report.html", f"jem/{name}")
        assert not (tmp_path / "report.html").exists()

    def test_a_damaged_picture_is_named(self, tmp_path):
        make_run(tmp_path / "jem", samples=samples_json())
        write_text(tmp_path / "jem" / "samples" / "grid.png", "no picture")
        self.refused(tmp_path, tmp_path / "report.html", "samples/grid.png")

    @pytest.mark.parametrize("name", ["report.html", "report.md"])
    def test_what_someone_else_wrote_is_kept(self, tmp_path, name):
        make_run(tmp_path / "jem")
        (tmp_path / name).write_text("mine")
        self.refused(tmp_path, tmp_path / "report.html", f"{name} exists and is no report")
        assert (tmp_path / name).read_text() == "mine"

    @pytest.mark.parametrize("out", ["", "report.pdf"])
    def test_the_page_is_html(self, tmp_path, out):
        self.refused(tmp_path, out, "NAME.html")


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PROBE = """
<script>
const pressed = (column) => {
  const table = document.querySelector("table.sortable");
  const button = [...table.querySelectorAll("th button")].find((one) => one.textContent === column);
  button.click();
  const names = [...table.querySelectorAll("tr[data-method]")].map((row) => row.querySelector("a").textContent);
  return [names, button.closest("th").getAttribute("aria-sort"), table.querySelectorAll("[aria-sort]").length];
};
addEventListener("load", () => {
  const found = {
    sorted: [pressed("pgd20 0.1"), pressed("pgd20 0.1"), pressed("method")],
    broken: [...document.images].filter((image) => !image.naturalWidth).length,
    images: document.images.length,
    sideways: document.documentElement.scrollWidth > innerWidth,
  };
  document.body.replaceChildren(JSON.stringify(found));
});
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
class TestBrowser:
    @pytest.fixture(scope="class")
    def seen(self, written, tmp_path_factory):
        """What the page does in a window as narrow as Chromium allows, and what its console says."""
        page = tmp_path_factory.mktemp("browser") / "probe.html"
        page.write_text(written[1].read_text().replace("</body>", f"{PROBE}</body>"))
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,800", "--enable-logging=stderr"]
        command = [CHROMIUM, *flags, "--virtual-time-budget=3000", "--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        found = json.loads(html.unescape(re.search(r"<body>(\{.*\})", done.stdout)[1]))
        return found, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    def test_the_console_is_silent(self, seen):
        assert seen[1] == []

    def test_all_images_load(self, seen):
        assert (seen[0]["images"], seen[0]["broken"]) == (4, 0)

    def test_headings_sort_both_ways_and_say_so(self, seen):
        nasty = f"inner/{EVIL}"
        assert seen[0]["sorted"] == [
            [["jeat", "jem", nasty], "descending", 1],
            [[nasty, "jem", "jeat"], "ascending", 1],
            [[nasty, "jeat", "jem"], "ascending", 1],
        ]

    def test_only_tables_scroll_sideways(self, seen):
        assert not seen[0]["sideways"]

    def test_a_phone_shows_each_number_beside_its_name(self, written, tmp_path):
        shutil.copyfile(written[1], tmp_path / "report.html")
        script = """
        const page = document.querySelector("iframe").contentDocument;
        const cell = page.querySelector("tr[data-method] td");
        const found = [page.documentElement.scrollWidth, getComputedStyle(cell, "::before").content,
                       page.querySelector("table.sortable").scrollWidth];
        document.body.replaceChildren(JSON.stringify(found));
        """
        frame = '<iframe src="report.html" style="width:390px;height:800px;border:0"></iframe>'
        (tmp_path / "phone.html").write_text(f"<body>{frame}<script>onload = () => {{{script}}}</script></body>")
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
        command = [CHROMIUM, *flags, "--virtual-time-budget=3000", "--dump-dom", (tmp_path / "phone.html").as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        width, label, table = json.loads(html.unescape(re.search(r"<body>(\[.*\])", done.stdout)[1]))
        assert width <= 390
        assert table <= 390
        assert label == '"seeds"'
