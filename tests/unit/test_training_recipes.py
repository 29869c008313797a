"""The deck's table, read from its page and compared cell by cell, and the names of recipes."""

import json
from dataclasses import replace

import pytest

from training.recipes import (
    ALL_BLOCKS,
    BUNDLED_BACKBONES,
    DECK_BACKBONES,
    RECIPES,
    Recipe,
    UnknownRecipeError,
    all_recipes,
    recipe,
    within_budget,
)

DECK_TABLE = """
augmentation        | none | low | low | high | high | high | high | mid | mid | mid | mid | mid
learning_rate       | 1e-3 | 1e-3 | 1e-4 | 1e-4 | 1e-4 | 1e-4 | 1e-5 | 1e-5 | 1e-5 | 1e-5 | 1e-5 | 1e-5
blocks_trained      | 0 | 0 | 1 | 1 | 2 | 2 | 2 | 2 | 3 | all | all | all
batch_size          | 32 | 32 | 32 | 32 | 32 | 32 | 32 | 32 | 32 | 32 | 128 | 128
extra_dense         | | | | | | yes | yes | yes | yes | | |
class_weights       | | | | | | | | | | | | yes
"""
READ = {
    "augmentation": str,
    "learning_rate": float,
    "blocks_trained": lambda cell: ALL_BLOCKS if cell == "all" else int(cell),
    "batch_size": int,
    "extra_dense": lambda cell: cell == "yes",
    "class_weights": lambda cell: cell == "yes",
}


def table_cells():
    for row in DECK_TABLE.strip().splitlines():
        name, *cells = [cell.strip() for cell in row.split("|")]
        for version, cell in enumerate(cells):
            yield pytest.param(name, version, cell, id=f"{name}-M{version}")


@pytest.mark.parametrize(("name", "version", "cell"), list(table_cells()))
@pytest.mark.parametrize("backbone", DECK_BACKBONES)
def test_every_cell_of_the_deck_table_is_the_recipe_of_every_backbone(backbone, name, version, cell):
    assert getattr(recipe(f"{backbone}/{version}"), name) == READ[name](cell)


@pytest.mark.parametrize("backbone", DECK_BACKBONES)
def test_deck_recipes_share_the_deck_settings(backbone):
    for version in range(12):
        chosen = recipe(f"{backbone}/{version}")
        assert (chosen.image_size, chosen.epochs, chosen.patience) == (224, 6, 2)
        assert (chosen.one_cycle, chosen.label_smoothing, chosen.mixup, chosen.ema) == (False, 0.0, 0.0, 0.0)


def test_every_recipe_is_found_by_its_own_name_once():
    names = [chosen.name for chosen in all_recipes()]
    assert len(set(names)) == len(names) == len(RECIPES) + 12 * (len(DECK_BACKBONES) + len(BUNDLED_BACKBONES))
    assert [recipe(name) for name in names] == all_recipes()


@pytest.mark.parametrize("name", ["vgg16/12", "vgg16/-1", "vgg16", "vgg19/3", "", "vgg16/07"])
def test_an_unknown_recipe_is_refused_with_the_choices(name):
    with pytest.raises(UnknownRecipeError, match="fast"):
        recipe(name)


def test_a_budget_changes_only_epochs_and_size():
    small = within_budget(recipe("vgg16/7"), epochs=1, image_size=64)
    assert (small.epochs, small.image_size) == (1, 64)
    assert within_budget(small, 6, 224) == recipe("vgg16/7")


@pytest.mark.parametrize("chosen", all_recipes(), ids=lambda chosen: chosen.name)
def test_a_recipe_survives_its_file(chosen):
    assert Recipe.from_dict(json.loads(json.dumps(chosen.as_dict()))) == chosen


def test_a_budget_reaches_the_members():
    both = replace(recipe("fast"), members=(recipe("fast"), recipe("scratch")))
    cut = within_budget(both, epochs=1, image_size=32)
    assert [(part.epochs, part.image_size) for part in cut.parts()] == [(1, 32), (1, 32)]
    assert recipe("fast").parts() == (recipe("fast"),)
