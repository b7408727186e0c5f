"""The report: one self-contained HTML page about a run. It needs no network.

    vlmrl report runs/quickstart        -> runs/quickstart/report.html

It shows curves by data source, the held-out reward before and after with 95 % intervals, and a gallery of held-out
samples with true places and spans (green) and answered ones (red). It also works for an unfinished run and for one
without a step. It needs the extra `report`.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError
from vlmrl.files import whole_file
from vlmrl.monitor import run_files
from vlmrl.monitor.curves import Rows, charts
from vlmrl.monitor.ledger import PICTURES_PER_SOURCE
from vlmrl.monitor.metrics import PERFECT
from vlmrl.monitor.records import verify
from vlmrl.monitor.summary import change, heldout_tables, source_names, summarise
from vlmrl.rewards.frames import drawn_image, has_frame, shapes
from vlmrl.sample import MARK, RewardSpec


def write_report(run_dir: Path) -> Path:
    """Writes `run_dir/report.html`; returns its path. `UserError` if there is no run or no extra `report`."""
    try:
        import jinja2
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise UserError(f"the report needs {error.name}; pip install 'vlmrl-toolkit[report]'") from None

    run_dir = Path(run_dir)
    config = run_dir / "config.toml"
    if not config.exists() and not (run_dir / "metrics.jsonl").exists():
        raise UserError(f"{run_dir}: holds no run (neither config.toml nor metrics.jsonl); give a run folder")
    verify(run_dir)
    text = run_files.config_text(config)
    rows = run_files.metrics(run_dir)
    summary, finished = _summary(run_dir, rows)
    sources = _sources(rows, summary)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(Path(__file__).with_name("report_page.html").read_text(encoding="utf-8"))
    page = template.render(
        name=run_dir.resolve().name,
        config=text,
        finished=finished,
        steps=run_files.planned_steps(text, config) if finished else 0,
        summary=summary,
        evaluations=sorted(heldout_tables(rows)),
        verdict=_verdict(summary["sources"]),
        duration=_duration(sum(summary["seconds"].values())),
        change=change,
        sources=sources,
        charts=charts(rows, sources),
        gallery=_gallery(run_dir / "heldout"),
        plotly=get_plotlyjs(),
    )
    path = run_dir / "report.html"
    with whole_file(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def _summary(run_dir: Path, rows: Rows) -> tuple[dict[str, Any], bool]:
    """The summary, and whether the run has finished. If not, it compares the first and the last evaluation so far."""
    path = run_dir / "summary.json"
    if path.exists():
        return run_files.summary(path), True
    tables = heldout_tables(rows)
    steps = sorted(tables)
    before = tables[steps[0]] if steps else {}
    after = tables[steps[-1]] if len(steps) > 1 else {}
    return summarise(before, after, rows), False


def _sources(rows: Rows, summary: Mapping[str, Any]) -> list[str]:
    """All data sources; the position of a source is the index of its colour."""
    return sorted({name for row in rows for name in source_names(row)} | set(summary["sources"]))


def _verdict(sources: Mapping[str, Any]) -> dict[str, int]:
    """Numbers of sources with a clear rise, with a clear fall, and with two evaluations."""
    pairs = [(s["before"], s["after"]) for s in sources.values() if "before" in s and "after" in s]
    changes = [change(before, after) for before, after in pairs]
    return {"rose": changes.count(1), "fell": changes.count(-1), "of": len(changes)}


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


# --- the gallery ------------------------------------------------------------------------------------------


def _gallery(folder: Path) -> list[dict[str, Any]]:
    """Cards of the last evaluation, alternating between sources; each has the answer of the first evaluation too."""
    files = sorted(folder.glob("step_*.parquet"))
    if not files:
        return []
    last = run_files.heldout(files[-1])
    mode = "sampled" if any(row["mode"] == "sampled" for row in last) else "greedy"
    by_source: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in last:
        if row["mode"] == mode and len(by_source[row["source"]]) < PICTURES_PER_SOURCE:
            by_source[row["source"]].append(row)
    earlier = {}
    if len(files) > 1:
        earlier = {row["key"]: row for row in run_files.heldout(files[0]) if row["mode"] == mode}
    turns = itertools.zip_longest(*(by_source[source] for source in sorted(by_source)))
    return [_card(row, earlier.get(row["key"])) for turn in turns for row in turn if row is not None]


def _card(row: Mapping[str, Any], earlier: Mapping[str, Any] | None) -> dict[str, Any]:
    prompt = MARK.sub(" ", row["prompt"])
    rewards = json.loads(row["reward"])
    targets = [spec["target"] for spec in rewards if spec["verifier"] != "format"] or [rewards[0]["target"]]
    return {
        **row,
        "prompt": prompt.strip(),
        "target": targets[0] if isinstance(targets[0], str) else json.dumps(targets[0], ensure_ascii=False),
        "outcome": _outcome(row["score"]),
        "picture": _picture(row),
        "shapes": list(_shapes(row)),
        "earlier": earlier,
    }


def _outcome(score: float | None) -> str:
    if score is None:
        return "unscored"
    return "right" if score >= PERFECT else "wrong" if score == 0 else "partly"


def _picture(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The image as a data URI, and its size in pixels."""
    if row["image"] is None:
        return None
    from PIL import Image

    try:
        with Image.open(io.BytesIO(row["image"])) as image:
            size, kind = image.size, (image.format or "PNG").lower()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # the answer is worth showing without it
    uri = f"data:image/{kind};base64,{base64.b64encode(row['image']).decode()}"
    return {"uri": uri, "width": size[0], "height": size[1]}


def _shapes(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Where target and answer lie, by the specs as judged, in per cent of the image's sides or of the duration.

    Of places in images only those in the stored image: that of the first spec that has a frame.
    """
    reward = [RewardSpec.model_validate(spec) for spec in json.loads(row["reward"])]
    for spec in reward:
        if has_frame(spec) and drawn_image([spec]) != drawn_image(reward):
            continue
        for shape in shapes(spec, row["response"], {}):
            coords = [100 * value for value in shape.coords]
            yield {"kind": shape.kind, "label": shape.label, "who": "true" if shape.true else "answered", "at": coords}
