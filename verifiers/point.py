"""Points: a click inside a box or polygon, or near a point; several of them one to one.

A target is a box `[x1, y1, x2, y2]` or `{"bbox_2d": ...}`, a polygon `{"polygon": [[x, y], ...]}`, a point `[x, y]`
or `{"point_2d": ...}`, or a list of these, each with an optional `label`. `metric`:

    hit       1 inside the region, edges included, or within `radius` of the point; else 0
    osworld   of the distance d in pixels to the point or region: 1 - 0.2 d / 20 up to 20, then max(0, 1 - d / 50)
              (the click reward of GLM-4.1V's released package for OSWorld; it drops from 0.8 to 0.6 at 20)

`radius` is in `pixels` or a share of the image's `diagonal` (`radius_unit`). Distances are those of the target's
image, so that points in relative coordinates need its `image_size`; boxes and polygons need it for `osworld` alone.

The score is the sum over the best one-to-one match, divided by the larger of the number of targets and of points
answered: extra points gain nothing. Several points for a single target name no single place, and score 0.
Labels are compared as in `dynamic_iou`. An answered box stands for its middle, as in ScreenSpot's evaluations.
Coordinates are read as they stand: give `answer_coords="relative_100"` for Molmo's `<point x="61.5" y="40.4">`.

    vlmrl check point
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlmrl.reading import boxes, detection, points, polygons, structures
from vlmrl.reading.checks import literal, one_of
from vlmrl.reading.frames import Frame, extent, framed, written
from vlmrl.reading.points import Point
from vlmrl.reading.polygons import Move, Polygon
from vlmrl.verdict import Example, Shape, Verdict, bad_target, unparsed

METRICS = ("hit", "osworld")
_KEYS = ("point_2d", "point", "polygon", "polygon_2d", "segmentation", *boxes.BOX_KEYS)
# A coordinate that was converted and back is not exactly on the edge.
_ROUNDING = 1e-6

_BUTTON = {"bbox_2d": [100, 40, 180, 60]}
EXAMPLES = [
    Example("<answer>(140, 50)</answer>", _BUTTON, 1.0),
    Example('[{"point_2d": [100, 40], "label": "OK"}]', _BUTTON, 1.0),
    Example("click(start_box='(140,61)')", _BUTTON, 0.0),
    Example("(140, 50) or (20, 50)", _BUTTON, 0.0),
    Example("x=30, y=44", [30, 40], 1.0),
    Example("x=30, y=44", [30, 40], 0.0, {"radius": 3}),
    Example("[30, 50]", [30, 40], 0.9, {"metric": "osworld"}),
    Example("[30, 65]", [30, 40], 0.5, {"metric": "osworld"}),
    Example("[[10, 10], [90, 90]]", [[10, 10], [50, 50], [92, 92]], 2 / 3),
    Example("[5, 20]", {"polygon": [[0, 0], [50, 0], [0, 50]]}, 1.0),
    Example('<point x="70.0" y="50.0">', [141, 50], 1.0, {"answer_coords": "relative_100", "image_size": [200, 100]}),
    Example("the button", _BUTTON, 0.0),
    Example("[]", [], 1.0),
    Example("[140, 50]", {"bbox_2d": [180, 40, 100, 60]}, None),
]


class Place(NamedTuple):
    """Where a target is: a point or an area of shapely."""

    shape: Any
    label: str | None

    @property
    def is_point(self) -> bool:
        return self.shape.geom_type == "Point"


@framed
def verify(
    response: str,
    target: Any,
    *,
    metric: str = "hit",
    radius: float = 20.0,
    radius_unit: str = "pixels",
    none_in_words: bool = False,
    frame: Frame,
) -> Verdict:
    """Scores the points of the answer (`points.parse_points` says what is read).

    `target` `[]` means that there is no such place, and `[]` is then the only right answer, or with `none_in_words`
    also "None" and the like; a target may be JSON as text. `coords` and `image_size` (width, height in pixels)
    describe the target; `answer_coords` and `answer_size` the answer, where it differs.
    """
    try:
        places = _true_places(target, metric, radius_unit, frame)
    except ValueError as error:
        return bad_target(str(error))
    said = points.parse_points(frame.answer_text(response), frame.answer_extent, none_in_words=none_in_words)
    if said is None:
        return unparsed("no point and no [] in the answer", ("precision", "recall"))
    # Distances are those of the target's image: places and points are compared in its pixels.
    said_P2 = np.array([point.coords for point in said]).reshape(-1, 2)
    moved_P2 = frame.to_pixels(frame.from_answer(said_P2)).tolist()
    moved = [Point((x, y), point.label) for (x, y), point in zip(moved_P2, said, strict=True)]
    reach = radius * (math.hypot(*extent("pixels", frame.image_size)) if radius_unit == "diagonal" else 1.0)
    if frame.coords != "pixels":
        places = _places(target, frame, frame.to_pixels)
    return _score(places, moved, metric, reach, json.dumps([list(p.coords) for p in said[:20]]))


@framed
def gold(target: Any, *, frame: Frame, **_: Any) -> str:
    """A point of each target, well inside it, in the answer's coordinates, as JSON."""
    inside = ((place.shape.representative_point(), place.label) for place in _places(target, frame))
    moved = ((frame.to_answer(np.array([point.x, point.y])).tolist(), label) for point, label in inside)
    return written("point_2d", moved)


@framed
def check_target(
    target: Any,
    *,
    metric: str = "hit",
    radius_unit: str = "pixels",
    frame: Frame,
    **_: Any,
) -> None:
    """ValueError for a target that is malformed or outside the image, a missing size or an unknown param."""
    _true_places(target, metric, radius_unit, frame)


@framed
def shapes(response: str, target: Any, *, frame: Frame, **_: Any) -> list[Shape]:
    """The true places, and the answered points."""
    said = points.parse_points(frame.answer_text(response), frame.answer_extent) or []
    true = [
        frame.shape("point" if place.is_point else "polygon", outline, place.label, True)
        for place in _places(target, frame)
        for outline in _outlines(place.shape)
    ]
    return [*true, *(frame.shape("point", np.array(point.coords), point.label, False) for point in said)]


def _outlines(shape: Any) -> list[NDArray[np.float64]]:
    """The coordinates of a point, or of the outline of every part of an area."""
    parts = getattr(shape, "geoms", [shape])
    return [np.array((part if part.geom_type == "Point" else part.exterior).coords).ravel() for part in parts]


def _true_places(target: Any, metric: str, radius_unit: str, frame: Frame) -> list[Place]:
    """The targets in their own coordinates; ValueError as of `check_target`."""
    one_of("metric", metric, METRICS)
    one_of("radius_unit", radius_unit, ("pixels", "diagonal"))
    frame.check()
    places = _places(target, frame)
    if frame.image_size is not None or radius_unit == "diagonal":
        extent("pixels", frame.image_size)
    elif frame.coords != "pixels" and (metric == "osworld" or any(place.is_point for place in places)):
        raise ValueError(f"image_size is missing; distances in {frame.coords} need [width, height] of their image")
    if frame.extent:
        for x, y in ((place.shape.centroid.x, place.shape.centroid.y) for place in places):
            frame.check_inside(f"target at ({x:g}, {y:g}) lies", (x, y))
    return places


def _places(target: Any, frame: Frame, move: Move = lambda coords: coords) -> list[Place]:
    """The targets, moved, repetitions once, as in answers; ValueError names the first one that is malformed."""
    target = literal(target)
    if not isinstance(target, (list, dict)):
        raise ValueError(f"target {target!r:.60} is not a place; give [x, y], [x1, y1, x2, y2] or a list of them")
    import shapely

    places: dict[Point | Polygon, Place] = {}
    for value, label in frame.items(target, _KEYS):
        place = points.point_from(value, label) if structures.is_flat(value) and len(value) == 2 else None
        if place is not None:
            shape = shapely.Point(move(np.array(place.coords)))
        else:
            place = polygons.polygon_from(value, label)
            shape = polygons.solid(polygons.moved(place, move)) if place else None
        if place is None or shape is None:
            raise ValueError(
                f"target {value!r:.60} is not a place; give [x, y], [x1, y1, x2, y2] with x1 < x2 and y1 < y2, or a "
                "polygon of vertices with an area"
            )
        places[place] = Place(shape, place.label)
    return list(places.values())


def _distances(places: list[Place], answered: list[Point]) -> NDArray[np.float64]:
    """[G, P]: from each place to each point; 0 inside a region."""
    import shapely

    points_P = shapely.points([point.coords for point in answered])
    distance_GP = np.array([shapely.distance(place.shape, points_P) for place in places])
    return np.where(distance_GP < _ROUNDING, 0.0, distance_GP)


def _score(places: list[Place], said: list[Point], metric: str, reach: float, answer: str) -> Verdict:
    true, answered = len(places), len(said)
    why = f"{answered} points answered, {true} true"
    if not true or not answered:
        parts = {"precision": float(true == answered), "recall": float(true == answered)}
        return Verdict(float(true == answered), parts=parts, answer=answer, why=why)
    if true == 1 and answered > 1:
        why = f"{answered} points answered where there is one place"
        return Verdict(0.0, parts={"precision": 0.0, "recall": 0.0}, answer=answer, why=why)
    distance_GP = _distances(places, said)
    if metric == "osworld":
        worth_GP = np.where(distance_GP <= 20, 1 - 0.2 * distance_GP / 20, np.maximum(0.0, 1 - distance_GP / 50))
    else:
        reach_G1 = np.array([[reach if place.is_point else 0.0] for place in places])
        worth_GP = (distance_GP <= reach_G1).astype(float)
    worth_GP[~detection.compatible([point.label for point in said], [place.label for place in places])] = 0.0
    pairs = boxes.match(worth_GP)
    parts = {"precision": len(pairs) / answered, "recall": len(pairs) / true}
    score = sum(worth_GP[pair] for pair in pairs) / max(true, answered)
    return Verdict(float(score), parts=parts, answer=answer, why=f"{len(pairs)} of {true} places met, {why}")
