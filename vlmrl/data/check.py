"""Check: is a data set fit for a run? `vlmrl data check` prints what this finds.

checker = Checker()
for error in checker.errors("train.jsonl"): ...      each names file, row and field
checker.counts["source"]                             of the good rows
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import track

from vlmrl import catalog
from vlmrl.data.audio import check_audio
from vlmrl.data.frames import Frames, PlainBoxes, check_frames, media_sizes, stated
from vlmrl.data.media import load_image
from vlmrl.data.sample_files import parse_row
from vlmrl.data.videos import check_video
from vlmrl.errors import UserError
from vlmrl.files import read_rows
from vlmrl.rewards.calls import check_params
from vlmrl.rewards.composite import Answered, as_judged, check_spec, gold_response, score
from vlmrl.rewards.frames import has_frame
from vlmrl.sample import MARKS, Media, Sample

_ROUNDING = 1e-6
"""What boxes that are written in other coordinates may cost."""


class Checker:
    """What is known of the rows so far.

    Every row is read, its media are decoded whole, its targets are judged, and its gold response must earn exactly 1;
    ids and contents must be unique.
    """

    def __init__(self) -> None:
        self.first_ids: dict[str, str] = {}
        self.first_keys: dict[bytes, str] = {}
        self.counts: dict[str, Counter[str]] = {
            "source": Counter(), "task": Counter(), "verifier": Counter(), "modality": Counter(), "coords": Counter()
        }  # fmt: skip
        self.plain_boxes = PlainBoxes()

    def errors(self, file: str) -> Iterator[UserError]:
        """Checks the rows of a file; yields what is wrong with a row, in one line that names it.

        A file that cannot be read to its end is one more such error. `UserError` is raised if there are no rows.
        """
        empty = True
        try:
            for where, row in _with_progress_bar(read_rows(file), file):
                empty = False
                try:
                    self.check(where, parse_row(row, where, file))
                except UserError as error:
                    yield error
        except UserError as error:
            empty = False
            yield error
        if empty:
            raise UserError(f"{file}: holds no rows")

    def check(self, where: str, sample: Sample) -> None:
        """`UserError` that names row and field for the first thing wrong with the sample."""
        first = self.first_ids.setdefault(sample.id, where)
        if first != where:
            raise UserError(f"{where}: id: {sample.id!r} is also the id of {first}; make ids unique")
        check_media(where, sample)
        check_reward(where, sample)
        first = self.first_keys.setdefault(bytes.fromhex(sample.key), where)
        if first != where:
            raise UserError(f"{where}: same prompt, media and reward as {first}; drop one of them")
        self.plain_boxes.observe(where, sample)
        self.counts["source"][sample.source] += 1
        self.counts["task"][sample.task or "-"] += 1
        self.counts["modality"][modality(sample)] += 1
        self.counts["verifier"].update(spec.verifier for spec in sample.reward)
        self.counts["coords"].update(
            str(s.params.get("coords", "pixels (not stated)")) for s in sample.reward if has_frame(s)
        )


def _with_progress_bar(rows: Iterable[tuple[str, Any]], file: str) -> Iterable[tuple[str, Any]]:
    """The rows, with a count on a terminal: videos take long."""
    console = Console(stderr=True)
    return track(rows, f"checking {file}", console=console, transient=True, disable=not console.is_terminal)


_READERS: dict[str, tuple[Callable[[Media], object], ...]] = {
    "images": (load_image,),
    "videos": (check_video,),
    "audios": (check_audio,),
}


def check_media(where: str, sample: Sample) -> None:
    """`UnreadableError` for a medium that is missing or does not decode to its end."""
    heard = {"videos": (check_audio,)} if sample.media.use_audio_in_video else {}
    for kind, readers in _READERS.items():
        for index, media in enumerate(getattr(sample.media, kind)):
            try:
                for read in (*readers, *heard.get(kind, ())):
                    read(media)
            except UserError as error:
                raise error.at(f"{where}: media.{kind}.{index}") from None


def check_reward(where: str, sample: Sample) -> None:
    """`UserError` for a reward that cannot be judged, or whose gold response does not earn exactly 1.

    Only what judges the answer by rule is asked: not its length or language, and no judge behind a server. Places must
    also lie where the target is when they are written as models write them.
    """
    for index, spec in enumerate(sample.reward):
        try:
            check_params(spec.verifier, spec.params)
            check_spec(spec.model_copy(update={"params": spec.params | stated(sample, [spec])[0]}))
        except UserError as error:
            raise UserError(f"{where}: reward.{index}: {error}") from None
    try:
        for model in (Frames("relative_1000", media_sizes), Frames("pixels", _halved)):
            check_frames(sample, model)
        own = Frames("pixels", media_sizes, exact=True)
        frames = own.decided(sample) if sample.boxes else stated(sample)
        sample = own.spelled_out(sample) if sample.boxes else sample
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    sample = sample.model_copy(update={"reward": as_judged(Answered(sample, (), frames))})
    by_rule = tuple(spec for spec in sample.reward if is_by_rule(spec.verifier))
    if not by_rule:
        return
    sample = sample.model_copy(update={"reward": by_rule})
    gold = gold_response(sample)
    verdict = score(sample, gold)
    if verdict.score is None or verdict.score < 1 - _ROUNDING:
        kind = "demonstration" if sample.demonstration is not None else "gold response"
        earned = "is unscored" if verdict.score is None else f"scores {verdict.score:.3g}, not 1"
        reason = f" ({verdict.why})" if verdict.why else ""
        raise UserError(f"{where}: reward: the {kind} {gold[:80]!r} {earned}{reason}; correct the target or the answer")


def _halved(sample: Sample) -> list[tuple[int, int]]:
    """Sizes as of a model that is shown every image at about half its size."""
    return [(-(-width // 2), -(-height // 2)) for width, height in media_sizes(sample)]


def is_by_rule(verifier: str) -> bool:
    """Whether a verifier judges answers (or, like `format`, their layout), alone, and knows a gold response."""
    module = catalog.load("verifiers", verifier)
    if catalog.is_soft(verifier) or not hasattr(module, "gold"):
        return False
    return catalog.needs_target(verifier) or hasattr(module, "wrap")


def modality(sample: Sample) -> str:
    """`text`, `1 image`, `2 images`, `1 image + 1 video`, ..."""
    kinds = {kind: len(getattr(sample.media, kind)) for kind in MARKS}
    named = [f"{n} {kind if n > 1 else kind.removesuffix('s')}" for kind, n in kinds.items() if n]
    return " + ".join(named) or "text"
