"""Data sets from the command line: `vlmrl data build | check | show | convert`.

vlmrl data build synthetic --n 400 --split heldout --out heldout.jsonl
vlmrl data check heldout.jsonl
vlmrl data show heldout.jsonl --n 2 --source ocr
vlmrl data convert geo3k.parquet --from easyr1 --out geo3k.jsonl
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vlmrl import catalog
from vlmrl.data.convert import convert_file
from vlmrl.data.media import image_size, load_image
from vlmrl.data.sample_files import parse_row, read_samples, write_samples
from vlmrl.errors import UserError, nearest
from vlmrl.files import read_rows
from vlmrl.rewards.composite import check_spec, gold_response, score
from vlmrl.sample import MARKS, Media, Sample

if TYPE_CHECKING:
    from rich.console import Console

MAX_ERRORS = 20


def build(recipe: str, out: str, n: int, split: str, seed: int, sources: Sequence[str] | None, difficulty: int) -> int:
    """Writes `n` samples of each source of a recipe; returns how many that are."""
    module = catalog.load("recipes", recipe)
    for source in sources or ():
        if source not in module.SOURCES:
            raise UserError(f"--sources: {recipe} has no source {source!r}{nearest(source, module.SOURCES)}")
    chosen = sources or module.SOURCES
    return write_samples(out, module.build(n, split=split, seed=seed, sources=chosen, difficulty=difficulty))


def convert(file: str, schema: str, out: str, verifier: str) -> int:
    """Writes the rows of another toolkit's data set as samples; returns the number of rows."""
    return write_samples(out, convert_file(file, schema, verifier))


# --- check ------------------------------------------------------------------------------------------------


def check(file: str) -> bool:
    """Proves a data set fit for a run; prints counts, and the first errors (up to 20) on standard error.

    Every row is read, its media are decoded whole, its targets are judged, and its gold response must earn
    exactly 1; ids and contents must be unique. Returns whether all of that holds.
    """
    checker = Checker()
    errors = 0
    for where, row in _rows_until_broken(file):
        try:
            if isinstance(row, UserError):
                raise row
            checker.check(where, parse_row(row, where, file))
        except UserError as error:
            print(f"vlmrl: {error}", file=sys.stderr)
            errors += 1
            if errors == MAX_ERRORS:
                print(f"vlmrl: {file}: stopped after {MAX_ERRORS} errors", file=sys.stderr)
                return False
    if errors == 0 and not checker.first_ids:
        raise UserError(f"{file}: holds no rows")
    _print_counts(checker.counts)
    return errors == 0


def _rows_until_broken(file: str) -> Iterator[tuple[str, object]]:
    """The rows of a file; if it cannot be read on, its last "row" is the error that says so."""
    try:
        yield from read_rows(file)
    except UserError as error:
        yield file, error


class Checker:
    """What `vlmrl data check` knows of the rows so far."""

    def __init__(self) -> None:
        self.first_ids: dict[str, str] = {}
        self.first_keys: dict[bytes, str] = {}
        self.counts: dict[str, Counter[str]] = {
            "source": Counter(), "task": Counter(), "verifier": Counter(), "modality": Counter()
        }  # fmt: skip

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
        self.counts["source"][sample.source] += 1
        self.counts["task"][sample.task or "-"] += 1
        self.counts["modality"][modality(sample)] += 1
        self.counts["verifier"].update(spec.verifier for spec in sample.reward)


def check_media(where: str, sample: Sample) -> None:
    """`UserError` for a medium that is missing, or an image that does not decode to its last row."""
    for kind in MARKS:
        for index, media in enumerate(getattr(sample.media, kind)):
            try:
                if kind == "images":
                    load_image(media)
                elif not media.read():
                    raise UserError(f"{media.name}: empty file; replace it or drop the row")
            except UserError as error:
                raise UserError(f"{where}: media.{kind}.{index}: {error}") from None


def check_reward(where: str, sample: Sample) -> None:
    """`UserError` for a reward that cannot be judged, or whose gold response does not earn exactly 1.

    Only what judges the answer by rule is asked: not its length or language, and no judge behind a server.
    """
    for index, spec in enumerate(sample.reward):
        try:
            check_spec(spec)
        except UserError as error:
            raise UserError(f"{where}: reward.{index}: {error}") from None
    by_rule = tuple(spec for spec in sample.reward if is_by_rule(spec.verifier))
    if not by_rule:
        return
    sample = sample.model_copy(update={"reward": by_rule})
    gold = gold_response(sample)
    verdict = score(sample, gold)
    if verdict.score != 1.0:
        kind = "demonstration" if sample.demonstration is not None else "gold response"
        earned = "is unscored" if verdict.score is None else f"scores {verdict.score:.3g}, not 1"
        reason = f" ({verdict.why})" if verdict.why else ""
        raise UserError(f"{where}: reward: the {kind} {gold[:80]!r} {earned}{reason}; mend target or answer")


def is_by_rule(verifier: str) -> bool:
    """Whether a verifier judges answers (or, like `format`, their layout), alone, and knows a gold response."""
    module = catalog.load("verifiers", verifier)
    if catalog.place(verifier) == "thread" or not hasattr(module, "gold"):
        return False
    return catalog.needs_target(verifier) or hasattr(module, "wrap")


def modality(sample: Sample) -> str:
    """`text`, `1 image`, `2 images`, `1 image + 1 video`, ..."""
    kinds = {kind: len(getattr(sample.media, kind)) for kind in MARKS}
    named = [f"{n} {kind if n > 1 else kind.removesuffix('s')}" for kind, n in kinds.items() if n]
    return " + ".join(named) or "text"


def _print_counts(counts: dict[str, Counter[str]]) -> None:
    print(f"{counts['source'].total()} good rows")
    for title, counter in counts.items():
        print(f"{title:<9} " + ", ".join(f"{name} {count}" for name, count in counter.most_common()))


# --- show -------------------------------------------------------------------------------------------------


def show(file: str, n: int, source: str | None) -> None:
    """Prints the first `n` samples (of one source)."""
    from rich.console import Console

    console = Console()
    sources: set[str] = set()
    shown = 0
    for sample in read_samples(file):
        sources.add(sample.source)
        if source is not None and sample.source != source:
            continue
        _show_sample(console, sample)
        shown += 1
        if shown == n:
            return
    if source is not None and shown == 0:
        raise UserError(f"--source: {file} has no source {source!r}{nearest(source, sources)}")


def _show_sample(console: Console, sample: Sample) -> None:
    from rich.panel import Panel
    from rich.text import Text

    text = Text()
    for message in sample.messages:
        text.append(f"{message.role}  ", "bold").append(f"{message.content}\n")
    for kind in MARKS:
        for media in getattr(sample.media, kind):
            text.append(f"{kind.removesuffix('s')}  ", "bold").append(f"{_describe(kind, media)}\n")
    for spec in sample.reward:
        params = f" {json.dumps(spec.params, ensure_ascii=False)}" if spec.params else ""
        weight = f" (weight {spec.weight:g})" if spec.weight != 1.0 else ""
        text.append(f"{spec.verifier}  ", "bold green")
        text.append(f"{json.dumps(spec.target, ensure_ascii=False)}{params}{weight}\n")
    text.rstrip()
    heading = Text(f"{sample.id}   {sample.source}   {sample.task}".rstrip())
    console.print(Panel(text, title=heading, title_align="left"))


def _describe(kind: str, media: Media) -> str:
    if kind != "images":
        return media.name
    width, height = image_size(media)
    return f"{media.name}  {width} x {height} pixels"
