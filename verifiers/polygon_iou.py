"""Polygons, rotated boxes and masks: matched one to one with the true ones by the IoU of their areas.

What `dynamic_iou` does for upright boxes, for any shape: the same label rules, optimal matching and metrics
(`mixture`, `mixture_average`, `share`, `f1`, `iou`: its docstring has the formulas and their sources), with areas
intersected by shapely. A shape, in targets and answers alike, is one of

    [[x, y], [x, y], [x, y], ...] or [x, y, x, y, x, y, ...]     a polygon; a quadrilateral has four vertices
    [cx, cy, w, h, angle]                                        a rotated box
    [x1, y1, x2, y2]                                             an upright box
    a list of these under one key                                one region of several parts (COCO segmentation)

alone or as `{"polygon": shape, "label": str}` (also under `segmentation`, `quad`, `points`, `rotated_box`, `bbox_2d`).

The angle of a rotated box is in `degrees` or `radians` (`angle_unit`) and turns the box `clockwise` on the screen
(`angle_direction`), as OpenCV does, y pointing down; `counterclockwise` is the other habit. The box is turned in the
coordinates it is written in, and its corners are moved to others afterwards.

A polygon that crosses itself is made valid: what its outline encloses counts once. It is left out if it has no area
then, or crosses itself all over or with more than 64 vertices, as are polygons of more than 2,000 vertices; an
answer with 200 more polygons than there are true ones is not read.

    vlmrl check polygon_iou
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmrl.reading import boxes, detection, polygons, structures
from vlmrl.reading.checks import literal, one_of
from vlmrl.reading.frames import Frame, framed, written
from vlmrl.reading.polygons import Polygon
from vlmrl.verdict import Example, Shape, Verdict, bad_target, unparsed

MAX_EXTRA = 200

_SQUARE = [{"polygon": [[10, 10], [30, 10], [30, 30], [10, 30]], "label": "sign"}]
EXAMPLES = [
    Example('<answer>[{"polygon": [[10, 10], [30, 10], [30, 30], [10, 30]], "label": "sign"}]</answer>', _SQUARE, 1.0),
    Example("[20, 20, 20, 20, 90]", _SQUARE, 1.0),
    Example("<quad>(10,10),(30,10),(30,28),(10,28)</quad>", _SQUARE, 0.7 * 0.9 + 0.3),
    Example("[10, 10, 30, 28]", _SQUARE, 0.9, {"metric": "iou"}),
    Example("[10, 10, 30, 28]", _SQUARE, 0.0, {"threshold": 0.95}),
    Example('[{"polygon": [10, 10, 30, 10, 30, 30, 10, 30], "label": "door"}]', _SQUARE, 0.0),
    Example(
        "[50, 50, 20, 10, -2.641592653589793]", [50, 50, 20, 10, 0.5], 1.0, {"angle_unit": "radians", "metric": "f1"}
    ),
    Example("[]", [], 1.0),
    Example("a sign", _SQUARE, 0.0),
    Example("[10, 10, 30, 30]", [[1, 1], [2, 2], [3, 3]], None),
    Example("[10, 10, 30, 30]", "a square", None),
]


@framed
def verify(
    response: str,
    target: Any,
    *,
    metric: str = "mixture",
    threshold: float = 0.5,
    completeness: float = 0.3,
    size_penalty: float = 0.6,
    angle_unit: str = "degrees",
    angle_direction: str = "clockwise",
    none_in_words: bool = False,
    frame: Frame,
) -> Verdict:
    """Scores the polygons of the answer (`polygons.parse_polygons` says what is read).

    `target`: a shape, or a list of shapes, or JSON of these as text; `[]` means that there is no object, and `[]` is
    then the only right answer, or with `none_in_words` also "No objects" and the like. `coords` and `image_size`
    (width, height in pixels) describe the target; `answer_coords` and `answer_size` the answer, where it differs.
    """
    try:
        turn = _turn(angle_unit, angle_direction)
        true = _true_polygons(target, metric, turn, frame)
    except ValueError as error:
        return bad_target(str(error))
    true = [polygons.moved(polygon, frame.to_answer) for polygon in true]
    text = frame.answer_text(response)
    said = polygons.parse_polygons(text, turn, frame.answer_extent, none_in_words=none_in_words)
    if said is None or len(said) > len(true) + MAX_EXTRA:
        why = "no polygon and no [] in the answer" if said is None else f"{len(said)} polygons answered"
        return unparsed(why, detection.PARTS)
    areas = [polygons.solid(polygon) for polygon in said]
    predicted = [polygon for polygon, area in zip(said, areas, strict=True) if area is not None]
    if said and not predicted:
        return unparsed("no polygon of the answer has an area", detection.PARTS)
    allowed_GP = detection.compatible([polygon.label for polygon in predicted], [polygon.label for polygon in true])
    return detection.judge(
        np.where(allowed_GP, _iou_matrix(list(map(polygons.solid, true)), list(filter(None, areas))), 0.0),
        metric=metric,
        threshold=threshold,
        completeness=completeness,
        size_penalty=size_penalty,
        answer=_write(predicted[:20])[:2000],
    )


@framed
def gold(
    target: Any,
    *,
    angle_unit: str = "degrees",
    angle_direction: str = "clockwise",
    frame: Frame,
    **_: Any,
) -> str:
    """The true polygons in the answer's coordinates, as JSON lists of vertices."""
    true = _polygons(target, _turn(angle_unit, angle_direction), frame)
    return _write([polygons.moved(polygon, frame.to_answer) for polygon in true])


@framed
def check_target(
    target: Any,
    *,
    metric: str = "mixture",
    angle_unit: str = "degrees",
    angle_direction: str = "clockwise",
    frame: Frame,
    **_: Any,
) -> None:
    """ValueError for a shape that is malformed, without area or outside the image, or a param that is unknown."""
    _true_polygons(target, metric, _turn(angle_unit, angle_direction), frame)


def caution(metric: str = "mixture", threshold: float = 0.5, **_: Any) -> str:
    """What a low threshold pays an answer of the whole image."""
    return detection.caution(metric, threshold)


@framed
def shapes(
    response: str,
    target: Any,
    *,
    angle_unit: str = "degrees",
    angle_direction: str = "clockwise",
    frame: Frame,
    **_: Any,
) -> list[Shape]:
    """The true and the answered polygons, without their holes."""
    turn = _turn(angle_unit, angle_direction)
    said = polygons.parse_polygons(frame.answer_text(response), turn, frame.answer_extent) or []
    both = ((_polygons(target, turn, frame), True), (said, False))
    return [
        frame.shape("polygon", np.array(shape.rings[0]).ravel(), shape.label, true)
        for places, true in both
        for shape in places
    ]


def _true_polygons(target: Any, metric: str, turn: float, frame: Frame) -> list[Polygon]:
    """The target's shapes; ValueError as of `check_target`."""
    one_of("metric", metric, detection.METRICS)
    frame.check()
    shapes = _polygons(target, turn, frame)
    for polygon in shapes:
        area = polygons.solid(polygon)
        if area is None:
            raise ValueError(f"target polygon {_write([polygon]):.80} has no area or crosses itself; correct it")
        # Rotated boxes may well reach over the edge: only their middle must lie in the image.
        middle = (area.bounds[0] + area.bounds[2]) / 2, (area.bounds[1] + area.bounds[3]) / 2
        frame.check_inside(f"target polygon {_write([polygon]):.80} lies", middle)
    return shapes


def _turn(angle_unit: str, angle_direction: str) -> float:
    """Radians a unit of the angle, from the x axis towards the y axis, which points down."""
    one_of("angle_unit", angle_unit, ("degrees", "radians"))
    one_of("angle_direction", angle_direction, ("clockwise", "counterclockwise"))
    return (math.pi / 180 if angle_unit == "degrees" else 1.0) * (1 if angle_direction == "clockwise" else -1)


def _polygons(target: Any, turn: float, frame: Frame) -> list[Polygon]:
    """The target's shapes, repetitions once, as in answers; ValueError names the first one that is none."""
    target = literal(target)
    if not isinstance(target, (list, dict)):
        raise ValueError(f"target {target!r:.60} is not a list of polygons; give [{{'polygon': [[x, y], ...]}}, ...]")
    shapes: dict[Polygon, None] = {}
    for value, label in frame.items(target, polygons.POLYGON_KEYS, _is_one):
        polygon = polygons.polygon_from(value, label, turn)
        if polygon is None:
            raise ValueError(
                f"target polygon {value!r:.60} is none; give vertices [[x, y], ...], [cx, cy, w, h, angle] or "
                f"[x1, y1, x2, y2], at most {polygons.MAX_VERTICES} vertices"
            )
        shapes[polygon] = None
    return list(shapes)


def _is_one(target: Any) -> bool:
    return polygons.is_ring(target) or structures.is_flat(target)


def _write(shapes: list[Polygon]) -> str:
    places = ((shape.rings[0] if len(shape.rings) == 1 else shape.rings, shape.label) for shape in shapes)
    return written("polygon", places)


def _iou_matrix(true: list[Any], predicted: list[Any]) -> NDArray[np.float64]:
    """[G, P]: the IoU of every pair of areas; only pairs whose bounds overlap are intersected."""
    import shapely

    true_G, predicted_P = np.array(true, dtype=object), np.array(predicted, dtype=object)
    iou_GP = np.zeros((len(true), len(predicted)))
    if not iou_GP.size:
        return iou_GP
    rows, columns = np.nonzero(boxes.iou_matrix(shapely.bounds(true_G), shapely.bounds(predicted_P)))
    overlap = shapely.area(shapely.intersection(true_G[rows], predicted_P[columns]))
    union = shapely.area(true_G)[rows] + shapely.area(predicted_P)[columns] - overlap
    iou = overlap / union
    # The area of an intersection with itself is rounded.
    iou_GP[rows, columns] = np.where(iou > 1 - 1e-9, 1.0, iou)
    return iou_GP
