"""Recipes as data: the deck's twelve versions for each backbone, and our own.

A recipe is everything that decides a fit but the data, the seed and the weights' source. The deck's table is
``DECK_VERSIONS``, cell by cell; ``RECIPES`` holds ours. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

Augmentation = Literal["none", "low", "mid", "high", "strong"]
Backbone = Literal["vgg16", "resnet50v2", "efficientnetb0", "efficientnet_lite0", "mobilenetv2", "small"]

DECK_BACKBONES: tuple[Backbone, ...] = ("vgg16", "resnet50v2", "efficientnetb0")
"""The three pre-trained networks of the deck."""

BUNDLED_BACKBONES: tuple[Backbone, ...] = ("efficientnet_lite0", "mobilenetv2")
"""Pre-trained networks whose weights come inside a package, for machines without a network."""

ALL_BLOCKS: int = -1
"""``blocks_trained`` of a recipe that trains the whole network."""

DECK_IMAGE_SIZE: int = 224
"""Side of the deck's input, pixels (deck, "Models")."""

DECK_EPOCHS: int = 6
"""Passes over the data for a version of the ladder (deck, "Models")."""

DECK_PATIENCE: int = 2
"""Epochs without a better validation accuracy before the deck's fits stop (deck, "Models")."""


class UnknownRecipeError(ValueError):
    """No recipe has the name that was asked for."""


@dataclass(frozen=True)
class DeckVersion:
    """One column of the deck's table: what version M0 .. M11 changes."""

    augmentation: Augmentation
    learning_rate: float
    blocks_trained: int
    batch_size: int
    extra_dense: bool
    class_weights: bool


DECK_VERSIONS: tuple[DeckVersion, ...] = (
    #           augmentation  rate  blocks trained  batch  extra dense  class weights
    DeckVersion("none", 1e-3, 0, 32, False, False),  # M0
    DeckVersion("low", 1e-3, 0, 32, False, False),  # M1
    DeckVersion("low", 1e-4, 1, 32, False, False),  # M2
    DeckVersion("high", 1e-4, 1, 32, False, False),  # M3
    DeckVersion("high", 1e-4, 2, 32, False, False),  # M4
    DeckVersion("high", 1e-4, 2, 32, True, False),  # M5
    DeckVersion("high", 1e-5, 2, 32, True, False),  # M6
    DeckVersion("mid", 1e-5, 2, 32, True, False),  # M7, the deck's final model with VGG16
    DeckVersion("mid", 1e-5, 3, 32, True, False),  # M8
    DeckVersion("mid", 1e-5, ALL_BLOCKS, 32, False, False),  # M9
    DeckVersion("mid", 1e-5, ALL_BLOCKS, 128, False, False),  # M10
    DeckVersion("mid", 1e-5, ALL_BLOCKS, 128, False, True),  # M11
)
"""The deck's table of versions, M0 to M11 in order; the same for each of its backbones."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a fit but data, seed and weights.

    Attributes:
        name: as given on the command line, ``BACKBONE/MODEL`` or a name of ours.
        backbone: the network.
        augmentation: level of ``training.augment``.
        learning_rate: Adam's rate (Kingma & Ba, 2015); the peak of it with ``one_cycle``.
        blocks_trained: convolution blocks, counted from the top, that are trained; 0 for the top only,
            ``ALL_BLOCKS`` for the whole network.
        batch_size: images a step.
        extra_dense: one more dense layer before the last.
        class_weights: weigh classes by the inverse of their share in the training data.
        image_size: side of the network's input, pixels.
        epochs: passes over the data at most.
        patience: epochs without a better validation accuracy before stopping; None never stops early and
            keeps the last epoch's weights.
        one_cycle: a linear rise to ``learning_rate`` and a cosine fall (Smith & Topin, 2018).
        weight_decay: decoupled decay of weights of two or more dimensions (Loshchilov & Hutter, 2019).
        label_smoothing: share of the target spread evenly over classes (Szegedy et al., 2016).
        mixup: alpha of the Beta distribution that mixes pairs of images (Zhang et al., 2018); 0 is off.
        ema: decay a step of the running average of the weights that is evaluated; 0 is off.
        flip_average: predict the mean over an image and its mirror image.
        bf16: multiply in bfloat16 where the processor has it (measured faster for plain convolutions).
        members: recipes that are fitted one by one and whose probabilities are averaged; with them, only ``name``,
            ``image_size`` (the largest of theirs) and ``flip_average`` of this recipe count.

    """

    name: str
    backbone: Backbone
    augmentation: Augmentation
    learning_rate: float
    blocks_trained: int = ALL_BLOCKS
    batch_size: int = 64
    extra_dense: bool = False
    class_weights: bool = False
    image_size: int = 48
    epochs: int = 10
    patience: int | None = None
    one_cycle: bool = False
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    ema: float = 0.0
    flip_average: bool = False
    bf16: bool = False
    members: tuple[Recipe, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as plain values that JSON keeps, for a run's configuration file."""
        plain = asdict(self)
        plain["members"] = [member.as_dict() for member in self.members]
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Recipe:
        """Return the recipe that ``as_dict`` was called on.

        Raises:
            UnknownRecipeError: it is damaged, or has parts that this version does not know.

        """
        try:
            known = {each.name for each in fields(cls)}
            strange = [name for name in plain if name not in known]
            if strange:
                raise UnknownRecipeError(
                    f"the recipe has {strange[0]!r}, which this version does not know: use the version that fitted it"
                )
            members = tuple(cls.from_dict(member) for member in plain.get("members", ()))
            return cls(**{**plain, "members": members})._checked()
        except (TypeError, KeyError, AttributeError) as error:
            raise UnknownRecipeError(f"the recipe is damaged ({error}): remove its folder to fit anew") from error

    def _checked(self) -> Recipe:
        """Return this recipe, which may have been read from a file."""
        wanted: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "bool": (bool,), "float": (int, float)}
        for each in fields(self):
            kinds = wanted.get(str(each.type))
            if kinds is not None and not isinstance(getattr(self, each.name), kinds):
                raise TypeError(f"its {each.name} is {getattr(self, each.name)!r}")
        if not self.members and self.backbone not in get_args(Backbone):
            raise UnknownRecipeError(f"no backbone is called {self.backbone!r}: use the version that fitted it")
        if not (1 <= self.image_size <= 2048 and self.batch_size >= 1 and self.epochs >= 1):
            raise TypeError("a size is out of range")
        return self

    def parts(self) -> tuple[Recipe, ...]:
        """Return what is fitted: the members, or the recipe itself."""
        return self.members or (self,)


BF16_BACKBONES: frozenset[str] = frozenset({"vgg16", "resnet50v2", "small"})
"""Backbones of plain convolutions, which bfloat16 speeds up; depthwise ones it slows down (measured on AVX-512)."""

_TUNED = Recipe(
    name="",
    backbone="mobilenetv2",
    augmentation="strong",
    learning_rate=1e-3,
    image_size=96,
    one_cycle=True,
    weight_decay=0.05,
    label_smoothing=0.05,
    ema=0.995,
    flip_average=True,
)
"""What our recipes have in common."""

_FROM_SCRATCH = replace(
    _TUNED,
    name="scratch",
    backbone="small",
    learning_rate=3e-3,
    image_size=48,
    epochs=24,
    bf16="small" in BF16_BACKBONES,
)

_FAST = replace(_TUNED, name="fast", epochs=3)

RECIPES: dict[str, Recipe] = {
    "fast": _FAST,
    "thorough": replace(_TUNED, name="thorough", members=(_FAST, replace(_FROM_SCRATCH, name="thorough/1", epochs=12))),
    "scratch": _FROM_SCRATCH,
    "recommended": replace(
        _TUNED,
        name="recommended",
        members=(replace(_TUNED, name="recommended/0", epochs=8), _FROM_SCRATCH),
    ),
}
"""Our recipes: two for cross-validation (the second keeps what the first has fitted), one that needs no weights at
all, and one for a final model. The second and the last are committees of two networks that err differently: a
pre-trained one and one from scratch."""


def deck_recipe(backbone: Backbone, version: int) -> Recipe:
    """Return version M``version`` of the deck's ladder on ``backbone``.

    The bundled backbones take the same versions, so that the ladder can be climbed without a network.
    """
    row = DECK_VERSIONS[version]
    return Recipe(
        name=f"{backbone}/{version}",
        backbone=backbone,
        **asdict(row),
        image_size=DECK_IMAGE_SIZE,
        epochs=DECK_EPOCHS,
        patience=DECK_PATIENCE,
        bf16=backbone in BF16_BACKBONES,
    )


def recipe(name: str) -> Recipe:
    """Return the recipe called ``name``: ``BACKBONE/MODEL`` as in ``vgg16/7``, or one of ours.

    Raises:
        UnknownRecipeError: there is none of that name.

    """
    if name in RECIPES:
        return RECIPES[name]
    for backbone in (*DECK_BACKBONES, *BUNDLED_BACKBONES):
        for version in range(len(DECK_VERSIONS)):
            if name == f"{backbone}/{version}":
                return deck_recipe(backbone, version)
    last = len(DECK_VERSIONS) - 1
    raise UnknownRecipeError(
        f"no recipe is called {name!r}: use one of {', '.join(RECIPES)}, or BACKBONE/MODEL with a backbone of "
        f"{', '.join((*DECK_BACKBONES, *BUNDLED_BACKBONES))} and a model of 0 to {last}"
    )


def within_budget(chosen: Recipe, epochs: int | None = None, image_size: int | None = None) -> Recipe:
    """Return ``chosen`` with fewer epochs or a smaller input, for small machines; None leaves a value as it is."""
    return replace(
        chosen,
        epochs=chosen.epochs if epochs is None else epochs,
        image_size=chosen.image_size if image_size is None else image_size,
        members=tuple(within_budget(member, epochs, image_size) for member in chosen.members),
    )


def all_recipes() -> list[Recipe]:
    """Return every recipe: ours, the deck's three backbones in twelve versions, the bundled backbones."""
    ladder = [
        deck_recipe(backbone, version)
        for backbone in (*DECK_BACKBONES, *BUNDLED_BACKBONES)
        for version in range(len(DECK_VERSIONS))
    ]
    return [*RECIPES.values(), *ladder]
