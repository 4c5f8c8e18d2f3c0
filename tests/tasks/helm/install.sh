#!/usr/bin/env bash
# install.sh VENV: make an environment with HELM and what Milepost needs, once; say why where it cannot be made.
set -euo pipefail
venv=$1
[ -e "$venv/.ready" ] && exit 0
rm -rf "$venv"
mkdir -p "$(dirname "$venv")"
"${PYTHON:-python3}" -m venv "$venv"
# Versions that HELM holds lower replace those that the rest is tested with.
names=$(grep -oE '^[A-Za-z0-9_-]+' constraints-helm.txt | paste -sd'|')
{ grep -vE "^($names)==" constraints.txt; grep -v '^#' constraints-helm.txt; } > "$venv/constraints.txt"
pip=("$venv/bin/python" -m pip install --quiet --constraint "$venv/constraints.txt")
"${pip[@]}" torch==2.13.0 '.[helm,trackio]' pytest hypothesis pytrec-eval-terrier || exit 1
"$venv/bin/python" -m pip uninstall --quiet --yes milepost
# Beside a torch without CUDA, the torchvision of the package index breaks transformers' imports.
if [ "$("$venv/bin/python" -c 'import torch; print(torch.version.cuda)')" = None ]; then
    "$venv/bin/python" -m pip uninstall --quiet --yes torchvision
fi
touch "$venv/.ready"
