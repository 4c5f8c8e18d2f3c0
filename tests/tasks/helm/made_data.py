"""Data of scenarios that cannot be had offline, made of Wikipedia's text, where HELM looks for them."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas

N_QUERIES = 8
N_CANDIDATES = 20
"""Passages that a first search found for a query: HELM shows one from rank 11 on as a wrong example."""
TRACKS = {"train": (1,), "regular": (1,), "trec": (3, 1, 2)}
"""Of each track of MS MARCO, how relevant the first passages of a query are."""

STORY_NAMES = (
    *("ada", "bela", "cyril", "dora", "edda", "fenn", "greta", "hugo"),
    *("ines", "jori", "kalle", "lina", "milo", "nele", "otto", "pia"),
)
"""Those of the made stories in the shared folder."""
OTHER_NAMES = ("aisha", "darnell", "ebony", "jamal", "keisha", "leroy")


def write_made_data(scenarios: Path, wikitext: Path) -> None:
    """Write all of them.

    Args:
        scenarios: the `scenarios` folder in HELM's output folder.
        wikitext: a Parquet file with the column `text`.
    """
    lines = [text or " \n" for text in pandas.read_parquet(wikitext)["text"]]
    articles = scenarios / "wikitext_103" / "data"
    articles.mkdir(parents=True)
    (articles / "wiki.test.raw").write_text("".join(lines))
    long_lines = [line.strip() for line in lines if len(line) > 200]
    _write_tweets(scenarios / "twitter_aae", long_lines)
    _write_passages(scenarios / "msmarco" / "data", long_lines)
    _write_databases(scenarios / "spider" / "data" / "spider_data")
    _write_perturbations(scenarios.parent / "perturbations")


def _write_tweets(folder: Path, lines: Iterable[str]) -> None:
    folder.mkdir(parents=True)
    _write_table(folder / "aa_tweets.csv", ",", ([line[:140]] for line in lines))


def _write_passages(folder: Path, lines: Sequence[str]) -> None:
    """Write the passages, queries and rankings of MS MARCO's two tracks and of its training set."""
    folder.mkdir(parents=True)
    passages = [" ".join(line.replace('"', "").split()[:30]) for line in lines[:100]]
    _write_table(folder / "documents.tsv", "\t", enumerate(passages))
    for number, (track, relevances) in enumerate(TRACKS.items()):
        queries = range(N_QUERIES * number, N_QUERIES * (number + 1))
        found = [(query, (query + place) % len(passages), place) for query in queries for place in range(20)]
        _write_table(
            folder / f"{track}_queries.tsv",
            "\t",
            ((query, " ".join(passages[query].split()[3:9])) for query in queries),
        )
        judged = (
            (query, 0, doc, relevances[place]) for query, doc, place in found if place < len(relevances)
        )
        _write_table(folder / f"{track}_qrels.tsv", " " if track == "trec" else "\t", judged)
        # The relevant passage is not always found first.
        ranked = ((query, doc, (place + query) % N_CANDIDATES + 1) for query, doc, place in found)
        _write_table(folder / f"{track}_topk.tsv", "\t", ranked)


def _write_databases(folder: Path) -> None:
    """Write questions about a database: an annotator of Spider's runs the answers on it."""
    place = folder / "test_database" / "concerts"
    place.mkdir(parents=True)
    with sqlite3.connect(place / "concerts.sqlite") as database:
        database.execute("CREATE TABLE concert (title TEXT, year INTEGER)")
        database.executemany("INSERT INTO concert VALUES (?, ?)", [("Spring", 2019), ("Autumn", 2021)])
    asked = {
        "How many concerts are there?": "SELECT count(*) FROM concert",
        "Which concerts were in 2021?": "SELECT title FROM concert WHERE year = 2021",
        "Which concerts were in 1950?": "SELECT title FROM concert WHERE year = 1950",
    }
    rows = [{"db_id": "concerts", "question": question, "query": sql} for question, sql in asked.items()]
    (folder / "test.json").write_text(json.dumps(rows))


def _write_perturbations(folder: Path) -> None:
    """Write what HELM's fairness perturbations put in place of words and names."""
    dialect = folder / "dialect" / "SAE_to_AAVE_mapping.json"
    names = folder / "person_name" / "data" / "person_names.txt"
    for path in (dialect, names):
        path.parent.mkdir(parents=True)
    words = {"the": ["da"], "with": ["wit", "wid"], "is": ["be"], "what": ["whut"], "keeps": ["be keepin"]}
    dialect.write_text(json.dumps(words))
    races = {"white_american": STORY_NAMES, "black_american": OTHER_NAMES}
    _write_table(
        names,
        ",",
        (
            (name, "first_name", "race", race, "gender", ("female", "male")[place % 2])
            for race, of_race in races.items()
            for place, name in enumerate(of_race)
        ),
    )


def _write_table(path: Path, delimiter: str, rows: Iterable[Iterable[object]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)
