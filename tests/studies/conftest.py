import pytest

from isotypic.tasks.recipe import read_recipe, with_request

SMALL = [
    "training.steps=6",
    "training.evaluations=3",
    "model.stages=[[4], [4]]",
    "study.sizes=[20, 40]",
    "study.seeds=2",
]


@pytest.fixture
def small_study():
    """The digits study with so few steps that a cell takes a fraction of a second."""

    def make(*assignments):
        return with_request(read_recipe("digits"), None, [*SMALL, *assignments])

    return make
