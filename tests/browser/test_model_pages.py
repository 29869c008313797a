"""The pages of a model and of a ladder in a real browser: they open, fit, and axe finds nothing serious."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import pytest

from reports import EvaluationTables, LadderTables, evaluation_page, ladder_page
from tests.browser.chromium import SIZES, Watched, screenshot, serious_violations
from training.evaluate import compare_pairs, confused, confusion, metrics

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

CLASSES = ("happy", "neutral", "sad", "surprise")
VIEWS = {"as given": 1.0, "without copies in train": 0.8, "cleaned": 0.7}


def answers(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return probabilities of a model that is right more often than not."""
    logits = np.random.default_rng(seed).normal(0, 1, (len(labels), len(CLASSES)))
    logits[np.arange(len(labels)), labels] += 1.6
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def evaluation_tables() -> EvaluationTables:
    """Return the tables of a page with two splits, one of them without the class surprise."""
    scored, pairs, cells, galleries, heads = [], [], [], [], []
    for split, count, classes in (("validation", 400, 4), ("test", 60, 3)):
        labels = np.random.default_rng(count).integers(0, classes, count)
        one, two = answers(labels, 1), answers(labels, 2)
        for view, share in VIEWS.items():
            part = slice(0, int(share * count))
            keys = {"split": split, "view": view, "images": part.stop}
            table = metrics(labels[part], one[part], CLASSES, replicates=50).assign(**keys)
            scored.append(table)
            both = compare_pairs(labels[part], two[part], one[part], CLASSES, replicates=50).assign(**keys)
            pairs.append(both.rename(columns={"first": "other", "second": "model"}))
            f1 = {f"f1 {row['class']}": row["estimate"] for _, row in table[table["metric"] == "f1"].iterrows()}
            named = table[table["class"] == ""].set_index("metric")
            accuracy = named.loc["accuracy"]
            interval = f"{accuracy['low']:.1%} to {accuracy['high']:.1%}"
            macro = named.loc["macro_f1", "estimate"]
            heads.append({**keys, "accuracy": accuracy["estimate"], "interval": interval, "macro_f1": macro, **f1})
        counts = confusion(labels, one.argmax(axis=1), len(CLASSES))
        cells += [
            (split, given, called, int(count), count / max(1, row.sum()))
            for given, row in zip(CLASSES, counts, strict=True)
            for called, count in zip(CLASSES, row, strict=True)
        ]
        paths = [
            f"{split}/{CLASSES[label]}/<b>a long name {n}</b>_without_any_place_to_break_it.jpg"
            for n, label in enumerate(labels)
        ]
        predictions = pd.DataFrame(one, columns=list(CLASSES)).assign(path=paths, label=[CLASSES[n] for n in labels])
        found = confused(predictions, CLASSES, ["sad", "neutral"], limit=8)
        face = np.tile(np.linspace(0, 255, 96, dtype=np.uint8), (96, 1)).tobytes()
        galleries.append(found.assign(split=split, total=99, thumbnail=pd.Series([face] * len(found), dtype=object)))
    return EvaluationTables(
        verdict=["Validation: 81.7% as given."],
        name="vgg16-7_9d4c9279_seed0",
        other="fast_9d4c9279_seed0",
        classes=CLASSES,
        facts=[("Recipe", "vgg16/7"), ("Do this again", "curate evaluate vgg16-7_9d4c9279_seed0")],
        headline=pd.DataFrame(heads),
        metrics=pd.concat(scored, ignore_index=True),
        confusion=pd.DataFrame(cells, columns=["split", "given", "predicted", "images", "share"]),
        gallery=pd.concat(galleries, ignore_index=True),
        pairs=pd.concat(pairs, ignore_index=True),
    )


def ladder_tables() -> LadderTables:
    """Return two backbones in twelve versions, one of them not climbed."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "recipe": f"{backbone}/{version}",
            "backbone": backbone,
            "version": str(version),
            "train_images": 15_109,
            "validation_images": 4_977,
            "epochs": 6,
            "best_epoch": 4,
            "seconds": 312.0,
            "train_accuracy": rng.uniform(0.4, 0.8),
            "validation_accuracy": (accuracy := rng.uniform(0.3, 0.8)),
            "low": accuracy - 0.01,
            "high": accuracy + 0.01,
            "macro_f1": accuracy - 0.02,
            **{f"f1_{name}": rng.uniform(0.3, 0.8) for name in CLASSES},
            "note": "",
        }
        for backbone in ("vgg16", "mobilenetv2")
        for version in range(12)
    ]
    rows[11] |= {"validation_accuracy": np.nan, "note": "the ImageNet weights of vgg16 cannot be downloaded here"}
    return LadderTables(pd.DataFrame(rows), "4,000 images, 2 epochs, 96 px", [("Data", "version v2")])


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    made = {"evaluation": evaluation_page(evaluation_tables()), "ladder": ladder_page(ladder_tables())}
    for name, html in made.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


@pytest.mark.parametrize(("size", "scheme"), [("phone", "dark"), ("laptop", "light")])
@pytest.mark.parametrize("name", ["evaluation", "ladder"])
def test_the_page_opens_without_errors_requests_or_sideways_scrolling(
    browser: Browser, pages: dict[str, Path], name: str, size: str, scheme: Literal["light", "dark"]
) -> None:
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    watched = Watched(page)
    page.goto(pages[name].as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    for chart in page.locator("[data-chart]").all():
        chart.scroll_into_view_if_needed()
        chart.locator(".main-svg").first.wait_for()
    assert watched.fits(width)
    assert (watched.errors, watched.outside()) == ([], [])
    assert page.locator("b", has_text="a long name").count() == 0, "names from the file system are text"
    assert "nan" not in page.locator("main").inner_text().lower().split()
    screenshot(page, f"{name}-{size}-{scheme}")
    page.close()


@pytest.mark.parametrize("name", ["evaluation", "ladder"])
def test_axe_finds_no_serious_violation(browser: Browser, pages: dict[str, Path], name: str) -> None:
    assert serious_violations(browser, pages[name], "light") == []
