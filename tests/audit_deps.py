"""Audit what is installed for known vulnerabilities and write its bill of materials: python -m tests.audit_deps TOOLS.

TOOLS is the folder of the programs of pip-audit and cyclonedx-bom, which live in an environment of their own. Exit
status 1 where something vulnerable is installed, 3 where no service that knows could be reached: an audit of nothing
is no all-clear, although pip-audit says "no known vulnerabilities" then.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

BILL = Path("artifacts") / "sbom.json"
OWN = "face-curation"


def installed() -> list[str]:
    """Return ``name==version`` of every installed distribution but our own."""
    found = {(entry.metadata["Name"].lower(), entry.version) for entry in metadata.distributions()}
    return [f"{name}=={version}" for name, version in sorted(found) if name != OWN]


def bill(tools: Path) -> int:
    """Write the software bill of materials (CycloneDX) and return its number of components."""
    BILL.parent.mkdir(exist_ok=True)
    command = [str(tools / "cyclonedx-py"), "environment", sys.executable, "--output-file", str(BILL)]
    subprocess.run(command, check=True)
    return len(json.loads(BILL.read_text(encoding="utf-8"))["components"])


def judged(report: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of pip-audit's JSON report."""
    known = [entry for entry in report["dependencies"] if "vulns" in entry]
    vulnerable = {
        f"{entry['name']} {entry['version']}": [vuln["id"] for vuln in entry["vulns"]]
        for entry in known
        if entry["vulns"]
    }
    skipped = sorted(entry["name"] for entry in report["dependencies"] if "vulns" not in entry)
    return {"audited": len(known), "not_known_to_the_service": skipped, "vulnerable": vulnerable}


def audit(tools: Path) -> dict[str, Any]:
    """Ask the vulnerability service about everything installed."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "installed.txt"
        wanted.write_text("\n".join(installed()) + "\n", encoding="utf-8")
        command = [str(tools / "pip-audit"), "--no-deps", "--disable-pip", "-r", str(wanted), "-f", "json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return judged(json.loads(done.stdout))
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return {"audited": 0, "not_known_to_the_service": [], "vulnerable": {}, "error": last[:300]}


def main() -> None:
    """Print the figures as JSON."""
    tools = Path(sys.argv[1])
    figures = {"components": bill(tools), "bill_of_materials": str(BILL), **audit(tools)}
    unknown = figures.pop("not_known_to_the_service")
    figures["not_audited"] = unknown if figures["audited"] else len(unknown)
    print(json.dumps(figures, indent=1))
    if not figures["audited"]:
        print("No vulnerability service answers here, so nothing was audited: run it where pypi.org can be reached.")
        sys.exit(3)
    sys.exit(1 if figures["vulnerable"] else 0)


if __name__ == "__main__":
    main()
