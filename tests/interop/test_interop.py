"""Interop: real GRPO steps of TRL, the call signatures of the toolkits that are not installed, groups, isolation."""

import asyncio
import base64
import io
import json
import math
import pickle
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from vlmrl import Sample, UserError, catalog, interop
from vlmrl.data.sample_files import to_parquet_row
from vlmrl.models import tiny
from vlmrl.rewards.calls import run_calls
from vlmrl.rewards.composite import Answered, score_groups
from vlmrl.rewards.workers import Workers
from vlmrl.verdict import Member

BOXES = [{"bbox_2d": [10, 10, 50, 50], "label": "cat"}]
COUNT = [{"verifier": "counting"}, {"verifier": "format", "target": "answer", "weight": 0.5}]
SHORT = [{"verifier": "counting"}, {"verifier": "brevity_bonus", "weight": 0.25, "params": {"least": 0}}]
STUCK = '''
"""A verifier that never answers to the word stuck."""
from vlmrl.verdict import Example, Verdict
EXAMPLES = [Example("fine", None, 1.0)]
def check_target(target=None): pass
def gold(target=None): return "fine"
def verify(response, target=None):
    while response == "stuck": pass
    return Verdict(1.0, answer=response)
'''


@pytest.fixture
def stuck(tmp_path):
    path = tmp_path / "stuck_verifier.py"
    path.write_text(STUCK)
    catalog.add_verifiers(path)
    yield "stuck_verifier"
    del catalog._ADDED["stuck_verifier"]
    catalog.load.cache_clear()


def sample(*specs: dict[str, Any]) -> Sample:
    messages = [{"role": "user", "content": "?"}]
    return Sample.model_validate({"id": "a", "source": "s", "messages": messages, "reward": list(specs)})


def ask(function, completions: list[Any], /, **columns: Any) -> list[float | None]:
    """As TRL asks."""
    prompts = columns.pop("prompts", ["?"] * len(completions))
    return function(prompts=prompts, completions=completions, trainer_state=None, **columns)


# --- TRL: the real trainer --------------------------------------------------------------------------------


class Recorded:
    """A reward function that remembers how it was called and what it gave."""

    def __init__(self, reward) -> None:
        self.reward = reward
        self.__name__ = reward.__name__
        self.calls: list[tuple[dict[str, Any], list[float | None]]] = []

    def __call__(self, **columns: Any) -> list[float | None]:
        scores = self.reward(**columns)
        self.calls.append((columns, scores))
        return scores


def train(folder, model, processor, reward, rows) -> list[dict[str, Any]]:
    """Two GRPO steps on the CPU, each of two prompts with four completions; their logs."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    settings = GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=16,
        max_steps=2,
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        disable_tqdm=True,
    )
    data = Dataset.from_list(rows)
    trainer = GRPOTrainer(model, reward, settings, train_dataset=data, processing_class=processor)
    trainer.train()
    return [log for log in trainer.state.log_history if "loss" in log]


def check_logs(logs: list[dict[str, Any]], reward: Recorded, specs_of) -> None:
    """Each step has a finite loss, and logs what `score_groups` gives for the completions of each prompt."""
    assert len(logs) == len(reward.calls) == 2
    for log, (columns, scores) in zip(logs, reward.calls, strict=True):
        texts = [text if isinstance(text, str) else text[-1]["content"] for text in columns["completions"]]
        members = [Member(text, len(ids)) for text, ids in zip(texts, columns["completion_ids"], strict=True)]
        expected: list[float | None] = []
        for start in (0, 4):
            specs = specs_of(columns, start)
            group = [Answered(sample(*specs), members[start : start + 4])] if specs else []
            expected += [v.score for verdicts in score_groups(group) for v in verdicts] or [None] * 4
        assert scores == expected
        known = [score for score in scores if score is not None]
        assert log[f"rewards/{reward.__name__}/mean"] == pytest.approx(fmean(known))
        assert log["reward"] == pytest.approx(fmean(known))
        assert log[f"{reward.__name__}/unscored"] == 1 - len(known) / 8
        assert math.isfinite(log["loss"])
        assert math.isfinite(log["grad_norm"])


@pytest.mark.slow
def test_trl_trains_a_text_model_with_a_group_level_verifier(tmp_path) -> None:
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=tiny.VOCABULARY, num_key_value_heads=2, **sizes))
    brevity = {"verifier": "brevity_bonus", "weight": 0.2, "params": {"least": 0, "correct_above": 0.05}}
    reward = Recorded(interop.trl([{"verifier": "ocr", "columns": {"target": "said"}}, brevity]))
    rows = [{"prompt": f"say {i}", "said": said} for i, said in enumerate(["a red circle", None] * 2)]
    logs = train(tmp_path, model, AutoTokenizer.from_pretrained(tiny.FOLDER), reward, rows)

    def specs_of(columns, i):
        return columns["said"][i] and [{"verifier": "ocr", "target": columns["said"][i]}, brevity]

    assert reward.__name__ == "ocr+brevity_bonus"
    check_logs(logs, reward, specs_of)
    scores = [score for _, given in reward.calls for score in given]
    assert None in scores
    assert len(set(scores)) > 2, "a reward that tells completions apart"
    assert all("ocr+brevity_bonus/ocr" in log and "ocr+brevity_bonus/brevity_bonus" in log for log in logs)


@pytest.mark.slow
def test_trl_trains_a_vision_model_on_the_rewards_of_the_rows(tmp_path, samples) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    rows = []
    for one in samples:
        prompt = [{"role": turn.role, "content": turn.content.replace("<image>", "")} for turn in one.prompt]
        images = [Image.open(io.BytesIO(image.read())) for image in one.media.images]
        specs = [spec.model_dump() for spec in one.reward]
        rows.append({"prompt": prompt, "images": images, "reward": json.dumps(specs)})
    model = AutoModelForImageTextToText.from_pretrained(tiny.FOLDER, dtype="float32")
    processor = AutoProcessor.from_pretrained(tiny.FOLDER)
    reward = Recorded(interop.trl(processor=processor))
    logs = train(tmp_path, model, processor, reward, rows)
    check_logs(logs, reward, lambda columns, i: json.loads(columns["reward"][i]))
    assert all(image is not None for columns, _ in reward.calls for image in columns["images"])


# --- specs and columns ------------------------------------------------------------------------------------


def test_a_target_comes_from_its_column() -> None:
    assert ask(interop.trl("counting", run=run_calls), ["3", "4"], solution=[3, 3]) == [1.0, 0.0]
    assert ask(interop.trl("counting", column="n", run=run_calls), ["3", "4"], n=[3, 4]) == [1.0, 1.0]


def test_parameters_come_from_columns_too() -> None:
    spec = {"verifier": "choice", "columns": {"target": "key", "choices": "options"}}
    columns = {"key": ["A", "A"], "options": [["red", "blue"], ["blue", "red"]]}
    assert ask(interop.trl(spec, run=run_calls), ["red", "red"], **columns) == [1.0, 0.0]


def test_a_composite_is_weighted_as_a_samples_reward_is() -> None:
    reward = interop.trl(COUNT, run=run_calls)
    assert reward.__name__ == "counting+format"
    assert ask(reward, ["<answer>3</answer>", "3"], solution=[3, 3]) == [1.0, pytest.approx(2 / 3)]


@pytest.mark.parametrize("target", [json.dumps(BOXES), BOXES, np.array(BOXES, dtype=object)])
def test_structured_targets_may_be_json_text_or_numpy(target) -> None:
    reward = interop.verl(
        {"verifier": "dynamic_iou", "params": {"answer_coords": "relative_1000", "coords": "relative_1000"}},
        run=run_calls,
    )
    assert reward("s", json.dumps(BOXES), target)["score"] == 1.0


def test_pixels_of_an_image_of_unknown_size_are_refused() -> None:
    """A right box in the pixels of a resized image would earn 0, and a wrong one 1."""
    spec: dict[str, Any] = {"verifier": "dynamic_iou", "params": {"answer_coords": "pixels"}}
    with pytest.raises(UserError, match=r"dynamic_iou: params.answer_size: missing; .* that the model was shown$"):
        interop.verl(spec, run=run_calls)("s", "[28, 37, 112, 112]", [[84, 112, 336, 336]])
    spec["params"] |= {"image_size": [840, 560], "answer_size": [280, 186]}
    assert interop.verl(spec, run=run_calls)("s", "[28, 37, 112, 112]", [[84, 112, 336, 336]])["score"] > 0.9


def test_text_that_is_a_target_stays_text() -> None:
    assert ask(interop.trl("ocr", run=run_calls), ["[1, 2]"], solution=["[1, 2]"]) == [1.0]


def test_rows_bring_specs_as_vlmrl_writes_them() -> None:
    one = sample({"verifier": "counting", "target": 3, "params": {"tolerance": 0.5}})
    plain = [spec.model_dump() for spec in one.reward]
    as_arrow = [{**plain[0], "params": {"tolerance": 0.5, "threshold": None}, "weight": None}]
    as_parquet = to_parquet_row(one)["reward"]
    rows = [plain, as_arrow, as_parquet, json.dumps(plain), "counting"]
    assert ask(interop.trl(run=run_calls), ["4"] * 4 + ["3"], reward=rows) == [1.0] * 4 + [None]


@pytest.mark.parametrize(
    ("specs", "complaint"),
    [
        ("countin", "did you mean 'counting'"),
        ({"verifier": "counting", "wieght": 2}, "wieght: unknown field; did you mean 'weight'"),
        ({"verifier": "counting", "params": {"tolerence": 1}}, "did you mean 'tolerance'"),
        ({"verifier": "choice", "columns": {"choises": "options"}}, "did you mean 'choices'"),
        ({"verifier": "counting", "target": "many"}, "'many'"),
        ([3], "expected specs"),
        ("[{", "expected specs"),
    ],
)
def test_what_is_wrong_with_a_reward_is_said_at_once(specs, complaint) -> None:
    with pytest.raises(UserError, match=complaint) as caught:
        interop.trl(specs)
    assert "\n" not in str(caught.value)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(UserError, match="counting: no column 'solution' in the data; did you mean 'solutions'"):
        ask(interop.trl("counting", run=run_calls), ["3"], solutions=[3])
    with pytest.raises(UserError, match="reward: no such column"):
        ask(interop.trl(run=run_calls), ["3"], answer=[3])


# --- places in images -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "right"), [("qwen2_5_vl", "[28, 34, 112, 101]"), ("qwen3_vl", "[100, 200, 400, 600]")]
)
@pytest.mark.parametrize("stored", ["pil", "struct", "bytes", "path", "array", "uri"])
def test_boxes_are_judged_as_the_model_that_the_trainer_loads_writes_them(
    family, right, stored, model_folder, tmp_path
) -> None:
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(model_folder(family))
    processor.image_processor.size = {"shortest_edge": 3136, "longest_edge": 56448}
    image = Image.new("RGB", (840, 560), "white")
    image.save(tmp_path / "p.png")
    data = (tmp_path / "p.png").read_bytes()
    forms = {"pil": image, "struct": {"bytes": data, "path": None}, "bytes": data, "path": str(tmp_path / "p.png")}
    forms |= {"array": np.asarray(image), "uri": "data:image/png;base64," + base64.b64encode(data).decode()}
    reward = interop.trl("dynamic_iou", processor=processor, run=run_calls)
    columns = {"solution": [[[84, 112, 336, 336]]] * 2, "images": [[forms[stored]]] * 2}
    scores = ask(reward, [right, "[84, 112, 336, 336]"], **columns)
    assert scores == [pytest.approx(1.0, abs=0.02), 0.0]
    swift = interop.swift("dynamic_iou", processor=processor, run=run_calls)()
    assert swift([right, "[84, 112, 336, 336]"], **columns) == scores


def test_boxes_whose_coordinates_nobody_states_are_refused() -> None:
    with pytest.raises(UserError, match="nothing says in which coordinates the model answers; give processor="):
        ask(interop.trl("dynamic_iou", run=run_calls), ["[1, 2, 3, 4]"], solution=[[1, 2, 3, 4]])
    stated = {"verifier": "dynamic_iou", "params": {"answer_coords": "relative_1000", "image_size": [840, 560]}}
    scores = ask(interop.trl(stated, run=run_calls), ["[100, 200, 400, 600]"], solution=[[84, 112, 336, 336]])
    assert scores == [pytest.approx(1.0)]


def test_what_is_not_a_processor_is_named() -> None:
    with pytest.raises(UserError, match="processor: a object has no image processor; pass what AutoProcessor"):
        interop.trl("point", processor=object(), run=run_calls)


def test_a_row_without_its_images_is_named(model_folder) -> None:
    from transformers import AutoProcessor

    reward = interop.trl("point", processor=AutoProcessor.from_pretrained(model_folder("qwen2_5_vl")), run=run_calls)
    with pytest.raises(UserError, match="point: no images in the row; pass the column image or images"):
        ask(reward, ["[1, 2]"], solution=[[1, 2, 3, 4]])


# --- TRL: responses, groups, arguments --------------------------------------------------------------------


@pytest.mark.parametrize(
    "completion",
    [
        [{"role": "assistant", "content": "3"}],
        [{"role": "assistant", "content": [{"type": "text", "text": "3"}]}],
        [
            {"role": "assistant", "content": None, "tool_calls": [{}]},
            {"role": "tool", "content": "4"},
            {"role": "assistant", "content": "3"},
        ],
        [{"role": "assistant", "reasoning_content": "4?", "content": "3"}],
    ],
)
def test_chat_completions_are_answered_by_their_last_turn(completion) -> None:
    assert ask(interop.trl("counting", run=run_calls), [completion], solution=[3]) == [1.0]


def test_thinking_that_the_template_took_out_is_put_back() -> None:
    turn = {"role": "assistant", "reasoning_content": "two and one", "content": "<answer>3</answer>"}
    reward = interop.trl({"verifier": "format", "target": "think_answer"}, run=run_calls)
    assert ask(reward, [[turn]]) == [1.0]


def test_groups_are_runs_of_one_prompt_and_tokens_are_counted() -> None:
    reward = interop.trl(SHORT, run=run_calls)
    prompts, solution = ["a", "a", "a", "b", "b"], [3, 3, 3, 3, 3]
    ids = [[1] * 5, [1] * 4, [1] * 3, [1] * 9, [1] * 8]
    scores = ask(reward, ["3", "3", "4", "3", "3"], prompts=prompts, solution=solution, completion_ids=ids)
    assert scores == [0.8, 1.0, 0.0, 0.8, 1.0]


def test_another_image_is_another_prompt() -> None:
    images = [[Image.new("RGB", (4, 4), color)] for color in ("red", "red", "blue", "blue")]
    ids = [[1] * 5, [1] * 4, [1] * 9, [1] * 8]
    scores = ask(interop.trl(SHORT, run=run_calls), ["3"] * 4, solution=[3] * 4, images=images, completion_ids=ids)
    assert scores == [0.8, 1.0, 0.8, 1.0]


def test_trl_is_told_parts_answers_and_reasons() -> None:
    metrics: dict[str, float] = {}
    extra: dict[str, list[Any]] = {}
    reward = interop.trl(COUNT, run=run_calls)
    columns = {"solution": [3, 3, "many"], "log_metric": metrics.__setitem__, "log_extra": extra.__setitem__}
    assert ask(reward, ["<answer>3</answer>", "4", "3"], **columns)[2] is None
    assert metrics["counting+format/counting"] == 0.5
    assert metrics["counting+format/format"] == pytest.approx(1 / 3)
    assert metrics["counting+format/unscored"] == pytest.approx(1 / 3)
    assert extra["counting+format/answer"][:2] == ["3", "4"]
    assert "many" in extra["counting+format/why"][2]


def test_a_group_may_be_spread_over_training_processes(tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys
            from torch import distributed
            from vlmrl import interop
            from vlmrl.rewards.calls import run_calls
            rank, place = int(sys.argv[1]), "file://{tmp_path}/meeting"
            distributed.init_process_group("gloo", init_method=place, rank=rank, world_size=2)
            reward = interop.trl({SHORT}, run=run_calls)
            prompts = [["a", "a", "b"], ["b", "b", "c"]][rank]
            ids = [[[1] * 4, [1] * 5, [1] * 8], [[1] * 9, [1] * 6, [1] * 7]][rank]
            print(reward(prompts=prompts, completions=["3"] * 3, completion_ids=ids, solution=[3] * 3))
            distributed.destroy_process_group()
            """
        )
    )
    command = [sys.executable, str(script)]
    running = [subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True) for rank in (0, 1)]
    printed = [json.loads(process.communicate(timeout=300)[0]) for process in running]
    assert printed == [[1.0, 0.8, 0.8], [0.8, 1.0, 1.0]]


def test_a_reward_function_can_be_pickled() -> None:
    reward = pickle.loads(pickle.dumps(interop.trl(SHORT)))
    assert reward.__name__ == "counting+brevity_bonus"
    assert ask(reward, ["3", "4"], solution=[3, 3]) == [1.0, 0.0]


# --- toolkits that are not installed: their documented signatures -----------------------------------------


def test_verl_gets_the_same_keys_for_every_answer() -> None:
    compute_score = interop.verl(COUNT, unscored=0.0, run=run_calls)
    called = {"data_source": "pixmo", "ground_truth": "3", "extra_info": {"num_turns": None, "split": "train"}}
    right = compute_score(solution_str="<answer>3</answer>", **called)
    assert right == {"score": 1.0, "acc": 1.0, "pred": "3", "counting": 1.0, "format": 1.0, "unscored": 0.0}
    nothing = compute_score(solution_str="?", **called)
    unscored = compute_score(solution_str="3", **called | {"ground_truth": "many"})
    assert (unscored["score"], unscored["unscored"]) == (0.0, 1.0)
    assert list(right) == list(nothing) == list(unscored)


def test_verl_rewards_by_data_source() -> None:
    compute_score = interop.verl({"pixmo": "counting", "geo3k": [{"verifier": "math"}]}, run=run_calls)
    assert compute_score("pixmo", "three", 3)["score"] == 1.0
    assert compute_score("geo3k", r"\boxed{\frac12}", "0.5")["score"] == 1.0
    with pytest.raises(UserError, match="data source 'geo4k': has no reward; did you mean 'geo3k'"):
        compute_score("geo4k", "1", "1")


def test_verl_rows_may_bring_their_specs_as_pandas_reads_them() -> None:
    specs = np.array([{"verifier": "counting", "target": 3, "params": {}}], dtype=object)
    assert interop.verl(run=run_calls)("pixmo", "3", "ignored", {"reward": specs})["score"] == 1.0


def test_without_a_number_for_it_an_unscored_answer_is_an_error() -> None:
    with pytest.raises(UserError, match=r"not judged \(.*many.*\).*unscored=0.0"):
        interop.verl("counting", run=run_calls)("pixmo", "3", "many")
    with pytest.raises(UserError, match=r"unscored=0\.0"):
        interop.easyr1("counting", run=run_calls)({"response": "3", "response_length": 1, "ground_truth": "many"})


def test_easyr1_calls_for_a_batch_or_for_one() -> None:
    compute_score = interop.easyr1(COUNT, unscored=0.25, run=run_calls)
    inputs = [
        {"response": text, "response_length": 9, "ground_truth": truth}
        for text, truth in [("<answer>3</answer>", "3"), ("4", "3"), ("3", "many")]
    ]
    scores = compute_score(inputs)
    assert [score["overall"] for score in scores] == [1.0, 0.0, 0.25]
    assert [score["unscored"] for score in scores] == [0.0, 0.0, 1.0]
    assert compute_score(inputs[0]) == scores[0]
    assert {tuple(score) for score in scores} == {("overall", "counting", "format", "unscored")}


@pytest.mark.parametrize("make", [interop.verl, interop.easyr1])
def test_where_answers_come_alone_a_group_level_verifier_is_refused(make) -> None:
    with pytest.raises(UserError, match="brevity_bonus: needs the other answers"):
        make(SHORT)


@dataclass
class SlimeSample:
    """The fields of slime's `Sample` that count here."""

    response: str
    response_length: int
    label: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    remove_sample: bool = False


def test_slime_with_group_rm() -> None:
    reward = interop.slime(SHORT, run=run_calls)
    group = [SlimeSample("3", 5, "3"), SlimeSample("3", 4, "3"), SlimeSample("4", 3, "3")]
    assert asyncio.run(reward(None, group)) == [0.8, 1.0, 0.0]
    assert not any(one.remove_sample for one in group)


def test_slime_does_not_train_on_what_could_not_be_judged(stuck) -> None:
    with Workers(1, deadline=2.0) as workers:
        reward = interop.slime([{"verifier": stuck}, {"verifier": "counting"}], run=workers)
        group = [SlimeSample("3", 1, "3"), SlimeSample("stuck", 1, "3"), SlimeSample("4", 1, "3")]
        assert asyncio.run(reward(None, group)) == [1.0, 0.75, 0.5]
        assert [one.remove_sample for one in group] == [False, True, False]


def test_slime_one_by_one() -> None:
    reward = interop.slime("counting", unscored=0.5, run=run_calls)
    one, unjudged = SlimeSample("3", 1, "3"), SlimeSample("3", 1, "many")
    assert asyncio.run(reward(None, one)) == 1.0
    assert asyncio.run(reward(None, unjudged)) == 0.5
    assert (one.remove_sample, unjudged.remove_sample) == (False, True)


def test_swift_gets_the_groups_mean_for_what_could_not_be_judged(stuck) -> None:
    with Workers(1, deadline=2.0) as workers:
        reward = interop.swift([{"verifier": stuck}, {"verifier": "counting"}], run=workers)
        columns = {"prompt_id": ["a", "a", "a", "b"], "solution": ["3", "3", "3", "many"], "trainer_state": None}
        assert reward(args=None)(["3", "stuck", "4", "3"], **columns) == [1.0, 0.75, 0.5, None]
    assert reward.__name__ == "stuck_verifier+counting"


def test_swift_groups_by_the_messages_and_counts_tokens_of_all_turns() -> None:
    reward = interop.swift(SHORT, run=run_calls)()
    questions = [{"role": "user", "content": text} for text in ("?", "?", "??", "??")]
    messages = [[question, {"role": "assistant", "content": f"answer {i}"}] for i, question in enumerate(questions)]
    ids = [[1, 2], [[1], [2, 3]], [[1, 2], [3, 4]], [1, 2, 3]]
    scores = reward(["3"] * 4, messages=messages, solution=["3"] * 4, response_token_ids=ids)
    assert scores == [1.0, 0.8, 0.8, 1.0]


# --- isolation --------------------------------------------------------------------------------------------


def test_a_verifier_that_hangs_costs_one_answer(stuck) -> None:
    with Workers(1, deadline=2.0) as workers:
        assert ask(interop.trl(stuck, run=workers), ["fine", "stuck", "fine"]) == [1.0, None, 1.0]


def test_the_shared_workers_know_verifiers_that_came_later(stuck) -> None:
    assert ask(interop.trl("counting"), ["3"], solution=[3]) == [1.0]
    assert ask(interop.trl(stuck), ["fine"]) == [1.0]


def test_a_script_without_a_guard_judges_in_workers_and_leaves_none_behind(tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            print("started")
            import psutil, sys
            from vlmrl import interop
            print(interop.trl("counting")(["?"], ["3"], solution=[3]))
            print(interop.verl("math")("geo3k", "4", "4")["score"])
            print("torch" in sys.modules)
            print(*(child.pid for child in psutil.Process().children(recursive=True)))
            """
        )
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300, check=False)
    *printed, children = done.stdout.splitlines()
    assert (printed, done.stderr) == (["started", "[1.0]", "1.0", "False"], "")
    left = {int(pid) for pid in children.split()}
    assert left
    while left:  # until the test's time is up
        left &= {process.pid for process in psutil.process_iter() if process.status() != psutil.STATUS_ZOMBIE}
        time.sleep(0.05)
