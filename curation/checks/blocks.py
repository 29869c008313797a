"""Checks on one number by blocks of images: workers measure, all values make the limits, workers judge by these.

The result is that of ``registry.run``. Checks that need all images at once are run whole, here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from curation.base.issues import Issues
from curation.base.pools.threads import Workers
from curation.base.scored import Scored
from curation.checks import registry
from curation.checks.base import CheckInputs, Flags, Floats, Found, Limits, OneNumber

if TYPE_CHECKING:
    from curation.base.settings import Settings

Judged = tuple[Scored, Flags]

ROWS = 65_536
"""Images a task: their columns are few, and a task costs as much as judging a thousand."""

_READABLE = ["", "unreadable"]
"""What a block has for the reasons why images cannot be read."""


def run(inputs: CheckInputs, workers: Workers | None = None, names: Iterable[str] = ()) -> Issues:
    """Run checks and return what they found, as ``registry.run`` does.

    Args:
        inputs: of the whole data set
        workers: who measures and judges by blocks; None: all is done at once, here
        names: of the checks, none for all

    Raises:
        UnknownCheckError: a name is unknown.

    """
    chosen = registry.select(names)
    found: Mapping[str, Found] = {}
    if workers is not None and len(inputs.images):
        found = by_blocks(inputs, [check.name for check in chosen if reads_blocks(check.name)], workers)
    paths = inputs.images["path"]
    return registry.gathered(paths, ((check.name, found.get(check.name) or check.run(inputs)) for check in chosen))


def reads_blocks(name: str) -> bool:
    """Return whether a check is one of the toolkit's own that can judge blocks of images apart."""
    check = registry.CHECKS.get(name)
    return check is not None and isinstance(check.run, OneNumber) and check.run.reads != ()


def by_blocks(inputs: CheckInputs, names: Sequence[str], workers: Workers) -> dict[str, Found]:
    """Return what such checks find, in two passes over blocks that are sent once."""
    checks, settings = _of(names), inputs.settings
    if not checks:
        return {}
    columns = list(dict.fromkeys(name for check in checks for name in check.reads))
    error = pd.Categorical.from_codes((~inputs.readable).astype(np.int8), pd.Index(_READABLE))
    blocks = [(block,) for block in workers.sent(inputs.measurements[columns].assign(error=error), again=True)]
    values = zip(*workers.doing(_make_measuring, names, settings)(blocks), strict=True)
    limits = [check.limits(np.concatenate(parts), settings) for check, parts in zip(checks, values, strict=True)]
    judged = zip(*workers.doing(_make_judging, names, settings, limits)(blocks), strict=True)
    return {name: _joined(inputs, check, parts) for name, check, parts in zip(names, checks, judged, strict=True)}


def _of(names: Sequence[str]) -> list[OneNumber]:
    runs = [registry.CHECKS[name].run for name in names]
    return [run for run in runs if isinstance(run, OneNumber)]


def _joined(inputs: CheckInputs, check: OneNumber, parts: Sequence[Judged]) -> Found:
    scored, flags = zip(*parts, strict=True)
    return check.found(inputs, Scored.joined(scored), np.concatenate(flags))


def _block(measurements: pd.DataFrame, settings: Settings) -> CheckInputs:
    """Return all that a check on blocks may read."""
    return CheckInputs(pd.DataFrame(index=measurements.index), measurements, pd.DataFrame(), settings)


def _make_measuring(names: Sequence[str], settings: Settings) -> Callable[[tuple[pd.DataFrame]], list[Floats]]:
    """Return what measures a block for each check."""
    checks = _of(names)

    def measuring(task: tuple[pd.DataFrame]) -> list[Floats]:
        block = _block(*task, settings)
        return [check.measure(block).values for check in checks]

    return measuring


def _make_judging(
    names: Sequence[str], settings: Settings, limits: Sequence[Limits]
) -> Callable[[tuple[pd.DataFrame]], list[Judged]]:
    """Return what judges a block for each check; it is measured again, which costs less than sending the numbers."""
    checks = _of(names)

    def judging(task: tuple[pd.DataFrame]) -> list[Judged]:
        block = _block(*task, settings)
        found = [check.judge(block, check.measure(block), limit) for check, limit in zip(checks, limits, strict=True)]
        return [(one.scored, one.flags) for one in found]

    return judging
