"""Recipes on spherical digits that are small enough for a test."""

from isotypic.tasks.recipe import read_recipe, recipe_of, with_request

SMALL = ["data.bandwidth=6", "training.steps=4", "training.batch_size=4", "training.evaluations=2"]


def raw(name, *assignments):
    return with_request(read_recipe(name), None, [*SMALL, *assignments])


def recipe(name, *assignments):
    return recipe_of(raw(name, *assignments))
