import pytest

from isotypic.errors import RequestError
from isotypic.studies.spec import make_plan, model_recipe, plan_from, resolved_sizes, settings_of
from isotypic.tasks.recipe import read_recipe, recipe_names, recipe_of

CNN, TURNED, G_CNN = (
    f"{{model: {model}, augmentation: {augmentation}}}"
    for model, augmentation in (("CNN", "none"), ("CNN", "rot90"), ("p4 G-CNN", "none"))
)


def test_a_plan_crosses_everything_and_survives_its_own_record(small_study, tmp_path):
    plan = make_plan(small_study(), tmp_path)
    assert len(plan.cells) == 2 * 2 * 2 * 2
    assert plan.info.sizes == [20, 40]
    again = plan_from(type(plan.info).model_validate_json(plan.info.model_dump_json()))
    assert again.recipe == plan.recipe
    assert again.spec == plan.spec
    assert [again.recipe_for(cell).model.group for cell in plan.cells[:2]] == ["trivial", "trivial"]
    assert {plan.recipe_for(cell).model.group for cell in plan.cells} == {"trivial", "p4"}
    assert {plan.recipe_for(cell).augmentation for cell in plan.cells} == {"none", "rot90"}


def labels(arms):
    return [arm.label for arm in arms]


def test_listed_arms_are_run_and_no_others(small_study, tmp_path):
    listed = "[{model: p4 G-CNN, augmentation: none}, {model: CNN, augmentation: none}, {model: CNN, augmentation: d4}]"
    question = "study.question.augmented.augmentation=d4"
    plan = make_plan(small_study("study.augmentations=[none, d4]", f"study.arms={listed}", question), tmp_path)
    assert labels(plan.info.arms) == ["p4 G-CNN", "CNN", "CNN + d4"]
    assert labels(dict.fromkeys(cell.arm for cell in plan.cells)) == labels(plan.info.arms)
    assert len(plan.cells) == len(set(plan.cells)) == 3 * 2 * 2
    again = plan_from(type(plan.info).model_validate_json(plan.info.model_dump_json()))
    assert again.cells == plan.cells
    assert [again.recipe_for(cell).augmentation for cell in plan.cells[::2][:3]] == ["none", "none", "d4"]
    crossed = make_plan(small_study(f"study.arms={listed}", "study.arms=null"), tmp_path)
    assert labels(crossed.info.arms) == ["CNN", "CNN + rot90", "p4 G-CNN", "p4 G-CNN + rot90"]


def test_an_arm_may_join_augmentations(small_study, tmp_path):
    names = "study.augmentations=[none, d4+light]"
    plan = make_plan(small_study(names, "study.question.augmented.augmentation=d4+light"), tmp_path)
    assert labels(plan.info.arms) == ["CNN", "CNN + d4+light", "p4 G-CNN", "p4 G-CNN + d4+light"]
    assert {plan.recipe_for(cell).augmentation for cell in plan.cells} == {"none", "d4+light"}
    assert len({cell.identifier for cell in plan.cells}) == len(plan.cells)


def test_an_augmentation_that_the_task_does_not_know_is_refused_before_anything_is_trained():
    raw = read_recipe("sticks")
    raw["study"]["augmentations"] = ["none", "elastic"]
    raw["study"]["question"]["augmented"]["augmentation"] = "elastic"
    with pytest.raises(RequestError, match="augmentation 'elastic' does not move label images"):
        settings_of(raw)


def test_seeds_come_one_after_another(small_study, tmp_path):
    plan = make_plan(small_study(), tmp_path)
    assert [cell.seed for cell in plan.cells] == sorted(cell.seed for cell in plan.cells)


def test_every_recipe_of_the_package_is_valid():
    alone = set()
    for name in recipe_names():
        raw = read_recipe(name)
        assert recipe_of(raw).name == name
        if "study" in raw:
            settings_of(raw)
        else:
            alone.add(name)
    assert alone == {
        "allconv", "all-gconv", "gconv-net", "densenet", "p4-densenet", "p4m-densenet", "inception-frozen",
        "inception-frozen-augmented", "ucluster", "ucluster-author",
    }  # fmt: skip


def test_model_changes_are_validated():
    recipe = recipe_of(read_recipe("digits"))
    assert model_recipe(recipe, {"group": "p4m"}, "d4").model.group == "p4m"
    with pytest.raises(RequestError, match=r"unknown key 'model.grop': did you mean 'group'"):
        model_recipe(recipe, {"grop": "p4m"}, "none")


def test_a_model_of_another_family_is_its_own():
    recipe = recipe_of({**read_recipe("digits"), "model": {"family": "convnet", "group": "p4", "dropout": 0.5}})
    other = model_recipe(recipe, {"family": "densenet", "growth": 3}, "none").model
    assert (other.family, other.group, other.growth, other.dropout) == ("densenet", "trivial", 3, 0)
    assert model_recipe(recipe, {"family": "convnet"}, "none").model == recipe.model


@pytest.mark.parametrize(
    ("assignment", "text"),
    [
        ("study.sizes=[20, 99999]", r"expected training sizes between 1 and the 1069 training images.*received 99999"),
        ("study.sizes=[1.5]", r"or shares in \(0, 1\], received 1.5"),
        ("study.sizes=[5]", r"expected training sizes from 10 \(one image a class\)"),
        ("study.sizes=[]", "at least one model, one augmentation and one size"),
        ("study.seed=3", "unknown key 'seed': did you mean 'seeds'"),
        ("study.augmentations=[none, rot9]", "unknown augmentation 'rot9': did you mean 'rot90'"),
        ("study.augmentations=[none, d4+lihgt]", "unknown augmentation 'lihgt': did you mean 'light'"),
        ("study.test_group=p5", "unknown group of the plane 'p5'"),
        ("study.test_group=C8", "expected a group that maps the pixel grid to itself, received C8"),
        ("study.models.G={group: C8}", "expected a group that maps the pixel grid to itself, received C8"),
        ("study.models.G={group: p44}", "unknown group of the plane 'p44'"),
        ("study.question.built_in.model=G-CNN", "unknown arm in study.question 'G-CNN': did you mean 'p4 G-CNN'"),
        ("study.question.augmented.augmentation=d4", r"unknown arm in study.question 'CNN \+ d4': did you mean"),
        ("study.augmentations=[none, rot90, none]", "expected every arm of the study once, received 'CNN' again"),
        ("study.arms=CNN", "arms: input should be a valid list, received 'CNN'"),
        ("study.arms=[CNN]", "arms.0: input should be a valid dictionary.*received 'CNN'"),
        ("study.arms=[]", "expected an arm with every model, received none with 'CNN'; add one to study.arms"),
        (
            "study.arms=[{model: CNN, augmentation: rot9}]",
            "received none with 'p4 G-CNN'.*or take it out of study.model",
        ),
        (f"study.arms=[{CNN}, {{model: G-CNN}}]", "arms.1.augmentation: field required"),
        (f"study.arms=[{CNN}, {G_CNN}]", "expected an arm with every augmentation, received none with 'rot90'"),
        (f"study.arms=[{CNN}, {G_CNN}, {TURNED}, {CNN}]", "every arm of the study once, received 'CNN' again"),
        (
            f"study.arms=[{CNN}, {{model: p4 CNN, augmentation: none}}]",
            "unknown model in study.arms 'p4 CNN': did you mean 'p4 G-CNN'",
        ),
        (
            f"study.arms=[{CNN}, {{model: p4 G-CNN, augmentation: rot9}}]",
            "unknown augmentation in study.arms 'rot9': did you mean 'rot90'",
        ),
        (
            f"study.arms=[{CNN}, {{model: p4 G-CNN, augmentation: rot90}}]",
            r"unknown arm in study.question 'p4 G-CNN': did you mean 'p4 G-CNN \+ rot90'",
        ),
        ("training.step=5", "unknown key 'training.step': did you mean 'steps'"),
        ("training.steps=none", "training.steps: input should be a valid integer.*received 'none'"),
        ("model.stages=5", "model.stages: input should be a valid list, received 5"),
        ("trainig.steps=5", "unknown key 'trainig': did you mean 'training'"),
        ("data.dataset=digit", "unknown data set 'digit': did you mean 'digits'"),
        ("study", "expected key=value, received 'study'"),
        ("training.steps.more=1", "expected a section at 'steps'"),
        ("training.steps=[1", "expected a YAML value"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(small_study, tmp_path, assignment, text):
    with pytest.raises(RequestError, match=text) as caught:
        make_plan(small_study(assignment), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_recipe_without_a_study_is_refused():
    raw = read_recipe("digits")
    del raw["study"]
    with pytest.raises(RequestError, match="recipe digits has no study section"):
        settings_of(raw)


def test_shares_and_counts():
    assert resolved_sizes([1.0, 0.25, 10], 100) == [10, 25, 100]


@pytest.mark.parametrize(
    ("content", "text"),
    [("[1, 2]", "expected a mapping with data, model and training, found list"), ("a: [", "not valid YAML")],
)
def test_recipe_files_that_are_none(tmp_path, content, text):
    path = tmp_path / "own.yaml"
    path.write_text(content)
    with pytest.raises(RequestError, match=text):
        read_recipe(str(path))
    with pytest.raises(RequestError, match="expected a recipe file at"):
        read_recipe(str(tmp_path / "missing.yaml"))
    with pytest.raises(RequestError, match="unknown recipe 'digit': did you mean 'digits'"):
        read_recipe("digit")
