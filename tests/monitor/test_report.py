"""The report page of real run folders: whole, self-contained, and safe to open whatever a model wrote."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers.recorded import UPDATE, eval_rows, held_out, make_group, make_rollout, make_sample, quiet, run

from vlmrl import RewardSpec, UserError, Verdict
from vlmrl.monitor.curves import charts
from vlmrl.monitor.report import write_report
from vlmrl.monitor.summary import heldout_tables, read_metrics, summarise

ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """The tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.html = path.read_text(encoding="utf-8")
        self._silent = False
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def finished_run(folder: Path) -> Path:
    (folder / "config.toml").write_text("[train]\nsteps = 2\n")
    after = run(folder).record_eval(2, "after", eval_rows([0.0] * 10 + [1.0] * 30))
    rows = read_metrics(folder)
    (folder / "summary.json").write_text(json.dumps(summarise(heldout_tables(rows)[0], after, rows)))
    return folder


def test_the_page_of_a_finished_run(tmp_path: Path) -> None:
    path = write_report(finished_run(tmp_path))
    assert path == tmp_path / "report.html"
    page = Page(path)
    assert "Finished after 2 steps" in page.text
    assert "0.250 → 0.750" in page.text
    assert "1 of 1" in page.text
    assert "+0.500 ▲" in page.text
    assert "steps = 2" in page.text
    assert len([a for a in page.all("article") if a["data-source"] == "counting"]) == 40
    outcomes = [a["data-outcome"] for a in page.all("article")]
    assert (outcomes.count("right"), outcomes.count("wrong")) == (30, 10)
    assert page.html.count("plotly.js v") == 1


def test_the_page_needs_no_network(tmp_path: Path) -> None:
    page = Page(write_report(finished_run(tmp_path)))
    links = [a[name] or "" for _, a in page.tags for name in ("src", "href", "action", "data") if name in a]
    assert links
    assert all(link.startswith("data:image/") for link in links)
    assert not page.all("link")
    (policy,) = (a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in str(policy)
    styles = "".join(re.findall(r"<style>(.*?)</style>", page.html, re.DOTALL))
    assert "url(" not in styles
    assert "@import" not in styles


def test_nothing_a_model_or_a_row_says_can_run(tmp_path: Path) -> None:
    clean = Page(write_report(finished_run(tmp_path)))
    source = f"bad {ATTACK}"
    ledger = quiet(tmp_path)
    ledger.record(3, [make_group(source, [1.0, 0.0], [3, 3])], UPDATE, {"rollout": 1.0})
    verdict = Verdict(0.0, answer=ATTACK, why=ATTACK)
    ledger.record_eval(3, "attack", [(held_out(make_sample(source), make_rollout(3, text=ATTACK), verdict), "sampled")])
    (tmp_path / "summary.json").unlink()
    page = Page(write_report(tmp_path))
    assert len(page.all("script")) == len(clean.all("script"))
    assert not [a for _, a in page.tags for name in a if name.startswith("on")]
    assert page.text.count(ATTACK) > 3


def test_an_unfinished_run(tmp_path: Path) -> None:
    run(tmp_path)
    page = Page(write_report(tmp_path))
    assert "Not finished: 2 steps recorded so far" in page.text
    assert "0.250" in page.text
    assert "→" not in page.text


def test_a_run_without_a_step(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[train]\n")
    page = Page(write_report(tmp_path))
    assert "No training step recorded yet" in page.text
    assert not page.all("article")
    assert not page.all("table")


def test_a_supervised_run_shows_its_loss(tmp_path: Path) -> None:
    ledger = quiet(tmp_path)
    for step in (1, 2):
        ledger.record(step, [], UPDATE, {"update": 1.0})
    assert [chart["title"] for chart in charts(read_metrics(tmp_path), [])] == ["Loss", "Seconds by phase"]
    assert "2 steps recorded so far" in Page(write_report(tmp_path)).text


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        write_report(tmp_path)


@pytest.mark.parametrize("line", ["[1]", "{}", '{"all/loss": 1.0}', '{"step": "one"}', '{"step": 1, "all/loss": null}'])
def test_a_line_that_is_no_step_is_named(tmp_path: Path, line: str) -> None:
    run(tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        number = len(read_metrics(tmp_path)) + 1
        file.write(line + "\n")
    with pytest.raises(UserError, match=rf"metrics\.jsonl:{number}: expected a step and its numbers, got .*; delete"):
        write_report(tmp_path)


def test_a_broken_evaluation_is_named(tmp_path: Path) -> None:
    run(tmp_path)
    (file,) = (tmp_path / "heldout").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=rf"{file.name}: not a readable parquet file"):
        write_report(tmp_path)


def test_a_missing_extra_says_how_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(UserError, match=r"needs jinja2; pip install 'vlmrl-toolkit\[report\]'"):
        write_report(finished_run(tmp_path))


@pytest.mark.parametrize(
    ("params", "target", "response"),
    [
        ({"coords": "pixels", "image_size": [16, 12]}, [4, 3, 12, 9], "[4, 3, 8, 6]"),
        ({"coords": "relative_1000"}, [250, 250, 750, 750], "<answer>[250, 250, 500, 500]</answer>"),
        (
            {"coords": "relative_1", "answer_coords": "pixels", "answer_size": [160, 120]},
            [{"bbox_2d": [0.25, 0.25, 0.75, 0.75], "label": "cat"}],
            '```json\n[{"bbox_2d": [40, 30, 80, 60], "label": "cat"}]\n```',
        ),
    ],
)
def test_boxes_are_drawn_where_they_are(
    tmp_path: Path, params: dict[str, object], target: object, response: str
) -> None:
    sample = make_sample("grounding", verifier="dynamic_iou", target=target, params=params)
    quiet(tmp_path).record_eval(0, "b", [(held_out(sample, make_rollout(3, text=response), Verdict(0.5)), "sampled")])
    true, answered = Page(write_report(tmp_path)).all("rect")
    assert {k: float(v or 0) for k, v in true.items() if k != "class"} == {"x": 25, "y": 25, "width": 50, "height": 50}
    assert true["class"] == "true"
    assert answered["class"] == "answered"
    assert [float(answered[k] or 0) for k in ("x", "y", "width", "height")] == [25, 25, 25, 25]


def test_the_first_evaluation_stands_beside_the_last(tmp_path: Path) -> None:
    ledger = quiet(tmp_path)
    for step, text in ((0, "it was two"), (5, "it is three")):
        ledger.record_eval(step, "", [(held_out(make_sample(), make_rollout(3, text=text), Verdict(0.5)), "sampled")])
    text = Page(write_report(tmp_path)).text
    assert "it is three" in text
    assert "it was two" in text


def test_curves_smooth_the_rewards_of_the_steps_a_source_took_part_in(tmp_path: Path) -> None:
    ledger = quiet(tmp_path)
    for step, source in enumerate(["a", "b", "a", "a"], 1):
        ledger.record(step, [make_group(source, [1.0, 0.5], [3, 3], diff_max=0.0)], UPDATE, {"rollout": 1.0})
    by_title = {chart["title"]: chart["traces"] for chart in charts(read_metrics(tmp_path), ["a", "b"])}
    raw_a, raw_b, smooth_a, smooth_b = by_title["Training reward"]
    assert (raw_a["x"], raw_b["x"]) == ([1, 3, 4], [2])
    assert smooth_a["y"] == pytest.approx([0.75, 0.75, 0.75])
    assert smooth_b["mode"] == "markers"
    assert by_title["Seconds by source"][1]["y"] == [0.0, 1.0, 0.0, 0.0]
    assert all(value > 0 for value in by_title["Agreement"][0]["y"])
    assert "Held-out reward" not in by_title


PIXELS = {"coords": "pixels", "image_size": [16, 12]}


def test_points_and_polygons_are_drawn(tmp_path: Path) -> None:
    point = make_sample("a", verifier="point", target=[4, 3, 12, 9], params=PIXELS)
    shape = make_sample("b", verifier="polygon_iou", target=[[4, 3, 12, 3, 8, 9]], params=PIXELS)
    rows = [
        (held_out(point, make_rollout(3, text="(8, 6)"), Verdict(1.0)), "sampled"),
        (held_out(shape, make_rollout(3, text="[[0, 0, 16, 0, 16, 12]]"), Verdict(0.5)), "sampled"),
    ]
    quiet(tmp_path).record_eval(0, "b", rows)
    drawn = [(path["class"], path["d"]) for path in Page(write_report(tmp_path)).all("path") if path.get("class")]
    assert drawn == [
        ("true polygon", "M25.0 25.0 75.0 25.0 75.0 75.0 25.0 75.0 25.0 25.0z"),
        ("answered point", "M50.0 50.0h.001"),
        ("true polygon", "M25.0 25.0 75.0 25.0 50.0 75.0z"),
        ("answered polygon", "M0.0 0.0 100.0 0.0 100.0 100.0z"),
    ]


def test_spans_are_drawn_on_a_line_of_time(tmp_path: Path) -> None:
    sample = make_sample("time", verifier="temporal_iou", target=[10, 20], params={"duration": 40})
    quiet(tmp_path).record_eval(0, "b", [(held_out(sample, make_rollout(3, text="15 - 30"), Verdict(0.25)), "sampled")])
    true, answered = (rect for rect in Page(write_report(tmp_path)).all("rect") if rect["height"] == "4")
    assert [(rect["class"], rect["x"], rect["width"]) for rect in (true, answered)] == [
        ("true", "25.0", "25.0"),
        ("answered", "37.5", "37.5"),
    ]


def test_only_places_in_the_stored_image_are_drawn(tmp_path: Path) -> None:
    second = PIXELS | {"image": 1}
    specs = [{"verifier": "dynamic_iou", "target": [4, 3, 12, 9], "params": params} for params in (PIXELS, second)]
    two = make_sample("two")
    sample = two.model_copy(update={"reward": tuple(RewardSpec.model_validate(spec) for spec in specs)})
    quiet(tmp_path).record_eval(0, "b", [(held_out(sample, make_rollout(3, text="none"), Verdict(0.0)), "sampled")])
    assert len(Page(write_report(tmp_path)).all("rect")) == 1
