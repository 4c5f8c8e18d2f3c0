"""Parse and write Hub addresses: `hf://org/name[@revision][/subfolder]`, as in huggingface_hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from milepost.errors import SourceError
from milepost.text.language import Phrase
from milepost.text.messages import shown

_FORM = re.compile(
    r"hf://(?P<repo>[\w.-]+(?:/[\w.-]+)?)"
    r"(?:@(?P<revision>refs/(?:convert|pr)/[^/@]+|[^/@]+))?"
    r"(?:/(?P<subfolder>.*))?"
)
_HINT = "write hf://org/name[@revision][/subfolder], for example hf://org/name@step-*"


@dataclass(frozen=True, slots=True)
class HubAddress:
    """A repository with revision and sub-folder, which may be patterns."""

    repo_id: str
    revision: str | None = None
    """None if the address has no revision (then `main`)."""
    subfolder: str = ""

    @classmethod
    def parse(cls, text: str) -> HubAddress:
        """Parse an address; `%2F` is a slash in a branch name.

        Raises:
            SourceError: the text is not an address.
        """
        form = _FORM.fullmatch(text.rstrip("/"))
        if form is None or not _is_repo_id(form["repo"]):
            raise SourceError(Phrase("{text} is not an address on the Hub", text=shown(text)), _HINT)
        revision = form["revision"] and unquote(form["revision"])
        subfolder = form["subfolder"] or ""
        parts = subfolder.split("/") if subfolder else []
        if not all(part.isprintable() and part not in {"", ".", ".."} for part in parts):
            raise SourceError(Phrase("{text} has an invalid folder", text=shown(text)), _HINT)
        if revision is not None and (not revision.isprintable() or ".." in revision):
            raise SourceError(Phrase("{text} has an invalid revision", text=shown(text)), _HINT)
        return cls(form["repo"], revision, subfolder)

    def __str__(self) -> str:
        revision = f"@{_quoted(self.revision)}" if self.revision else ""
        subfolder = f"/{self.subfolder}" if self.subfolder else ""
        return f"hf://{self.repo_id}{revision}{subfolder}"


def _quoted(revision: str) -> str:
    if re.fullmatch(r"refs/(?:convert|pr)/[^/@]+", revision):
        return revision
    return quote(revision, safe="*?[]!+=,:")


def _is_repo_id(repo_id: str) -> bool:
    """Check a repository name by the Hub's rule (huggingface_hub.utils.validate_repo_id)."""
    plain = repo_id.isascii() and len(repo_id) <= 96 and "--" not in repo_id and ".." not in repo_id
    return plain and not any(part[0] in ".-" or part[-1] in ".-" for part in repo_id.split("/"))
