"""Look for dead links in a built site: python tools/links.py FOLDER; exit status 1 where there is one. No network."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag


class Links(HTMLParser):
    """What a page points to, and the places in it that can be pointed to."""

    def __init__(self, text: str) -> None:
        """Read a page's HTML."""
        super().__init__()
        self.targets: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag points to, and its own name."""
        for name, value in attrs:
            if name in ("href", "src") and value and tag != "base":
                self.targets.append(value)
            if name in ("id", "name") and value:
                self.places.add(value)


def dead_links(site: Path) -> list[str]:
    """Return the links within the site that lead nowhere, as "page -> link"; other hosts are not asked."""
    pages = {page.resolve(): Links(page.read_text(encoding="utf-8")) for page in site.rglob("*.html")}
    dead = []
    for page, links in pages.items():
        if page.name == "404.html":
            continue  # its links begin at the root of the server
        for target in links.targets:
            if re.match(r"[a-z][a-z+.-]*:|//", target):
                continue
            address, place = urldefrag(unquote(target))
            address = address.partition("?")[0]
            found = (page.parent / address).resolve() if address else page
            found = found / "index.html" if found.is_dir() else found
            if not found.exists() or (place and found in pages and place not in pages[found].places):
                dead.append(f"{page.relative_to(site.resolve())} -> {target}")
    return dead


def main(folder: str) -> int:
    """Print the dead links of a site; return the exit status."""
    dead = dead_links(Path(folder))
    print(
        "\n".join(["dead links:", *dead]) if dead else f"{folder}: no dead link",
        file=sys.stderr if dead else sys.stdout,
    )
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
