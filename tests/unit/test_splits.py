"""Names of splits as people and published sets write them, and what is no split's name."""

from __future__ import annotations

import pytest

from curation.base import splits
from curation.base.classes import in_order

TRAIN = ("train", "TRAIN", "Training", "train_set", "Training-Set", "trainset", "trains", "train_images", "train data")
TRAIN += ("FER2013Train", "affectnet_train", "01_train", "train2017", "trainval", "TrainVal", "my.train")
VALIDATION = ("val", "valid", "Validation", "val_set", "valset", "dev", "PublicTest", "public_test", "FER2013Valid")
VALIDATION += ("instances_val2017", "Validation_Set", "devset", "rafdb-val", "vld")
TEST = ("test", "TEST", "tests", "testing", "test_set", "eval", "evaluation", "holdout", "hold-out", "held_out")
TEST += ("PrivateTest", "Private Test", "FER2013Test", "test_data", "testset", "lab_test")
FOLDS = ("fold1", "Fold_2", "cv3", "split0", "k-fold-4")
NONE = ("happy", "contest", "latest", "attest", "fold", "set", "split", "images", "train_test_split", "s01", "", "2013")


@pytest.mark.parametrize(("names", "split"), [(TRAIN, "train"), (VALIDATION, "validation"), (TEST, "test"), (NONE, "")])
def test_a_name_stands_for_a_split_by_its_first_or_last_word(names: tuple[str, ...], split: str) -> None:
    assert {name: splits.standard(name) for name in names} == dict.fromkeys(names, split)


def test_the_role_is_train_or_held_out_and_that_of_other_names_and_folds_is_unknown() -> None:
    assert {splits.role(name) for name in TRAIN} == {"train"}
    assert {splits.role(name) for name in (*VALIDATION, *TEST, "test1")} == {"held-out"}
    assert {splits.role(name) for name in (*FOLDS, *NONE)} == {"unknown"}
    assert [splits.standard(name) for name in FOLDS] == list(FOLDS)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Training", "PublicTest", "PrivateTest"), ("train", "validation", "test")),
        (("train", "validation", "PublicTest"), ("train", "validation", "PublicTest")),
        (("train", "test", "eval"), ("train", "test", "eval")),
        (("train", "Training_Set", "val", "VALID"), ("train", "train", "validation", "validation")),
        (("lab_train", "web_train", "web_val"), ("train", "train", "validation")),
        (("train", "test1", "test2"), ("train", "test1", "test2")),
        (("train_1", "train_2", "test"), ("train_1", "train_2", "test")),
        (("fold1", "fold2"), ("fold1", "fold2")),
        (("night", "train "), ("night", "train")),
    ],
)
def test_held_out_splits_are_never_joined_on_a_guess(names: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert splits.assign(names) == dict(zip(names, expected, strict=True))


def test_numbers_among_the_classes_are_ordered_as_numbers() -> None:
    assert in_order(["10", "happy", "2", "1", "2", "0", "²", "1.5"]) == ["0", "1", "2", "10", "1.5", "happy", "²"]
