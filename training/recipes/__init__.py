"""Recipes as files: the deck's twelve versions for each backbone, our own, and users' own.

A recipe is everything that determines a fit except the data, the seed and the source of weights. The TOML files beside
this module hold the package's own; ``docs/how-to/recipes.md`` describes the format. Nothing here imports torch, and
pydantic is imported only to validate settings.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from training.files import read_bytes

Augmentation = Literal["none", "low", "mid", "high", "strong"]

BUILT_IN_BACKBONES: tuple[str, ...] = (
    "vgg16",
    "resnet50v2",
    "efficientnetb0",
    "efficientnet_lite0",
    "mobilenetv2",
    "small",
)
"""Networks without a library's prefix."""

LIBRARIES: tuple[str, ...] = ("timm:", "torchvision:")
"""Prefixes of a library's name of a network, as in timm:resnet18."""

BUNDLED_BACKBONES: tuple[str, ...] = ("mobilenetv2", "timm:tf_efficientnet_lite0", "timm:tf_efficientnet_lite2")
"""Pre-trained networks whose weights are inside a package, for machines that are offline."""

BF16_BACKBONES: frozenset[str] = frozenset({"vgg16", "resnet50v2", "small"})
"""Backbones of plain convolutions, which bfloat16 speeds up; depthwise ones it slows down (measured on AVX-512)."""

ALL_BLOCKS: int = -1
"""``blocks_trained`` of a recipe that trains the whole network; "all" in a file."""

SIDES = (8, 2048)
"""Smallest and largest side of the input, in pixels."""

_NAME = r"\w[\w.+:-]*(/\w[\w.+:-]*)*"
"""Pattern of a recipe's name, after which folders of runs are named."""

_FOLDER = Path(__file__).parent
_DECK_FILE = "deck.toml"
_OWN_FILES = ("fast", "thorough", "scratch", "recommended", "best")
_SUFFIX = ".toml"


class UnknownRecipeError(ValueError):
    """There is no recipe of this name, or its file is not a recipe."""


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a fit except data, seed and weights.

    Attributes:
        name: as on the command line: ``BACKBONE/MODEL``, one of our own, or a file's without its ending.
        backbone: the network: one of ``BUILT_IN_BACKBONES``, ``timm:NAME`` or ``torchvision:NAME``.
        augmentation: level of ``training.augment``.
        learning_rate: Adam's rate (Kingma & Ba, 2015); its peak with ``one_cycle``.
        blocks_trained: convolution blocks, counted from the top, that are trained; 0 for the top only,
            ``ALL_BLOCKS`` for the whole network.
        batch_size: images per step.
        micro_batch: images that a processor takes at once, with gradients summed over a step; 0 for the whole batch.
            Batch normalisation sees only these (Hoffer et al., 2017, found that it generalises better).
        extra_dense: one more dense layer before the last.
        class_weights: weight classes by the inverse of their share in the training data.
        image_size: side of the network's input, in pixels. In a file, it defaults to the size that a library network's
            weights were trained at.
        epochs: passes over the data at most.
        patience: epochs without a better validation accuracy before stopping; None never stops early and
            keeps the last epoch's weights.
        one_cycle: a linear rise to ``learning_rate`` and a cosine fall (Smith & Topin, 2018).
        weight_decay: decoupled decay of weights of two or more dimensions (Loshchilov & Hutter, 2019).
        label_smoothing: share of the target spread evenly over classes (Szegedy et al., 2016).
        mixup: alpha of the Beta distribution that mixes pairs of images (Zhang et al., 2018); 0 is off.
        ema: decay per step of the running average of the weights, which is evaluated; 0 is off.
        flip_average: average predictions over an image and its mirror image.
        shift_average: average predictions over an image and four shifts of it, up, down, left and right.
        bf16: multiply in bfloat16 if the processor supports it (measured faster for plain convolutions); graphics cards
            that support it always do.
        members: recipes that are fitted separately and whose probabilities are averaged; with them, only ``name``,
            ``image_size`` (their largest), ``flip_average`` and ``shift_average`` of this recipe count.

    Raises:
        ValueError: a value is out of range.

    """

    name: str
    backbone: str
    augmentation: Augmentation
    learning_rate: float
    blocks_trained: int = ALL_BLOCKS
    batch_size: int = 64
    micro_batch: int = 0
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
    shift_average: bool = False
    bf16: bool = False
    members: tuple[Recipe, ...] = ()

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not re.fullmatch(_NAME, self.name):
            raise ValueError(f"name is {self.name!r}: use letters, digits and . _ + - : /, no dot first")
        limits = {
            "learning_rate": (0, 1),
            "blocks_trained": (ALL_BLOCKS, 1000),
            "batch_size": (2, 2**16),
            "micro_batch": (0, 2**16),
            "image_size": SIDES,
            "epochs": (1, 10_000),
            "patience": (1, 10_000),
            "weight_decay": (0, 10),
            "label_smoothing": (0, 0.9),
            "mixup": (0, 100),
            "ema": (0, 0.99999),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if value is not None and not (low <= value <= high and math.isfinite(value)):
                raise ValueError(f"{name} is {value}: give one of {low:g} to {high:g}")
        if not self.members and self.backbone not in BUILT_IN_BACKBONES and not self.backbone.startswith(LIBRARIES):
            raise ValueError(
                f"no backbone is called {self.backbone!r}: use one of {', '.join(BUILT_IN_BACKBONES)}, or timm:NAME "
                "or torchvision:NAME"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON values, for a run's configuration file."""
        plain = asdict(self)
        plain["members"] = [member.as_dict() for member in self.members]
        if not self.shift_average:
            del plain["shift_average"]  # stored folds and runs are older than this setting
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Recipe:
        """Return the recipe that ``as_dict`` was called on.

        Raises:
            UnknownRecipeError: it is damaged, or has settings that this version does not know.

        """
        try:
            members = tuple(cls.from_dict(member) for member in plain.get("members", ()))
            return _checked({**plain, "members": members})
        except UnknownRecipeError as error:
            raise UnknownRecipeError(f"{error}; use the version that fitted it, or remove its folder") from error
        except (TypeError, AttributeError) as error:
            raise UnknownRecipeError(f"the recipe is damaged ({error}): remove its folder to fit it again") from error

    def folder_name(self) -> str:
        """Return the name as part of a path, valid on every file system."""
        return re.sub(r"[/:]", "-", self.name)

    def parts(self) -> tuple[Recipe, ...]:
        """Return what is fitted: the members, or the recipe itself."""
        return self.members or (self,)


def recipe(name: str) -> Recipe:
    """Return the recipe called ``name``.

    Args:
        name: one of our own, ``BACKBONE/MODEL`` as in ``vgg16/7`` or ``timm:resnet18/9``, a library's network alone
            (fitted like ``fast``), the path of a ``.toml`` file with one recipe, or ``FILE.toml:TABLE``.

    Raises:
        UnknownRecipeError: there is none of that name, or its file is not a recipe.

    """
    own = {chosen.name: chosen for chosen in own_recipes()}
    if name in own:
        return own[name]
    file, _, table = name.rpartition(_SUFFIX)
    if file and (not table or table.startswith(":")):
        found = read_recipes(Path(file + _SUFFIX))
        wanted = [each for each in found if f"/{each.name}".endswith("/" + table[1:])] if table else found
        if len(wanted) != 1:
            held = ", ".join(f"{file}{_SUFFIX}:{each.name.rpartition('/')[2]}" for each in found)
            raise UnknownRecipeError(f"{name} is {len(wanted)} recipes: name one of {held}")
        return wanted[0]
    backbone, slash, version = name.rpartition("/")
    names = [str(number) for number in range(len(_deck_versions()))]
    if slash and version in names and _is_backbone(backbone):
        return deck_recipe(backbone, int(version))
    if not slash and name.startswith(LIBRARIES):
        return _filled({"backbone": name}, own["fast"], name)
    raise UnknownRecipeError(
        f"no recipe is called {name!r}: use one of {', '.join(own)}, a file that ends in {_SUFFIX}, or BACKBONE/MODEL "
        f"with a backbone of {', '.join(ladder_backbones())}, timm:NAME or torchvision:NAME, and a model of 0 to "
        f"{names[-1]}"
    )


def rungs(name: str) -> list[Recipe]:
    """Return the recipes that a name stands for on the ladder: a backbone's twelve versions, a file's, or one."""
    if _is_backbone(name):
        return [deck_recipe(name, version) for version in range(len(_deck_versions()))]
    return read_recipes(Path(name)) if name.endswith(_SUFFIX) else [recipe(name)]


def deck_recipe(backbone: str, version: int) -> Recipe:
    """Return version M``version`` of the deck's ladder, with any backbone."""
    shared, versions = _deck_file()
    values = {**shared, **versions[f"M{version}"], "backbone": backbone, "bf16": backbone in BF16_BACKBONES}
    return _built(values, f"{backbone}/{version}")


def own_recipes() -> list[Recipe]:
    """Return our own recipes, whose names contain no backbone."""
    return [_own(name) for name in _OWN_FILES]


def ladder_backbones() -> tuple[str, ...]:
    """Return the backbones whose ladders are listed: the deck's, and those with bundled weights."""
    return (*deck_backbones(), *BUNDLED_BACKBONES)


def deck_backbones() -> tuple[str, ...]:
    """Return the deck's three pre-trained networks."""
    return tuple(_deck_file()[0]["backbones"])


def all_recipes() -> list[Recipe]:
    """Return every recipe: our own, and twelve versions of the deck's three backbones and of the bundled ones."""
    return [*own_recipes(), *(each for backbone in ladder_backbones() for each in rungs(backbone))]


def within_budget(chosen: Recipe, epochs: int | None = None, image_size: int | None = None) -> Recipe:
    """Return ``chosen`` with other epochs or input size, for small machines; None keeps a value."""
    return replace(
        chosen,
        epochs=chosen.epochs if epochs is None else epochs,
        image_size=chosen.image_size if image_size is None else image_size,
        members=tuple(within_budget(member, epochs, image_size) for member in chosen.members),
    )


def read_recipes(path: Path) -> list[Recipe]:
    """Return the recipes of a file: one, or one per table.

    Raises:
        UnknownRecipeError: it cannot be read, is not TOML, or a setting in it is unknown or wrong.

    """
    try:
        return _recipes_of(tomllib.loads(read_bytes(path).decode("utf-8")), path.stem)
    except OSError as error:
        raise UnknownRecipeError(f"the recipe {path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnknownRecipeError(f"{path} is not a TOML file: {error}") from error
    except UnknownRecipeError as error:
        raise UnknownRecipeError(f"{path}: {error}") from error


def _recipes_of(plain: Mapping[str, Any], stem: str) -> list[Recipe]:
    """Return a file's recipes: settings without tables are one recipe; beside tables, they are shared by all."""
    shared = {name: value for name, value in plain.items() if not isinstance(value, dict)}
    tables = {name: value for name, value in plain.items() if isinstance(value, dict)}
    backbones = shared.pop("backbones", None)
    if not tables:
        return [_built(shared, stem)]
    if backbones is None:
        return [_built({**shared, **table}, f"{stem}/{name}") for name, table in tables.items()]
    return [
        _built({**shared, **table, "backbone": backbone}, f"{backbone}/{name}")
        for backbone in backbones
        for name, table in tables.items()
    ]


def _built(values: Mapping[str, Any], name: str) -> Recipe:
    """Return the recipe of a table: its base, its own settings, and its members."""
    plain = {setting: value for setting, value in values.items() if setting not in ("based_on", "backbones")}
    base = values.get("based_on")
    if base is None:
        return _filled(plain, None, name)
    if not isinstance(base, str) or base not in _OWN_FILES:
        raise UnknownRecipeError(f"based_on is {base!r}: use one of {', '.join(_OWN_FILES)}")
    return _filled(plain, _own(base), name)


def _filled(values: Mapping[str, Any], base: Recipe | None, name: str) -> Recipe:
    """Return a recipe with these settings and, for the others, those of ``base``."""
    plain = {**values, "name": values.get("name", name)}
    if plain.get("blocks_trained") == "all":
        plain["blocks_trained"] = ALL_BLOCKS
    if "members" in plain:
        given = plain["members"]
        if not isinstance(given, list) or not all(isinstance(member, dict) for member in given):
            raise UnknownRecipeError("members is not a list of tables: write each member under [[members]]")
        plain["members"] = tuple(_built(member, f"{plain['name']}/{place}") for place, member in enumerate(given))
        plain.setdefault("image_size", max(member.image_size for member in plain["members"]))
    backbone = plain.get("backbone", "")
    if "image_size" not in plain and str(backbone).startswith(LIBRARIES):
        from training.backbones import own_image_size

        plain["image_size"] = own_image_size(backbone)
    if base is not None:
        plain = {each.name: getattr(base, each.name) for each in fields(Recipe)} | {"members": ()} | plain
    return _checked(plain)


def _checked(plain: Mapping[str, Any]) -> Recipe:
    """Return the recipe with these settings, or raise UnknownRecipeError with one sentence on what is wrong."""
    if importlib.util.find_spec("pydantic") is None:  # training alone needs none: types then go unchecked
        return Recipe(**plain)
    from pydantic import TypeAdapter, ValidationError

    members = [member.as_dict() for member in plain.get("members", ())]
    try:
        return TypeAdapter(Recipe).validate_json(json.dumps({**plain, "members": members}, default=str))
    except ValidationError as error:
        raise UnknownRecipeError("; ".join(_sentence(each) for each in error.errors())) from error


def _sentence(error: Mapping[str, Any]) -> str:
    """Return one of pydantic's errors as a sentence."""
    setting = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "unexpected_keyword_argument":
        near = difflib.get_close_matches(setting, [each.name for each in fields(Recipe)], 1)
        return f"{setting} is not a setting of a recipe" + (f", did you mean {near[0]}?" if near else "")
    if error["type"] in ("missing", "missing_argument"):
        return f"{setting} is missing"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"{setting} is {error['input']!r}: {error['msg'].removeprefix('Input ')}"


def _is_backbone(name: str) -> bool:
    return name in BUILT_IN_BACKBONES or name.startswith(LIBRARIES)


@cache
def _own(name: str) -> Recipe:
    return _recipes_of(_packaged(name + _SUFFIX), name)[0]


@cache
def _deck_file() -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the deck's shared settings and those of each version."""
    plain = _packaged(_DECK_FILE)
    shared = {name: value for name, value in plain.items() if not isinstance(value, dict)}
    return shared, {name: value for name, value in plain.items() if isinstance(value, dict)}


def _deck_versions() -> list[str]:
    return list(_deck_file()[1])


def _packaged(file: str) -> dict[str, Any]:
    return tomllib.loads((_FOLDER / file).read_text(encoding="utf-8"))
