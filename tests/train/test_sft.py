"""The supervised cold start: labels of patches stand where the objects are, and both losses fall."""

from __future__ import annotations

import re

import pytest
import torch

from vlmrl import catalog
from vlmrl.config.learner import LearnerSettings
from vlmrl.config.model import ModelSettings
from vlmrl.config.objective import ObjectiveSettings
from vlmrl.config.sft import SftSettings
from vlmrl.errors import UserError
from vlmrl.models.logprobs import score_row
from vlmrl.models.packing import Item, pack
from vlmrl.models.policy import Policy
from vlmrl.sample import Message
from vlmrl.train.learner import Learner
from vlmrl.train.sft import Supervisor, without_thought

synthetic = catalog.load("recipes", "synthetic")


@pytest.fixture
def policy(model_folder) -> Policy:
    return Policy.load(ModelSettings(path=str(model_folder("qwen2_5_vl")), device="cpu"))


def test_labels_stand_at_the_centres_in_the_towers_order(policy: Policy):
    """An object centred in the patch at row 3, column 4 of 6 x 6: merge block (1, 2), inner patch (1, 0)."""
    (sample,) = synthetic.build(1, sources=["counting"])
    sample = sample.model_copy(update={"meta": {"objects": [[7, 56, 42, 70, 56]]}})
    (prompt,) = policy.formatter.encode([sample])
    labels, edges = Supervisor(policy, SftSettings(patch_classes=45))._targets(sample, prompt)
    place = (1 * 3 + 2) * 4 + 1 * 2 + 0
    assert labels.nonzero().flatten().tolist() == [place]
    assert labels[place] == 8  # class 7, after the background
    assert edges[place].tolist() == [-0.25, -0.25, 0.25, 0.25]  # half a patch in units of two patches
    assert not edges[torch.arange(36) != place].any()


def test_the_order_of_labels_is_the_order_of_the_pixels(policy: Policy):
    """A bright square on black: the patch whose label says so is the one whose pixel values are bright."""
    from PIL import Image, ImageDraw

    from vlmrl.data.media import encode_png
    from vlmrl.sample import Media, MediaSet

    (sample,) = synthetic.build(1, sources=["counting"])
    image = Image.new("RGB", (84, 84))
    ImageDraw.Draw(image).rectangle((28, 42, 41, 55), fill=(255, 255, 255))
    media = MediaSet(images=(Media(data=encode_png(image)),))
    sample = sample.model_copy(update={"media": media, "meta": {"objects": [[0, 28, 42, 42, 56]]}})
    (prompt,) = policy.formatter.encode([sample])
    labels, _ = Supervisor(policy, SftSettings(patch_classes=45))._targets(sample, prompt)
    assert labels.argmax() == prompt.features["pixel_values"].mean(1).argmax()


def test_answers_and_patches_are_learned(policy: Policy):
    supervisor = Supervisor(policy, SftSettings(patch_classes=synthetic.CLASSES))
    settings = LearnerSettings(learning_rate=3e-3, warmup_steps=0)
    learner = Learner(policy, settings, ObjectiveSettings(), 30, extra_parameters=supervisor.parameters())
    samples = list(synthetic.build(3))
    prompts = policy.formatter.encode(samples)
    losses = [supervisor.update(learner, samples, prompts).loss for _ in range(30)]
    assert losses[-1] < 0.6 * losses[0]

    answers = [supervisor._answer(s) for s in samples]
    items = [Item(n, p, [a]) for n, (p, a) in enumerate(zip(prompts, answers, strict=True))]
    with torch.no_grad():
        for row in pack(items, 10_000):
            score_row(policy, row)
            assert supervisor._patch_loss(row, samples).item() < 2.0  # from about 4: log of 46 classes and the edges


def test_source_weights_scale_the_answers_alone(policy: Policy):
    samples = list(synthetic.build(1, sources=["ocr", "math"]))
    prompts = policy.formatter.encode(samples)
    losses = []
    for weights in ({}, {"ocr": 0.0}, {"ocr": 0.0, "math": 0.0}):
        supervisor = Supervisor(policy, SftSettings(source_weights=weights))
        learner = Learner(policy, LearnerSettings(learning_rate=1e-12), ObjectiveSettings(), 1)
        losses.append(supervisor.update(learner, samples, prompts).loss)
    assert losses[0] > losses[1] > losses[2] == 0.0


def test_a_sample_without_demonstration_is_named(policy: Policy, mixed_samples):
    supervisor = Supervisor(policy, SftSettings())
    learner = Learner(policy, LearnerSettings(), ObjectiveSettings(), 1)
    with pytest.raises(UserError, match="sample 'one': no demonstration"):
        supervisor.update(learner, mixed_samples[:1], policy.formatter.encode(mixed_samples[:1]))


@pytest.mark.parametrize(
    ("number", "objects", "complaint"),
    [
        (0, None, "'one': meta.objects is not a list of"),
        (0, [[45, 1, 1, 9, 9]], r"'one': meta.objects.0 is \[45, 1, 1, 9, 9\].*class below 45"),
        (0, [[0, 1, 1, 9, 9], [0, 1, 1, 9]], r"'one': meta.objects.1 is \[0, 1, 1, 9\]"),
        (0, [[0, 1, 1, 9, "9"]], "'one': meta.objects.0"),
        (0, [[0, -9, 1, 1, 9]], "'one': meta.objects.0 .*centre in the image of 84 x 84"),
        (1, [], "'two': sft.patch_classes takes rows of one image"),
        (2, [], "'text': sft.patch_classes takes rows of one image"),
        (3, [], "'clip': sft.patch_classes takes rows of one image and no video"),
    ],
)
def test_a_sample_without_labels_for_its_patches_is_named(policy: Policy, mixed_samples, number, objects, complaint):
    supervisor = Supervisor(policy, SftSettings(patch_classes=45))
    learner = Learner(policy, LearnerSettings(), ObjectiveSettings(), 1, extra_parameters=supervisor.parameters())
    asked = mixed_samples[number]
    answer = Message(role="assistant", content="3")
    meta = {} if objects is None else {"objects": objects}
    (good,) = synthetic.build(1, sources=["counting"])
    batch = [good, asked.model_copy(update={"messages": (*asked.messages, answer), "meta": meta})]
    with pytest.raises(UserError, match=complaint) as caught:
        supervisor.update(learner, batch, policy.formatter.encode(batch))
    assert "set sft.patch_classes = 0" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("token", ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>"])
def test_a_demonstration_that_holds_a_placeholder_is_named(policy: Policy, mixed_samples, token):
    supervisor = Supervisor(policy, SftSettings())
    learner = Learner(policy, LearnerSettings(), ObjectiveSettings(), 1)
    answer = Message(role="assistant", content=f"red {token} three")
    asked = mixed_samples[0].model_copy(update={"messages": (*mixed_samples[0].messages, answer)})
    with pytest.raises(UserError, match="sample 'one': its demonstration holds '" + re.escape(token)):
        supervisor.update(learner, [asked], policy.formatter.encode([asked]))


def test_a_dropped_thought_is_two_newlines_between_the_tags() -> None:
    whole = "<think>red,\nblue:\n2</think><answer>2</answer>"
    empty = "<think>\n\n</think><answer>2</answer>"
    assert without_thought(whole) == without_thought(empty) == empty
    assert without_thought("2") == "2"
    # The format reward of the paper still accepts it.
    assert re.fullmatch(r"<think>.*?</think>\s*<answer>.*?</answer>", empty, re.DOTALL)
