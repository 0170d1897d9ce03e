"""What every answer kind shares: cleaning a model's text without changing what it says.

All functions of this room are pure: text in, an extracted answer or None out. None means that nothing could be read;
it scores zero and is counted, and nothing is ever guessed.
"""

from __future__ import annotations

import re
import unicodedata

from lladav_eval.scoring.spoken import spoken

_FOLDED = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},  # full-width letters, digits and punctuation
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63"), "-"),
    **dict.fromkeys(map(ord, "\u2018\u2019\u201a\u201b\u2032"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\u300c\u300d"), '"'),
    **{ord(sign): plain for sign, plain in zip("\u3002\u3001\u3010\u3011", ".,[]", strict=True)},
    **dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"), None),  # nothing to be seen
}
_ANSWER_CUE = re.compile(
    # First the letters that it can begin with, which is all that is tried at most places.
    r"""(?=[abcilor\[\u043e\u6b63\u7b54\u9009\ub2f5\uc815])
    (?:(?<![^\W_])(?:answer|ans|(?:correct|right|best)\s+(?:option|choice)|(?:option|choice|letter)(?=["']\s*:))
        [*_`"']*\s*(?:to\s+(?:this|the)\s+(?:question|problem)\s+(?=is\b))?
        # "The answer is correct because ..." states nothing.
        (?:(?:is\b(?!\s+(?:(?:correct|approximate)\b
                |(?:clear|obvious|evident|based)\s+(?:because|since|as|from|that|on|in)\b))
            |(?:would|should|must|will|(?:appears|seems)\s+to)\s+be\b|'s\b)
            (?:\s+(?:probably|(?:most\s+)?likely|definitely|certainly|clearly|therefore|thus|simply|indeed)(?=\s+\S))?
            |:|=+>?|-+>|\u2192|-(?=\s))
    |(?<!\w)ans\.(?=\s)
    |\bI(?:'d|'ll|\s+would|\s+will)?\s+(?:choose|pick|select|go\s+(?:with|for))\b(?!\s+to\b)
    |\b(?:antwort|r[e\u00e9]ponse|respuesta|resposta|risposta|\u043e\u0442\u0432\u0435\u0442)\s*:
    |\b(?:antwort\s+ist\b(?!\s+nicht)|r[e\u00e9]ponse(?:\s+correcte)?\s+est\b(?!\s+pas)
        |respuesta(?:\s+correcta)?\s+es\b(?!\s+no\b))
    # The same in Chinese ("the answer", "the right option", "choose B"), Japanese and Korean.
    |(?:\u7b54\u6848|\u6b63\u786e\u9009\u9879)(?:\u5e94\u8be5)?(?:\u662f|\u4e3a|:)|\[\u7b54\u6848\]
    |(?:\u6b63\u89e3|\u7b54\u3048)(?:\u306f|:)|(?:\uc815\ub2f5|\ub2f5)(?:\uc740|:)
    |(?<![\u4e0d\u522b\u52ff\u672a])(?<!\u4e0d[\u5e94\u80fd\u8be5\u4f1a\u53ef])\u9009\u62e9?(?:\u662f|:)?
        (?=[\s"'(\[*]{0,4}[A-Z](?![A-Za-z])))
    \s*:?(?:[\s*_`]|\\[\[(]|\$\$)*""",
    re.IGNORECASE | re.VERBOSE,
)
_JSON_KEY = re.compile(r"[\"']\s*:")
_JSON_VALUE = re.compile(r"\"((?:[^\"\\\n]|\\.)*)\"|'([^'\n]*)'|([^\s\[{,}\]\"'][^,}\n]*)")
_DENIAL = re.compile(
    r"""(?:n't|\b(?:not|never|cannot|no\s+longer|none|neither|nor|either|unlikely|impossible|whether|if|(?:i|we)\s+doubt
        |except(?:\s+for)?|than|instead\s+of|(?:all|any|anything|everything)\s+but|rul(?:e|es|ed|ing)\s+out
        |exclud(?:e|es|ed|ing)|eliminat(?:e|es|ed|ing)|reject(?:s|ed|ing)?))\b
    (?:\s+(?:think|believe|suppose|expect|say|sure|certain|clear|likely|possible|seem|appear|look|like))?
    (?:\s+that)?
    (?:\s+(?:it|this|that|there|(?:the\s+)?(?:(?:correct|right|final|best)\s+)?(?:answer|option|choice))
        (?:'s|\s+(?:is|are|was|can|could|would|might|should)))?
    (?:\s+(?:to\s+)?be)?
    (?:\s+(?:choose|pick|select|accept|go\s+(?:for|with)))?
    (?:\s+(?:exactly|precisely|simply|just|really|actually|necessarily|equal\s+to))?
    (?:\s+(?:in|among|(?:any\s+|one\s+|all\s+|both\s+)?of))?
    (?:\s+(?:the|an?|any|both|either))?
    (?:\s+(?:(?:correct|right|final|best|given|listed)\s+)?(?:answer|option|choice|letter|number|value)s?)?
    [^\w.,;!?)\]]*$""",
    re.IGNORECASE | re.VERBOSE,
)
"""A denial, and behind it only words that lead to what is denied: ``unlikely to be``, ``n't think the answer is``."""
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_SENTENCE_END = re.compile(r"\.\s")
_IS = re.compile(
    r"(?:\b(?:is|are|was|were|equals)|\b(?:it|that|this)'s)\s+(?!not\b)(?:(?:about|approximately|exactly|equal\s+to)\s+)?",
    re.IGNORECASE,
)
_THEREFORE = re.compile(r"^(?:so|thus|hence|therefore|then|consequently)\b[\s,:]*", re.IGNORECASE)
_THE_ANSWER = re.compile(
    r"(?:the|our|my)(?:\s+(?:only|final|correct|right|required|unique|best))*\s+(?:answer|solution|value|result|root)",
    re.IGNORECASE,
)
_SPACED = re.compile(r"[^\d/]{0,4}\d{1,3}(?:[ ']\d{3})+(?:\.\d+)?(?: ?[^\s\d/][^\s/]*)?", re.ASCII)
UNABLE = re.compile(
    r"""\W{0,3}(?:
    (?:(?:(?:i|we)(?:\s+(?:can(?:not|'?t|\s+not)|could(?:n't|\s+not))|(?:'m|'re|\s+am|\s+are)\s+(?:unable|not\s+able)\s+to)
            |(?:it|this|that)(?:'s|\s+is)\s+(?:not\s+possible|impossible)\s+to)(?:\s+\w+ly)?
            \s+(?:tell|determine|say|answer|judge|decide|be\s+(?:sure|certain))
        |(?:it|this|that)\s+can(?:not|'t)\s+be\s+(?:determined|told|answered|decided|judged))
    (?=[^\w\n]*(?:$|\n|\.\s)|\s+(?:that\b[^\w\n]*$|this|it|for|with|whether|if|from|because|based|what|which|who|how)\b)
    |i(?:'m|\s+am)\s+not\s+(?:sure|certain)\b|i\s+(?:don't|do\s+not)\s+know\b
    |(?:it|this|that)(?:'s|\s+is)\s+(?:unclear|not\s+clear)\b)""",
    re.IGNORECASE | re.VERBOSE,
)
"""Behind a "no" it says that the question can't be answered: "No, I can't tell."."""
MAX_LENGTH = 200
"""Longer texts are no final answers."""
_NEAR = len("*the final ")
"""How far before a cue a lone * or _ that opens emphasis is looked for."""
_EMPHASIS = ("**", "__", "`", "*", "_")
_REACH = 60
"""How far before an answer its denial is looked for."""
_WRAPPERS = (*_EMPHASIS, '"', "'")


def fold(text: str) -> str:
    """Text with Unicode's dashes, quotes, digits and full-width characters as plain ASCII ones.

    >>> fold("\uff08\uff22\uff09 \u2212\u0663")
    '(B) -3'
    """
    if text.isascii():
        return text
    text = text.translate(_FOLDED)
    return "".join(str(unicodedata.decimal(character)) if character.isdecimal() else character for character in text)


def clean(text: str) -> str:
    """Folded text with white space collapsed, wrapping emphasis or quotes and one trailing full stop removed.

    >>> clean('  **Yes.** ')
    'Yes'
    """
    return _unwrapped(" ".join(fold(text).split()))


def _unwrapped(text: str) -> str:
    previous = None
    while text != previous:
        previous = text
        for wrapper in _WRAPPERS:
            if len(text) > 2 * len(wrapper) and text.startswith(wrapper) and text.endswith(wrapper):
                text = text[len(wrapper) : -len(wrapper)].strip()
        if text.endswith(".") and not text.endswith(".."):
            text = text[:-1].rstrip()
    return text


def stated_answer(text: str) -> str | None:
    """The first line behind the last "answer is" or "answer:" of the text, cleaned; None if there is no such cue.

    "I don't think the answer is" states nothing.

    >>> stated_answer("Seven and eight make 15.\\n\\n**The answer is: B**\\n\\nI hope this helps.")
    'B'
    """
    text = _unwrapped(fold(text).strip())
    cues = list(_ANSWER_CUE.finditer(text))[::-1]
    keys = [cue for cue in cues if _JSON_KEY.search(cue.group())]
    value = _JSON_VALUE.match(text, keys[0].end()) if keys else None
    if value:
        return clean(value.group(value.lastindex or 0))
    cue = next((cue for cue in cues if not is_denied(text, cue.start() + len(cue.group().rstrip()))), None)
    if cue is None:
        return None
    line = text[cue.end() :].split("\n", 1)[0]
    begins = text.rfind("\n", 0, cue.start()) + 1
    before, near = text[begins : cue.end()], text[max(begins, cue.start() - _NEAR) : cue.end()]
    for mark in _EMPHASIS:
        # Emphasis that begins before the answer ends in or behind it. A lone * or _ may also be part of a formula.
        if (before if mark in ("**", "__", "`") else near).count(mark) % 2:
            line = line.replace(mark, "", 1)
    return clean(line)


def concluded_answer(text: str) -> str | None:
    """What stands behind the only "is" of the last sentence: "Therefore, the length of AB is 4 cm."

    Before it in "So x = 5 is the only solution."
    """
    sentence = last_sentence(text)
    said = list(_IS.finditer(sentence))
    if len(said) != 1 or is_denied(sentence, said[0].end()):
        return None
    behind = clean(sentence[said[0].end() :].rstrip("!"))
    if _THE_ANSWER.fullmatch(behind):
        return clean(without_therefore(sentence[: said[0].start()])) or None
    return behind or None


def last_line(text: str) -> str:
    """The last line, cleaned: what several lines come to, as those before it may weigh anything."""
    return clean(text.strip().rpartition("\n")[2])


def last_sentence(text: str) -> str:
    """The last sentence of the last line, cleaned."""
    return _SENTENCE_END.split(last_line(text))[-1]


def without_therefore(text: str) -> str:
    """A sentence without the word that draws the conclusion."""
    return _THEREFORE.sub("", text)


def is_denied(text: str, place: int) -> bool:
    """Whether what begins at ``place`` is denied by the words before it, in the same line.

    >>> is_denied("The answer is unlikely to be (B)", 29), is_denied("It is not. So (B)", 14)
    (True, False)
    """
    return _DENIAL.search(text[max(0, place - _REACH) : place].rpartition("\n")[2]) is not None


def boxed(text: str) -> list[str]:
    """What stands in the last \\boxed{...} whose braces close, and in those before it in its line; the last first."""
    found: list[str] = []
    begins = len(text)
    for match in reversed(list(_BOXED.finditer(text))[-8:]):
        if found and "\n" in text[match.end() : begins]:
            break
        depth = 1
        for place in range(match.end(), min(len(text), match.end() + 2 * MAX_LENGTH)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if not depth:
                found.append(text[match.end() : place])
                begins = match.start()
                break
    return found


def last_boxed(text: str) -> str | None:
    """The content of the last \\boxed{...} whose braces close."""
    return next(iter(boxed(text)), None)


def final_text(text: str) -> str:
    """The answer that a text states or frames, or the whole text, cleaned."""
    said = spoken(text)
    framed = stated_or_framed(said)
    return clean(said) if framed is None else framed


def stated_or_framed(said: str) -> str | None:
    """The answer that a text without thoughts states or frames, cleaned; None if it does neither."""
    stated, framed = stated_answer(said), last_boxed(said)
    return stated if stated is not None or not framed else clean(framed)


def joined_thousands(text: str) -> str:
    """A number without the spaces or apostrophes between its thousands, if it is all that a text says, with its unit.

    >>> joined_thousands("12 000 km"), joined_thousands("12 of 000"), joined_thousands("12 13")
    ('12000 km', '12 of 000', '12 13')
    """
    text = " ".join(text.split())
    match = _SPACED.fullmatch(text)
    return re.sub(r"(?<=\d)[ '](?=\d)", "", text) if match else text


def is_empty(text: str) -> bool:
    """True if the model said nothing at all."""
    return not text.strip()
