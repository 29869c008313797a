"""The deck's table, read from its page and compared cell by cell, and the names of recipes."""

import json
from dataclasses import replace

import pytest

from training.recipes import (
    ALL_BLOCKS,
    BUNDLED_BACKBONES,
    Recipe,
    UnknownRecipeError,
    all_recipes,
    deck_backbones,
    own_recipes,
    read_recipes,
    recipe,
    rungs,
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
@pytest.mark.parametrize("backbone", deck_backbones())
def test_every_cell_of_the_deck_table_is_the_recipe_of_every_backbone(backbone, name, version, cell):
    assert getattr(recipe(f"{backbone}/{version}"), name) == READ[name](cell)


@pytest.mark.parametrize("backbone", deck_backbones())
def test_deck_recipes_share_the_deck_settings(backbone):
    for version in range(12):
        chosen = recipe(f"{backbone}/{version}")
        assert (chosen.image_size, chosen.epochs, chosen.patience) == (224, 6, 2)
        assert (chosen.one_cycle, chosen.label_smoothing, chosen.mixup, chosen.ema) == (False, 0.0, 0.0, 0.0)


def test_every_recipe_is_found_by_its_own_name_once():
    names = [chosen.name for chosen in all_recipes()]
    assert len(set(names)) == len(names) == len(own_recipes()) + 12 * (len(deck_backbones()) + len(BUNDLED_BACKBONES))
    assert [recipe(name) for name in names] == all_recipes()


@pytest.mark.parametrize("name", ["vgg16/12", "vgg16/-1", "vgg16", "vgg19/3", "", "vgg16/07"])
def test_an_unknown_recipe_is_refused_with_the_choices(name):
    with pytest.raises(UnknownRecipeError, match="fast"):
        recipe(name)


def test_a_younger_setting_leaves_runs_and_folds_of_before_as_they_are():
    plain = recipe("fast").as_dict()
    assert "shift_average" not in plain and not Recipe.from_dict(plain).shift_average
    shifting = recipe("recommended")
    assert shifting.as_dict()["shift_average"] and Recipe.from_dict(shifting.as_dict()) == shifting


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


GOOD = """
backbone = "small"
augmentation = "mid"
learning_rate = 1e-3
"""


def written(folder, text, name="mine.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_a_recipe_of_its_own_name(tmp_path):
    chosen = recipe(str(written(tmp_path, GOOD + "epochs = 3\nblocks_trained = 'all'\n")))
    assert (chosen.name, chosen.epochs, chosen.blocks_trained, chosen.batch_size) == ("mine", 3, ALL_BLOCKS, 64)


def test_a_file_may_rest_on_ours_and_have_members(tmp_path):
    members = "[[members]]\nbased_on = 'scratch'\nepochs = 2\n[[members]]\nbased_on = 'fast'\n"
    text = "based_on = 'fast'\nflip_average = false\n" + members
    chosen = recipe(str(written(tmp_path, text)))
    assert [member.backbone for member in chosen.members] == ["small", "mobilenetv2"]
    assert [member.name for member in chosen.members] == ["mine/0", "mine/1"]
    assert (chosen.image_size, chosen.flip_average, chosen.members[0].epochs) == (96, False, 2)


def test_a_file_of_tables_is_a_ladder_and_one_table_a_recipe(tmp_path):
    path = written(tmp_path, GOOD + "[short]\nepochs = 1\n[long]\nepochs = 9\n")
    assert [(each.name, each.epochs) for each in rungs(str(path))] == [("mine/short", 1), ("mine/long", 9)]
    assert recipe(f"{path}:long").epochs == 9
    with pytest.raises(UnknownRecipeError, match=r"mine\.toml:short"):
        recipe(str(path))


def test_the_packaged_files_are_read_as_anybody_s_are(tmp_path):
    from training.recipes import _FOLDER

    deck = read_recipes(_FOLDER / "deck.toml")
    assert len(deck) == 36
    assert [replace(each, name="x", bf16=False) for each in deck if each.backbone == "vgg16"] == [
        replace(each, name="x", bf16=False) for each in rungs("vgg16")
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "learning_rat = 1e-4", "did you mean learning_rate"),
        (GOOD + "epochs = 'many'", "epochs is 'many'"),
        (GOOD + "epochs = 0", "epochs is 0: give one of 1 to"),
        (GOOD + "image_size = 100000", "image_size"),
        (GOOD.replace("mid", "wild"), "augmentation is 'wild'"),
        (GOOD.replace("small", "smal"), "no backbone is called 'smal'"),
        (GOOD + "batch_size = 1.5", "batch_size is 1.5"),
        (GOOD + "learning_rate = nan", "TOML"),
        (GOOD.replace("1e-3", "nan"), "learning_rate"),
        (GOOD + "name = '../../x'", "name is"),
        (GOOD + "members = 3", "members"),
        (GOOD + "based_on = 'finest'", "based_on is 'finest'"),
        ("backbone = 'small'", "missing"),
        ("backbone = ", "TOML"),
        ("backbone = 'timm:resnet1818'\nlearning_rate = 1e-3\naugmentation = 'none'", "did you mean"),
    ],
)
def test_a_wrong_file_is_one_sentence_that_names_it_and_the_setting(tmp_path, text, said):
    with pytest.raises(UnknownRecipeError, match=said) as caught:
        recipe(str(written(tmp_path, text)))
    assert "mine.toml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UnknownRecipeError, match=r"absent\.toml cannot be read"):
        recipe(str(tmp_path / "absent.toml"))


def test_a_library_s_network_takes_the_ladder_and_the_size_of_its_weights():
    pytest.importorskip("timm")
    assert recipe("timm:resnet18/9").backbone == "timm:resnet18"
    assert len(rungs("torchvision:resnet18")) == 12
    assert recipe("timm:inception_v4").image_size == 299
    assert recipe("timm:resnet18/9").folder_name() == "timm-resnet18-9"
