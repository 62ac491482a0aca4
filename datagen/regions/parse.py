"""What the phrase rules need of a parsed text: plain lists, which are far quicker than tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from datagen.regions.words import ARTICLES

if TYPE_CHECKING:
    from spacy.tokens import Doc

# Coarse classes of Penn tags. spaCy's attribute ruler would say nearly the same, for a third of
# the time that the whole analysis takes.
_CLASSES = {
    "NOUN": ("NN", "NNS", "NNP", "NNPS"),
    "PRON": ("PRP", "EX", "WP", "WDT"),
    "ADJ": ("JJ", "JJR", "JJS", "AFX"),
    "NUM": ("CD",),
    "DET": ("DT", "PDT", "PRP$", "WP$"),
    "VERB": ("VB", "VBD", "VBG", "VBN", "VBP", "VBZ", "MD"),
    "ADV": ("RB", "RBR", "RBS", "WRB"),
    "ADP": ("IN", "RP", "TO"),
    "CCONJ": ("CC",),
    "PUNCT": (",", ".", ":", "``", "''", "-LRB-", "-RRB-", "HYPH", "NFP"),
}
_CLASS_OF = {tag: name for name, tags in _CLASSES.items() for tag in tags}


@dataclass(frozen=True, slots=True)
class Parse:
    """A parsed text of n tokens. All lists have n entries; tokens are known by their index.

    `pos` is NOUN, PRON, ADJ, NUM, DET (possessives too), VERB, ADV, ADP, CCONJ, PUNCT or "".
    `left` is the first token of the token's subtree.
    """

    lower: list[str]
    tag: list[str]
    pos: list[str]
    dep: list[str]
    head: list[int]
    left: list[int]
    children: list[list[int]]

    @staticmethod
    def of(doc: Doc) -> Parse:
        """Read a document that went through a tagger and a parser."""
        tokens = list(doc)
        tags = [token.tag_ for token in tokens]
        heads = [token.head.i for token in tokens]
        children: list[list[int]] = [[] for _ in tokens]
        for i, head in enumerate(heads):
            if head != i:
                children[head].append(i)
        return Parse(
            lower=[token.lower_ for token in tokens],
            tag=tags,
            pos=[_CLASS_OF.get(tag, "") for tag in tags],
            dep=[token.dep_ for token in tokens],
            head=heads,
            left=[token.left_edge.i for token in tokens],
            children=children,
        )

    def __len__(self) -> int:
        return len(self.lower)

    def word(self, at: int) -> str:
        """The token in lower case; "" before the first and after the last."""
        return self.lower[at] if 0 <= at < len(self.lower) else ""

    def is_determiner(self, at: int) -> bool:
        """Articles, possessives, demonstratives and quantifiers like "some" and "all"."""
        return self.pos[at] == "DET"

    def has_article(self, at: int) -> bool:
        """Whether the token is a, an or the."""
        return self.lower[at] in ARTICLES
