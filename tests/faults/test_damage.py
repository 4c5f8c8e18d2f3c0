"""Records that are cut short or changed: recognised, told, and made anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from milepost.cli.main import milepost
from milepost.store import ResultsIndex
from milepost.store.atomic_files import read_json
from milepost.store.verify import repair, verify
from tests.faults.records import contents, score_files
from tests.faults.zygote import Zygote

pytestmark = pytest.mark.slow


@pytest.fixture
def results(uninterrupted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(uninterrupted, tmp_path / "results"))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def zeroed_at_its_end(path: Path) -> None:
    """What some file systems leave of a file whose last blocks were not written."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def one_bit_flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)


KINDS = ("scores", "docs", "metrics", "doc_metrics", "choices", "picks", "plans", "runs", "checkpoints")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", [cut_short, emptied, zeroed_at_its_end, one_bit_flipped])
def test_verify_names_the_damaged_record_and_the_command_that_makes_it_anew(
    kind: str, damage: Callable[[Path], None], results: Path
) -> None:
    victim = _newest(results, kind)
    damage(victim)
    found = verify(results)
    assert [(finding.kind, finding.path) for finding in found.findings] == [("damaged", victim)]
    if kind != "runs":
        assert (found.findings[0].redo or "").startswith("milepost run ")
    said = CliRunner().invoke(milepost, ["verify", str(results)], standalone_mode=False)
    assert said.return_value == 1
    assert victim.name in said.stdout
    repair(found)
    assert not victim.exists()


def test_verify_of_sound_results_finds_nothing(results: Path) -> None:
    found = verify(results)
    assert found.is_sound
    assert found.n_checked > 100
    assert CliRunner().invoke(milepost, ["verify", str(results)], standalone_mode=False).return_value == 0


def test_a_shard_that_was_removed_is_missed(results: Path) -> None:
    victim = _newest(results, "scores")
    victim.unlink()
    assert [(finding.kind, finding.path) for finding in verify(results).findings] == [("missing", victim)]


def test_what_power_cuts_leave_is_recognised_by_the_next_run_and_redone(
    results: Path, asked: list[str], zygote: Zygote, uninterrupted: Path, tmp_path: Path
) -> None:
    victims = [_newest(results, kind) for kind in KINDS]
    before = score_files(results)
    for victim, damage in zip(victims, [cut_short, emptied, zeroed_at_its_end] * 3, strict=False):
        damage(victim)
    log = tmp_path / "log"
    assert zygote.run(*asked, "-o", results, log=log) == 0, log.read_text("utf-8")
    assert contents(results) == contents(uninterrupted)
    changed = {path for path, about in score_files(results).items() if before[path] != about}
    assert changed == {victims[0]}
    assert verify(results).is_sound


@pytest.mark.parametrize("kind", ["checkpoints", "metrics"])
def test_a_damaged_record_of_a_checkpoint_the_run_does_not_visit_keeps_nothing_from_being_shown(
    kind: str, results: Path, asked: list[str], zygote: Zygote, tmp_path: Path
) -> None:
    (model_id,) = {
        read_json(path)["model_id"] for path in (results / "store").glob("checkpoints/*/checkpoint-10.json")
    }
    (victim,) = (results / "store" / kind).rglob("*-10.json" if kind == "checkpoints" else f"{model_id}-*")
    one_bit_flipped(victim)
    log = tmp_path / "log"
    assert zygote.run(*asked, "--steps", "20:", "-o", results, log=log) == 0, log.read_text("utf-8")
    assert f"{victim.name} is damaged and removed" in log.read_text("utf-8")
    assert {one.checkpoint for one in ResultsIndex.open(results).metrics()} == {
        "checkpoint-20",
        "checkpoint-30",
    }
    assert zygote.run(*asked, "-o", results, log=log) == 0
    assert len({one.checkpoint for one in ResultsIndex.open(results).metrics()}) == 3


def test_the_scores_of_another_checkpoint_are_never_taken_for_its_own(
    results: Path, asked: list[str], zygote: Zygote, uninterrupted: Path, tmp_path: Path
) -> None:
    """A record that somebody copied to the place of another is sound in itself, but says what it is."""
    one, other = sorted((results / "store" / "scores").iterdir())[:2]
    victim = sorted(other.rglob("*.parquet"))[0]
    shutil.copy(one / victim.relative_to(other), victim)
    one, other = sorted((results / "store" / "metrics").rglob("*.json"))[:2]
    shutil.copy(one, other)
    found = {finding.path: finding.reason for finding in verify(results).findings}
    assert set(found) == {victim, other}
    assert all("in the place of another" in reason for reason in found.values())
    log = tmp_path / "log"
    assert zygote.run(*asked, "-o", results, log=log) == 0, log.read_text("utf-8")
    assert contents(results) == contents(uninterrupted)


def test_a_flipped_bit_in_scores_is_never_counted(
    results: Path, asked: list[str], zygote: Zygote, uninterrupted: Path, tmp_path: Path
) -> None:
    """Of a checkpoint whose figures are still to be computed."""
    one_bit_flipped(_newest(results, "scores"))
    shutil.rmtree(results / "store" / "metrics")
    log = tmp_path / "log"
    assert zygote.run(*asked, "-o", results, log=log) == 0, log.read_text("utf-8")
    assert "is damaged" in log.read_text("utf-8")
    assert contents(results) == contents(uninterrupted)


def _newest(results: Path, kind: str) -> Path:
    files = [path for path in (results / "store" / kind).rglob("*.*") if path.is_file()]
    return max(files, key=lambda path: (path.stat().st_mtime_ns, path))
