"""What can be cut out of a caption: boilerplate, and claims about what is absent.

"The image shows a red mug." becomes "A red mug."; "The mood is calm." and "There are no people."
go. The published data keep both kinds of sentence, which a model then learns to expect.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from datagen.texts.language import unquoted

_PICTURE = r"(?:image|picture|photo|photograph|photography|snapshot|painting|illustration|scene)"
_THE = rf"(?:the|this|that)\s+(?:overall\s+|whole\s+|entire\s+)?{_PICTURE}"
_LOOK = (
    r"(?:style|mood|atmosphere|ambiance|ambience|vibe|tone|feel|feeling|composition|lighting|"
    r"quality|colou?r palette|aesthetic|perspective)"
)
_FEELING = (
    r"(?:sense|feeling|mood|atmosphere|essence|ambiance|ambience|vibe|impression|beauty|"
    r"tranquil\w*|seren\w*|warmth|moment|touch\s+of\s+(?:colou?r|elegance|warmth|charm|nature|"
    r"whimsy|nostalgia|green\w*))"
)
_MARKS = ".!?。!?"
_CHAT = r"(?:sure|certainly|of course|absolutely)[!,.]"


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)


# Cut off the beginning of a sentence; what follows is the sentence.
_OPENERS = _any(
    rf"^(?:{_CHAT}\s*)?here(?:'s| is| are)\s[^:.]*(?:caption|description)s?[^:.]*:\s*",
    rf"^{_CHAT}\s*",
    rf"^{_THE}\s+(?:clearly\s+|mainly\s+|primarily\s+|prominently\s+|vividly\s+)?"
    r"(?:shows|depicts|features|captures|displays|presents|portrays|showcases|contains|includes|"
    r"illustrates|is of)\s+",
    rf"^in\s+{_THE},?\s+(?:there\s+(?:is|are)\s+|(?:we|you|one)\s+can\s+see\s+)?",
    r"^(?:we|you|one)\s+can\s+see\s+",
    rf"^this\s+is\s+an?\s+(?:[\w-]+\s+){{0,3}}?{_PICTURE}\s+of\s+",
    r"^an?\s+(?:close-up\s+|high-quality\s+)?(?:image|picture|photo|photograph)\s+of\s+"
    r"(?!.*\b(?:hangs?|hanging|walls?|framed?|pinned|displayed|mounted|taped|poster|screen)\b)",
    r"^(?:这张|这幅|该|此)(?:图片|照片|图像|画面|图)(?:中)?(?:展示了|显示了|描绘了|呈现了|拍摄了|是)",
    r"^(?:图片|照片|图像|画面|图)(?:中)?(?:展示了|显示了|描绘了|呈现了|拍摄了)",
)
# The whole sentence goes.
_BOILERPLATE = _any(
    rf"\b(?:style|mood|tone|quality)\s+of\s+{_THE}\b",
    r"^(?:overall,|in\s+summary|in\s+conclusion)",
    rf"^(?:the|its)\s+(?:overall|general)\s+{_LOOK}\b",
    rf"^the\s+{_LOOK}\s+(?:of\s+{_THE}\s+)?(?:is|are|appears|seems|feels)\b",
    rf"^{_THE}\s+(?:does\s+)?(?:also\s+|effectively\s+|beautifully\s+)?(?:captures?|conveys?|evokes?|"
    rf"exudes?|creates?|gives?|suggests?)\s+(?:\w+\s+){{0,3}}?{_FEELING}\b",
    rf"^{_THE}\s+(?:is|was|has\s+been|appears\s+to\s+be)\s+(?:\w+\s+)?(?:taken|shot|captured|"
    r"photographed|rendered|in\s+(?:colou?r|focus|black)|of\s+(?:high|good|low)\s+quality|"
    r"well[- ](?:lit|composed)|clear|bright|a\s+(?:close-up|photograph|photo))\b",
    rf"^(?:this|which|it|that)?\s*(?:adds?|contributes?|creates?|gives?|evokes?)\s+(?:to\s+)?"
    rf"(?:an?|the)\s+(?:\w+\s+){{0,3}}?{_FEELING}\b",
    rf"\b(?:adds?|contributes?)\s+(?:to\s+the|an?)\s+(?:\w+\s+){{0,3}}?{_FEELING}\b",
    r"^(?:let\s+me\s+know|i\s+hope|feel\s+free|please\s+let|if\s+you\s+(?:need|have|would))\b",
    r"(?:整个|整体|整张|整幅)(?:画面|图片|照片|氛围|场景|图像)?.{0,6}(?:氛围|感觉|风格|给人)",
    r"(?:图片|照片|画面|图像)的(?:整体)?(?:风格|氛围|色调|构图)",
    r"给人(?:一种|以).{0,8}(?:感觉|感|氛围)",
)
# The end of a sentence goes.
_BOILERPLATE_TAIL = _any(
    rf",\s+(?:adding|contributing|creating|giving|evoking|lending|conveying)\s+(?:to\s+)?"
    rf"(?:\w+\s+){{0,6}}?{_FEELING}\b[^.!?]*(?=[.!?]?\s*$)",
)

_ABSENT = r"(?:visible|present|seen|shown|pictured|depicted|included|in\s+(?:sight|view))"
_NEGATED = _any(
    r"\bthere\s+(?:is|are|was|were|appears?\s+to\s+be|seems?\s+to\s+be)\s+(?:also\s+)?(?:no|not|"
    r"nothing|nobody|none|neither)\b",
    r"\bthere\s+(?:isn['’]t|aren['’]t|wasn['’]t|weren['’]t)\b",
    rf"\b(?:no|none|neither)\b[^.,;]*\b(?:is|are|can\s+be)\s+(?:clearly\s+)?{_ABSENT}",
    rf"\b(?:is|are|was|were)(?:\s+not|n['’]t)\s+(?:clearly\s+|fully\s+)?{_ABSENT}\b",
    rf"\b(?:can(?:not|\s+not|['’]t))\s+be\s+{_ABSENT}\b",
    r"\b(?:does\s+not|doesn['’]t|do\s+not|don['’]t)\s+(?:contain|show|include|feature|depict|have|"
    r"appear)\b",
    r"^(?:nobody|no\s+one|nothing|none)\s+\w",
    r"\b(?:devoid\s+of|absence\s+of|without\s+any)\b",
    r"\bwith\s+no\b",
    r"(?:没有|不见|看不到|看不见|并无|未见|无人)",
)
# A clause that claims absence, before another that does not, or after one.
_NEGATED_HEAD = re.compile(r"^[^,;]*[,;]\s*(?:but|however,?|although|only)\s+", re.IGNORECASE)
_NEGATED_TAIL = re.compile(
    r"(?:,\s*(?:and|but|while|though|with)\s+|;\s*|\s+with(?=\s+no\b)|,?\s+(?=(?:without\s+any|devoid\s+of)\b)|,(?=没有))"
    r"[^,;]*?(?=[.!?。]?\s*$)",
    re.IGNORECASE,
)

# "with no toilets and a bucket": what is there stays.
_NO_AND = re.compile(
    r"\bwith\s+no\s+[\w\s-]{1,40}?\s+and\s+(?=(?:an?|the|some|two|three|several)\b)", re.IGNORECASE
)
# A picture that hangs or lies in the picture may be described as "the picture" afterwards.
_SHOWN_PICTURE = re.compile(
    rf"\b(?:an?|one|two|three|several|framed|small|large)\s+(?:[\w-]+\s+){{0,3}}?({_PICTURE})s?\b",
    re.IGNORECASE,
)

_ENDS = re.compile(
    r"[.!?](?<!\bMr\.)(?<!\bMrs\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSt\.)(?<!\bAve\.)(?<!\bNo\.)(?<!\bvs\.)"
    r"([\"”')]*)\s+(?=[\"“(]?[^\Wa-z_])|[。!?]([”」』》]*)\s*(?=\S)"
)


@dataclass(frozen=True, slots=True)
class Mended:
    """A caption without what was cut out of it, and why: some of boilerplate and negated."""

    text: str
    checks: tuple[str, ...]


def mend(text: str) -> Mended:
    """Cut boilerplate and negated claims out of a caption; words in quotation marks are safe."""
    kept: list[str] = []
    checks: set[str] = set()
    shown: set[str] = set()
    for sentence in sentences(text):
        of_shown = any(sentence.lower().startswith((f"the {p}", f"this {p}")) for p in shown)
        rest = sentence if of_shown else _without_boilerplate(sentence)
        shown.update(match.group(1).lower() for match in _SHOWN_PICTURE.finditer(rest))
        if rest != sentence:
            checks.add("boilerplate")
        said = _without_negation(rest)
        if said != rest:
            checks.add("negated")
        if said:
            kept.append(said)
    if not checks:
        return Mended(text, ())
    return Mended(_join(kept), tuple(sorted(checks)))


def sentences(text: str) -> list[str]:
    """The sentences of a text in order, without the white space between them."""
    found, start = [], 0
    for end in _ENDS.finditer(text):
        found.append(text[start : end.end(end.lastindex or 0)])
        start = end.end()
    return [part.strip() for part in [*found, text[start:]] if part.strip()]


def _without_boilerplate(sentence: str) -> str:
    if _BOILERPLATE.search(unquoted(sentence)):
        return ""
    opener = _OPENERS.match(sentence)
    if opener:
        rest = sentence[opener.end() :].strip()
        # "In the picture" may follow "Sure!".
        return _without_boilerplate(_capitalised(rest)) if any(map(str.isalnum, rest)) else ""
    tail = _BOILERPLATE_TAIL.search(sentence)
    return _closed(sentence[: tail.start()], sentence) if tail else sentence


def _without_negation(sentence: str) -> str:
    if not _NEGATED.search(unquoted(sentence)):
        return sentence
    positive = _NO_AND.sub("with ", sentence)
    if positive != sentence:
        return _without_negation(positive)
    head = _NEGATED_HEAD.match(sentence)
    if head and _NEGATED.search(head.group()):
        return _without_negation(_capitalised(sentence[head.end() :]))
    for tail in _NEGATED_TAIL.finditer(sentence):
        rest = sentence[: tail.start()]
        if _NEGATED.search(sentence[tail.start() :]) and not _NEGATED.search(rest):
            return _closed(rest, sentence)
    return ""


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _closed(rest: str, sentence: str) -> str:
    """What is left of a sentence, with the mark that it ended in."""
    rest = rest.rstrip(" ,;")
    marked = rest and sentence[-1] in _MARKS and rest[-1] not in _MARKS
    return rest + sentence[-1] if marked else rest


def _join(parts: list[str]) -> str:
    """Sentences with spaces between them; Chinese ones without."""
    text = ""
    for part in parts:
        text += ("" if not text or text[-1] in "。!?" else " ") + part
    return text
