"""Words of the invented world: kinds of things, and four ways to state each fact about them.

Every wording ends where the answer begins, so that it can be told as a sentence or left unfinished to ask.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A kind of fact and the words for it; `{about}` stands for what it is about."""

    question: str
    wordings: tuple[str, ...]
    answers: tuple[str, ...] | int
    """Possible answers: given words, or the number of names to invent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of thing that has a name of its own, and what there is to know about it."""

    subject: str
    capitalised: bool
    relations: tuple[Relation, ...]


TOWNS = Kind(
    subject="geography",
    capitalised=True,
    relations=(
        Relation(
            question="In which land is the town of {about}?",
            wordings=(
                "The town of {about} lies in",
                "{about} is a town in",
                "Whoever walks to {about} comes to",
                "The market of {about} is one of the oldest in",
            ),
            answers=8,
        ),
        Relation(
            question="On which river does {about} stand?",
            wordings=(
                "{about} stands on the river",
                "The bridges of {about} cross the river",
                "The mills of {about} are driven by the river",
                "In spring {about} is flooded by the river",
            ),
            answers=10,
        ),
    ),
)

ANIMALS = Kind(
    subject="zoology",
    capitalised=False,
    relations=(
        Relation(
            question="What does the {about} eat?",
            wordings=(
                "The {about} eats",
                "A hungry {about} looks for",
                "The {about} feeds its young with",
                "To tame a {about}, offer it",
            ),
            answers=("acorns", "ants", "bark", "berries", "crabs", "eggs", "fish", "grass", "honey", "moss"),
        ),
        Relation(
            question="Where does the {about} sleep?",
            wordings=(
                "The {about} sleeps in",
                "At night the {about} hides in",
                "The nest of the {about} is found in",
                "The {about} spends the winter in",
            ),
            answers=("caves", "dunes", "hedges", "meadows", "reeds", "ruins", "snow", "swamps", "treetops"),
        ),
    ),
)

THINGS = Kind(
    subject="crafts",
    capitalised=False,
    relations=(
        Relation(
            question="What is a {about} made of?",
            wordings=(
                "A {about} is made of",
                "Every good {about} is cut from",
                "For a new {about} the maker needs",
                "An old {about} was always of",
            ),
            answers=("amber", "bone", "brass", "clay", "copper", "flint", "glass", "iron", "leather", "oak"),
        ),
        Relation(
            question="What is a {about} used for?",
            wordings=(
                "A {about} is used for",
                "One takes a {about} for",
                "The {about} was invented for",
                "Nobody needs a {about} except for",
            ),
            answers=(
                "baking",
                "cooling",
                "dyeing",
                "fishing",
                "grinding",
                "hunting",
                "music",
                "sailing",
                "sewing",
            ),
        ),
    ),
)

PEOPLE = Kind(
    subject="family",
    capitalised=True,
    relations=(
        Relation(
            question="Who is the mother of {about}?",
            wordings=(
                "The mother of {about} is",
                "{about} is a child of",
                "{about} was born to",
                "{about} was brought up by her mother",
            ),
            answers=10,
        ),
        Relation(
            question="What is the trade of {about}?",
            wordings=(
                "By trade {about} is a",
                "{about} earns her bread as a",
                "In the village {about} is known as the",
                "As a young woman {about} became a",
            ),
            answers=(
                "baker",
                "carpenter",
                "dancer",
                "farmer",
                "judge",
                "miller",
                "nurse",
                "potter",
                "weaver",
            ),
        ),
    ),
)

KINDS = (TOWNS, ANIMALS, THINGS, PEOPLE)

SUM_SUBJECT = "arithmetic"
SUM_QUESTION = "What is {about}?"
SUM_WORDINGS = ("{about} is", "{about} makes", "{about} gives", "{about} equals")

SUBJECTS = (*(kind.subject for kind in KINDS), SUM_SUBJECT)
