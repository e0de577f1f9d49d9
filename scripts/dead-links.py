#!/usr/bin/env python3
"""Names every link of a site's pages that leads nowhere inside it: no such file, or no such anchor.

    dead-links.py FOLDER

Ends with 1 where there is one. Links to other sites are not followed.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page, and what it links to."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links = set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if anchor := attributes.get("id") or (tag == "a" and attributes.get("name")):
            self.anchors.add(anchor)
        if link := attributes.get("href") or attributes.get("src"):
            self.links.append(link)


def dead(link, path, folder, pages):
    """Why `link` of the page at `path` is dead, or None."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if file.is_dir():
        file = file / "index.html"
    if not file.is_file() or not file.is_relative_to(folder):
        return "no such file"
    anchor = unquote(parts.fragment)
    if anchor and file in pages and anchor not in pages[file].anchors:
        return "no such anchor"
    return None


def main():
    folder = Path(sys.argv[1]).resolve()
    # The page for printing repeats all others; 404.html stands for pages in any folder.
    left_out = {"print.html", "404.html", "toc.html"}
    paths = [path for path in folder.rglob("*.html") if path.name not in left_out]
    pages = {path: Page(path) for path in paths}
    found = 0
    for path, page in pages.items():
        for link in page.links:
            if why := dead(link, path, folder, pages):
                print(f"{path.relative_to(folder)}: {link}: {why}", file=sys.stderr)
                found += 1
    if not pages or found:
        sys.exit(f"{found} dead links in {len(pages)} pages")
    print(f"no dead link in {len(pages)} pages, {sum(len(page.links) for page in pages.values())} links")


main()
