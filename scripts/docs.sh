#!/bin/bash
# Builds the guide as a site in TARGET/docs/html, and checks that no link in it is dead. Needs the
# network once, for mdBook.
#
#   scripts/docs.sh TARGET
set -euo pipefail
target=$(realpath -m "${1:-target}")
version=0.5.4
cd "$(dirname "$0")/.."

mdbook=$target/tools/bin/mdbook
if [ "$("$mdbook" --version 2>/dev/null)" != "mdbook v$version" ]; then
    echo "docs: building mdBook $version, once"
    "${CARGO:-cargo}" install --quiet --locked --root "$target/tools" --version "$version" \
        --no-default-features --features search mdbook
fi

# The repository's own folders, so that a link from a page to a YAML file leads to it here as well.
rm -rf "$target/docs"
mkdir -p "$target/docs/src"
cp docs/book.toml "$target/docs/"
git ls-files -z -- '*.md' docs configs perf/pktgen ':!:configs/reader' ':!:docs/book.toml' ':!:docs/SUMMARY.md' |
    tar --create --null --files-from=- | tar --extract --directory="$target/docs/src"
# mdBook makes index.html of a README.md, but leaves links to it alone.
find "$target/docs/src" -name '*.md' -exec sed -i -E 's#(\]\([^)]*)README\.md#\1index.md#g' {} +
# Links of the summary are as seen from docs/.
sed -E 's#\]\(\.\./#](#; t; s#\]\(#](docs/#' docs/SUMMARY.md >"$target/docs/src/SUMMARY.md"

"$mdbook" build "$target/docs"
python3 scripts/dead-links.py "$target/docs/html"
echo "docs: $target/docs/html/index.html"
