"""Cost of curating a data set from nothing, of a second run, and of the peers on the same folder in the same run.

python -m tests.benchmarks.bench_curate [FOLDER]
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import peers
from tests.benchmarks.cost import measured, print_figures

DEFAULT_FOLDER = Path("../shared/datasets/Facial_emotion_images")


def run(folder: Path) -> dict[str, object]:
    """Return the figures of one folder."""
    curate = str(Path(sys.executable).with_name("curate"))
    figures: dict[str, object] = {"folder": folder.name}
    with tempfile.TemporaryDirectory() as scratch:
        command = [curate, "run", str(folder), "-w", f"{scratch}/workspace", "--json"]
        first, output = measured(command)
        second, again = measured(command)
        figures["images"] = json.loads(output)["images"]
        figures["same_hash"] = json.loads(output)["manifest_hash"] == json.loads(again)["manifest_hash"]
    figures |= {"first_run": first.record(), "second_run": second.record()}
    figures["second_to_first_cpu"] = round(second.cpu_s / first.cpu_s, 3)
    for peer in peers.PROGRAMS:
        peer_command = peers.command(peer, folder)
        if peer_command is None:
            figures[peer] = "not installed: make peers"
            continue
        cost, _ = measured(peer_command, peers.ENVIRONMENT)
        figures[peer] = {**cost.record(), "our_cpu_share": round(first.cpu_s / cost.cpu_s, 3)}
    return figures


def main() -> None:
    """Print the figures, or say why there are none."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER
    if not folder.is_dir():
        sys.exit(f"{folder} is absent; give a folder of images: python -m tests.benchmarks.bench_curate FOLDER")
    print_figures("curate", run(folder))


if __name__ == "__main__":
    main()
