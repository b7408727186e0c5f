"""Public cases: this prediction against this reference is worth this much, as other projects' tests assert it.

    pytest tests/verifiers/test_conformance.py -s        prints the agreement per file

`conformance/*.jsonl` are facts, each with its source. `conformance/disagreements.toml` lists the metrics we do
not offer and the cases in which we differ, each with the reason: every other core case must agree. Core cases
are those that their notes do not call a convention, suspect, hostile, multilingual, a rule of the source
alone, or undecided.
"""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlmrl import catalog
from vlmrl.reading import boxes, points
from vlmrl.reading.detection import COCO_AREAS, COCO_THRESHOLDS, Detections, average_precision

HERE = Path(__file__).parents[1] / "conformance"
NOT_CORE = ("convention", "suspect", "security", "multilingual", "rule", "numeric-match", "skip-sample")
FILES = {
    "math_math_verify": "math",
    "math_misc_rewards": "math",
    "math_inspect_ai": "math",
    "math_lighteval": "math",
    "math_latex_pairs": "math",
    "mc_public_tests": "choice",
    "mc_mmmu_example_outputs": "choice",
    "counting_public_tests": "counting",
    "ocr_public_tests": "ocr",
    "span_public_tests": "span",
    "relaxed_public_tests": "relaxed",
    "open_mmmu_example_outputs": "relaxed",
    "mathvista_stored_verdicts": "relaxed",
    "temporal_public_tests": "temporal",
    "iou_public_tests": "geometry",
    "vtriune_reward": "geometry",
    "detection_public_tests": "detection",
    "point_public_tests": "point",
}
LISTED = tomllib.loads((HERE / "disagreements.toml").read_text())
NOT_OFFERED: dict[str, str] = LISTED["not_offered"]
DISAGREEMENTS: dict[str, str] = LISTED["disagreements"]


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (HERE / f"{name}.jsonl").read_text().splitlines()]


def is_core(row: dict[str, Any]) -> bool:
    if (row.get("config") or {}).get("metric") in NOT_OFFERED:
        return False
    return row["expected"] is not None and not any(f"[{tag}]" in row["note"] for tag in NOT_CORE)


def ours(kind: str, row: dict[str, Any]) -> float | None:
    """What we score, in the units of `expected`; None where it is unscored."""
    config = row.get("config") or {}
    if kind == "geometry" and row["verifier"] == "math":
        return verify("math", row)
    if kind == "geometry":
        return boxes_score(row, config)
    if kind == "detection":
        return coco_figures(row, config)  # pyright: ignore[reportReturnType]
    if kind == "point":
        return point_score(row, config)
    if kind == "ocr":
        return ocr_score(row, config)
    if kind in ("span", "relaxed", "temporal"):
        return {"span": span_score, "relaxed": relaxed_score, "temporal": temporal_score}[kind](row, config)
    if kind == "choice":
        letters = dict.fromkeys(config.get("letters", ""), "")
        choices = config.get("choices") or letters or None
        return verify("choice", row, choices=choices, multiple=bool(config.get("multi")))
    if kind == "counting":
        return verify("counting", row, tolerance=0.05 if config["metric"] == "relaxed_5pct" else 0.0)
    return verify(kind, row)


def verify(name: str, row: dict[str, Any], **params: Any) -> float | None:
    response = "" if row["prediction"] is None else str(row["prediction"])
    return catalog.load("verifiers", name).verify(response, row["reference"], **params).score


def span_score(row: dict[str, Any], config: dict[str, Any]) -> float | None:
    if config["metric"] == "f1":
        return verify("string_f1", row)
    bare = {"exact_norm": {"punctuation": "ignore"}, "exact_alnum": {"punctuation": "ignore", "space": "ignore"}}
    return verify("exact", row, **bare.get(config["metric"], {}))


def relaxed_score(row: dict[str, Any], config: dict[str, Any]) -> float | None:
    if config.get("rule") == "mmmu_open":
        return verify("relaxed", row, rule="mmmu_open")
    if config["metric"] == "mathvista":
        params = {"answer_type": config["answer_type"], "decimals": config["precision"] or 0}
        choices = {"choices": config["choices"]} if config["question_type"] == "multi_choice" else {}
        return verify("relaxed", row, rule="mathvista", **params, **choices)
    if config["metric"] == "slake_exact":
        return verify("exact", row, words="fold")
    if config["metric"] == "contains":
        score = verify("numeric", row)
        return verify("exact", row) if score is None else score
    if isinstance(row["prediction"], list):
        pairs = zip(row["prediction"], row["reference"], strict=True)
        scores = [verify("relaxed", {"prediction": a, "reference": b}) or 0.0 for a, b in pairs]
        return sum(scores) / len(scores) * (100 if row["expected"] > 1 else 1)
    return verify("relaxed", row)


def temporal_score(row: dict[str, Any], config: dict[str, Any]) -> float | None:
    """IoU, or the share of the answer that is true, of spans given as numbers or as text."""
    said = row["prediction"] if isinstance(row["prediction"], str) else json.dumps(row["prediction"])
    verdict = catalog.load("verifiers", "temporal_iou").verify(said, row["reference"])
    return verdict.score if config.get("metric", "iou") == "iou" else verdict.parts["precision"]


def ocr_score(row: dict[str, Any], config: dict[str, Any]) -> float | None:
    if config["metric"] == "wer":
        return 1.0 - (verify("ocr", row, metric="wer") or 0.0)
    return verify("ocr", row, metric={"nls": "edit", "anls": "anls"}[config["metric"]])


def boxes_score(row: dict[str, Any], config: dict[str, Any]) -> float | None:
    if config["metric"] == "greedy_match":
        return detection_score(row, config)
    if config["metric"] == "mean_matched_iou":
        verdict = catalog.load("verifiers", "dynamic_iou").verify(row["prediction"], json.loads(row["reference"]))
        return verdict.parts.get("iou", verdict.score)
    if config["metric"] == "parse_boxes":
        return parse_score(row, config)
    if isinstance(row["prediction"], str):
        target = boxes.parse_boxes(str(row["reference"])) or row["reference"]
        places = [list(box.coords) for box in target] if isinstance(target, list) else target
        return verify("dynamic_iou", row | {"reference": places}, metric="iou", threshold=0.0)
    a, b = (corners(row[side], config["format"]) for side in ("prediction", "reference"))
    return float(boxes.iou_matrix(a, b)[0, 0])


def corners(box: list[float], form: str) -> np.ndarray:
    x, y, right, bottom = (float(value) for value in box)
    if form == "xywh":
        right, bottom = x + right, y + bottom
    elif form == "cxcywh":
        x, y, right, bottom = x - right / 2, y - bottom / 2, x + right / 2, y + bottom / 2
    return np.array([[x, y, right, bottom]])


def parse_score(row: dict[str, Any], config: dict[str, Any]) -> float:
    """1 if exactly the reference's boxes are read."""
    found = boxes.parse_boxes(row["prediction"]) or []
    scale = np.tile(np.array(config["resolution_wh"]) / np.array(config["input_wh"]), 2)
    found = [boxes.Box(tuple((np.array(box.coords) * scale).tolist()), box.label) for box in found]
    true = [boxes.Box(tuple(map(float, item["bbox"])), item["label"]) for item in row["reference"]]
    return float(found == true)


def detection_score(row: dict[str, Any], config: dict[str, Any]) -> dict[str, float | None]:
    """The source's figures, from the sub-scores of one verdict that is nothing but mean IoU."""
    plain = {"threshold": config["iou_threshold"], "completeness": 0.0, "size_penalty": 1.0}
    module = catalog.load("verifiers", "dynamic_iou")
    verdict = module.verify(json.dumps(row["prediction"]), row["reference"], **plain)
    precision, recall = verdict.parts["precision"], verdict.parts["recall"]
    return {
        "matches": round(recall * len(row["reference"])),
        "mean_iou": verdict.score,
        "precision": precision,
        "recall": recall,
        "completeness": (precision + recall) / 2,
    }


def coco_figures(row: dict[str, Any], config: dict[str, Any]) -> dict[str, float]:
    """COCO's figures over the images of a row, of those that the source states."""
    predicted, true = (
        [
            Detections(
                np.array([corners(box, config["format"])[0] for box in image["boxes"]], float).reshape(-1, 4),
                image["labels"],
                image.get("scores", ()),
                image.get("iscrowd", ()),
                image.get("area", ()),
            )
            for image in row[side]
        ]
        for side in ("prediction", "reference")
    )
    thresholds = config.get("iou_thresholds", COCO_THRESHOLDS)
    figures = {}
    for name in row["expected"]:
        kind, *rest = name.split("_")
        sizes = [part for part in rest if part in COCO_AREAS]
        numbers = [int(part) for part in rest if part.isdigit()]
        at = [numbers[0] / 100] if kind == "map" and numbers else thresholds
        most = numbers[0] if kind == "mar" and numbers else 100
        found = average_precision(predicted, true, thresholds=at, area=(sizes or ["all"])[0], most=most)
        figures[name] = float(found[kind == "mar"].mean())
    return figures


def point_score(row: dict[str, Any], config: dict[str, Any]) -> float | None:
    """The place that is read, exactly, and whether a place lies in a box; with scale, a share of it."""
    scale, said = config.get("scale", 1), row["prediction"]
    frame: dict[str, Any] = {"coords": "relative_1"}
    if scale == 1000:
        frame["answer_coords"] = "relative_1000"
    if config["metric"] == "parse_points":
        frame = {"coords": "pixels", "image_size": config["image_size"], "answer_coords": "relative_1000"}
    if config["metric"] != "point_in_box":
        frame |= {"radius": 1e-6} | ({} if "image_size" in frame else {"image_size": [1, 1]})
    if row["reference"] is None:
        return float(points.parse_points(said, (scale, scale)) is not None)
    text = said if isinstance(said, str) else json.dumps(said)
    return catalog.load("verifiers", "point").verify(text, row["reference"], **frame).score


def agrees(row: dict[str, Any], score: Any) -> bool:
    expected = row["expected"]
    if isinstance(expected, dict):
        return score == pytest.approx(expected, abs=1e-6)
    if score is None:
        return False
    digits = len(str(expected).partition(".")[2])
    printed = 0.5 * 10.0**-digits if 2 <= digits <= 4 else 1e-9
    return abs(score - expected) <= max((row.get("config") or {}).get("rel_tol", 0.0) * abs(expected), printed)


def disagreements(name: str) -> Iterator[tuple[dict[str, Any], Any]]:
    for row in rows(name):
        if is_core(row):
            score = ours(FILES[name], row)
            if not agrees(row, score):
                yield row, score


@pytest.mark.parametrize("name", FILES)
def test_every_core_case_agrees_or_is_listed(name: str) -> None:
    different = list(disagreements(name))
    core = sum(map(is_core, rows(name)))
    accepts = [row["id"] for row, score in different if score == 1 and row["expected"] == 0]
    rejects = [row["id"] for row, score in different if score == 0 and row["expected"] == 1]
    print(f"\n{name}: {core - len(different)}/{core} core, false accepts {accepts}, false rejects {rejects}")
    unexplained = {row["id"]: score for row, score in different if row["id"] not in DISAGREEMENTS}
    assert not unexplained


def test_no_listed_disagreement_is_stale() -> None:
    different = {row["id"] for name in FILES for row, _ in disagreements(name)}
    assert set(DISAGREEMENTS) == different


@pytest.mark.parametrize("name", [name for name, kind in FILES.items() if kind == "math"])
def test_hostile_expressions_earn_nothing_and_run_nothing(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    hostile = [row for row in rows(name) if "[security]" in row["note"]]
    assert [ours("math", row) for row in hostile] == [0.0] * len(hostile)
    assert not list(tmp_path.iterdir())
