#!/usr/bin/env sh
# Fetch axe-core from npm into one file, unless it is there: tests/web/browser/get_axe.sh FILE
set -eu
version=4.14.1
if [ -s "$1" ]; then exit 0; fi
if ! command -v npm >/dev/null; then echo "no npm: the tests with axe-core will skip" >&2; exit 0; fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if (cd "$folder" && npm pack --silent "axe-core@$version" >/dev/null && tar xzf "axe-core-$version.tgz"); then
    mkdir -p "$(dirname "$1")"
    mv "$folder/package/axe.min.js" "$1"
else
    echo "axe-core could not be fetched: its tests will skip" >&2
fi
