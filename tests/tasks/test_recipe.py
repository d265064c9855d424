"""A wrong recipe is refused in one line: where, what was expected, what was received."""

import pytest

from isotypic.errors import RequestError
from isotypic.tasks.recipe import recipe_of

SECTION = {
    "a value out of range": ("training", {"steps": 0}, "training.steps: input should be greater than or equal to 1, "),
    "a value of another kind": ("training", {"steps": "many"}, "training.steps: input should be a valid integer, "),
    "no section": ("grouping", 3, "grouping: input should be a valid dictionary"),
    "an unknown key": ("training", {"step": 3}, "unknown key 'training.step': did you mean 'steps'? Known: batch_size"),
    "a key of another family": (
        "model",
        {"family": "unet", "width": 2},
        "unknown key 'model.width': did you mean 'head_width'? Known: embedding_dimension, family, group, head_width, "
        "heads, kernel_size, match, norm, pool, stages, upsampling",
    ),
    "a family that is not there": (
        "model",
        {"family": "unett"},
        "model: unknown family 'unett': did you mean 'unet'? Known: unet, boundary",
    ),
    "a name that nobody has": (
        "augmentation",
        "d5",
        "augmentation: unknown augmentation 'd5': Known",
    ),
    "another": ("intensity", "zzz", "intensity: unknown intensity augmentation 'zzz': Known"),
    "a value by our own rule": (
        "model",
        {"family": "unet", "kernel_size": 4},
        "model.kernel_size: expected an odd number of taps",
    ),
}
WHOLE = {
    "a kind that is left open": ("model", {"kernel_size": 3}, "model: expected the key 'family', found none"),
    "keys that contradict each other": (
        "grouping",
        {"embedding": {"method": "k-means"}},
        "grouping.embedding: clusters must be given with method k-means, and with no other",
    ),
    "one of another section": (
        "model",
        {"family": "boundary", "group": "p4", "layers": "rotate_max"},
        "model: expected layers 'plain' with group 'p4': maxout over copies of a kernel serves the trivial "
        "group, received 'rotate_max'",
    ),
}


def refusal(**section):
    with pytest.raises(RequestError) as caught:
        recipe_of({"name": "mine", "task": "segmentation", **section})
    return str(caught.value)


@pytest.mark.parametrize(("section", "value", "text"), SECTION.values(), ids=SECTION)
def test_a_wrong_value_is_named_with_what_was_received(section, value, text):
    said = refusal(**{section: value})
    assert said.startswith(f"recipe mine: {text}")
    assert "\n" not in said
    assert "received" in said or "Known" in said


@pytest.mark.parametrize(("section", "value", "text"), WHOLE.values(), ids=WHOLE)
def test_a_wrong_section_is_not_printed_whole(section, value, text):
    assert refusal(**{section: value}) == f"recipe mine: {text}"


def test_a_merit_of_other_heads_is_refused():
    said = refusal(merit="auc")
    assert said == "recipe mine: expected merit dice, greedy-dice or ap50 for embedding heads, received auc"
    boundary = {"name": "mine", "task": "segmentation", "merit": "auc", "model": {"family": "boundary"}}
    assert recipe_of(boundary).merit == "auc"


def test_a_recipe_without_a_name_and_a_right_one():
    assert refusal(name=[]).endswith("name: input should be a valid string, received []")
    assert recipe_of({"name": "mine", "task": "segmentation"}).name == "mine"
