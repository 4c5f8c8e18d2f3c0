"""The Ray job and the KubeRay manifest: their command lines parse, and their parts fit each other."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from milepost.cli.run import command

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples" / "ray"


def read(name: str) -> Any:
    return yaml.safe_load((EXAMPLES / name).read_text("utf-8"))


def options_of(entrypoint: str) -> dict[str, Any]:
    """Parse a command line as the shell and click do."""
    program, name, *arguments = shlex.split(entrypoint)
    assert (program, name) == ("milepost", "run")
    return command.make_context("run", arguments, token_normalize_func=None).params


@pytest.mark.parametrize(
    "entrypoint", [read("job.yaml")["entrypoint"], read("kuberay.yaml")["spec"]["entrypoint"]]
)
def test_the_command_is_one_of_milepost_on_the_cluster_that_it_runs_in(entrypoint: str) -> None:
    options = options_of(entrypoint)
    assert (options["executor"], options["ray_address"]) == ("ray", "auto")
    assert options["yes"], "nobody is there to be asked"
    assert isinstance(command, click.Command)


def test_the_manifest_mounts_the_results_on_every_pod_and_gives_workers_a_gpu() -> None:
    manifest = read("kuberay.yaml")
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayJob")
    cluster = manifest["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    place = options_of(manifest["spec"]["entrypoint"])["output_path"]
    for group in (cluster["headGroupSpec"], workers):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        (mount,) = container["volumeMounts"]
        assert place.startswith(mount["mountPath"])
        assert [volume["name"] for volume in pod["volumes"]] == [mount["name"]]
    assert workers["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]


def test_the_version_of_ray_is_the_one_that_is_tested() -> None:
    pinned = re.search(r"^ray==([^;\s]+)", (REPOSITORY / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    assert pinned
    assert read("kuberay.yaml")["spec"]["rayClusterSpec"]["rayVersion"] == pinned[1]
