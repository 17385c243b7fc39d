"""Cut text into sentences, word for word, and say which of them can stand alone in an answer."""

import re
from collections.abc import Iterator

from models.offline.language import is_unspaced

MIN_WORDS = 5
MAX_WORDS = 60
_MIN_CHARACTERS_UNSPACED = 8
_MAX_CHARACTERS = 600
_MAX_LINE_CHARACTERS = 20_000

# A full stop ends a sentence only before a space and something that can open one; ideographic stops need no space.
_END = re.compile(r"""(?<=[.!?…])["'”’»)\]]*\s+(?=["'“‘«(\[¿¡]*[^\W_a-zà-öø-ÿ])|(?<=[。！？｡।؟])\s*""")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|etc|al|ca|approx|fig|eq|sec|ch|vol|pp?|dr|mr|mrs|ms|prof|st|inc|ltd|jr|sr|z\.\s?b"
    r"|d\.\s?h|u\.\s?a|bzw|ggf|usw|evtl|nr|abs|bspw|sog|inkl|p\.\s?ex|c\.-à-d|sr|sra|núm|ej|pág|[^\W\d_])"
    r"|^\d{1,3})\.$",
    re.IGNORECASE,
)
_MARKER = re.compile(r"^\s*(?:>\s*)*(?:[-*•+‣]\s+|\(?\d{1,3}[.)]\s+|[a-z]\)\s+)?")
_CLOSED = re.compile(r"""[.!。！｡।][*_`"'”’»)\]]*$""")
_CUT_OFF = re.compile(r"(?:…|\.\.\.)[\"'”’»)\]]*$")
_LOST = "\ufffd"
_CODE_MARK = frozenset("_=|{}<>\\")
_MARKUP = re.compile(r"^\s*(?:[#|<`~=]|_[^_]+_\s*$|\[[^\]]*\]:|!\[|\{|\}|:::|@import)")

PLACEHOLDER = re.compile(
    r"\b(?:TODO|TBD|TBC|FIXME|XXX+)\b|\blorem ipsum\b|\[(?:insert|add|your|enter|fill in|name|date"
    r"|citation needed)\b[^\]]*\]|\{\{|\{%|\{[A-Za-z_][\w-]*\}|<[A-Za-z][^<>=/:@]{0,80}>",
    re.IGNORECASE,
)
"""Something left to be filled in."""

# What points back to a sentence that will not be there.
_DANGLING = {
    "en": r"(?:this|that|these|those|it|its|they|them|their|he|she|his|her|such|but|and|or|so|also|however|therefore"
    r"|thus|hence|then|otherwise|instead|moreover|furthermore|consequently|nevertheless|nonetheless|similarly"
    r"|likewise|conversely|meanwhile|besides|additionally|accordingly|again|still|yet|both|neither|here|finally"
    r"|second|third|secondly|thirdly|next|in (?:this|that|these|such|both|either|contrast|addition|turn|other words)"
    r"|for (?:this|that|these|example|instance)|as (?:a result|such|above|before|mentioned|noted|described)"
    r"|at (?:this|that)|on the other hand|because of (?:this|that)|the (?:former|latter|same|other|others|second"
    r"|third|next|last|above|following)|most of (?:them|these)|some of (?:them|these)|(?:one|each|none|all|many"
    r"|any) of (?:them|these))",
    "de": r"(?:dies|diese|dieser|dieses|diesem|diesen|das|es|sie|er|aber|und|oder|doch|auch|jedoch|daher|deshalb"
    r"|deswegen|somit|dann|sonst|außerdem|zudem|ferner|dennoch|trotzdem|dabei|dafür|damit|dadurch|dagegen|hier|dort"
    r"|so|solche|ebenso|schließlich|zum beispiel|in diesem|bei diesem|beide)",
    "fr": r"(?:ce|cet|cette|ces|c'est|c’est|cela|ceci|ça|il|elle|ils|elles|mais|et|ou|donc|or|ainsi|aussi|cependant"
    r"|toutefois|pourtant|alors|ensuite|puis|enfin|sinon|de plus|en outre|par exemple|en effet|par conséquent"
    r"|dans ce|leur)",
    "es": r"(?:este|esta|esto|estos|estas|ese|esa|eso|esos|esas|ello|él|ella|ellos|ellas|pero|y|o|así|además|también"
    r"|entonces|luego|sin embargo|por lo tanto|por ejemplo|por eso|no obstante|en cambio|de lo contrario|finalmente"
    r"|su|sus)",
}
_INNER_REFERENCE = re.compile(
    r"\b(?:this|these|such an?|those (?!who|that|of|which|in|with))\s+[a-z]{3,}|\bthe (?:two|three)\b|\b(?:either"
    r"|too|as well|also)\b(?! many| much| few| long| short| small| large)",
    re.I,
)
_TEASER = re.compile(
    r"^(?:learn|read|see|subscribe|click|discover|explore|sign up|follow us|join|share|download|contact|check out"
    r"|stay tuned|copyright|©|all rights|published|updated|posted|written by|photo|image|figure|table of contents"
    r"|cookie|mehr (?:dazu|erfahren)|lesen sie|siehe|jetzt|en savoir|lire|voir|más información|leer|ver)\b|\b(?:in"
    r"|on) this (?:article|section|chapter|post|page|guide|tutorial|document|report)\b|\b(?:all rights reserved"
    r"|privacy policy|terms of service|cookies?)\b.{0,40}$|\b(?:above|below|previous|next|following) (?:section"
    r"|chapter|table|figure|example|paragraph)s?\b",
    re.IGNORECASE,
)


def split(text: str) -> Iterator[str]:
    """Yield the sentences of one line or paragraph as they stand, without the list marker before the first."""
    line = text[:_MAX_LINE_CHARACTERS].strip()
    line = line[_MARKER.match(line).end() :]  # type: ignore[union-attr]
    start = 0
    for gap in _END.finditer(line):
        if gap.start() <= start or _ABBREVIATION.search(
            line[max(start, gap.start() - 12) : gap.start()].split(" ")[-1]
        ):
            continue
        # Closing quotes and brackets belong to the sentence that they close.
        end = gap.start() + len(gap[0].rstrip())
        yield line[start:end].strip()
        start = gap.end()
    if line[start:].strip():
        yield line[start:].strip()


def is_prose(sentence: str) -> bool:
    """Say whether `sentence` is whole running text: neither markup, nor cut off, nor a heading, nor hostile."""
    if not sentence or len(sentence) > _MAX_CHARACTERS or _LOST in sentence or _MARKUP.match(sentence):
        return False
    if _CUT_OFF.search(sentence) or PLACEHOLDER.search(sentence) or sentence[-1] in ":?؟？,;":
        return False
    if is_unspaced(sentence):
        return len(sentence) >= _MIN_CHARACTERS_UNSPACED
    if not MIN_WORDS <= len(sentence.split()) <= MAX_WORDS or sentence[:1].islower():
        return False
    marks = sum(not _CODE_MARK.isdisjoint(word) for word in sentence.split())
    if marks > 2 and 8 * marks > len(sentence.split()):
        return False
    letters = sum(character.isalpha() or character == " " for character in sentence)
    return letters >= 0.75 * len(sentence)


def is_closed(sentence: str) -> bool:
    """Say whether `sentence` ends as sentences do; a list item often does not."""
    return bool(_CLOSED.search(sentence)) or is_unspaced(sentence)


def is_dangling(sentence: str, language: str) -> bool:
    """Say whether `sentence` opens with a word that points back, such as "This" or "However"."""
    return re.match(rf"[\"'“‘«(*_]*{_DANGLING[language]}(?![\w’'-])", sentence, re.IGNORECASE) is not None


def refers_back(sentence: str) -> bool:
    """Say whether `sentence` has an inner "this record" or "such a run", whose meaning stands in another sentence."""
    return _INNER_REFERENCE.search(sentence) is not None


def is_teaser(sentence: str) -> bool:
    """Say whether `sentence` advertises, refers to the page itself or is a page's boilerplate."""
    return _TEASER.search(sentence) is not None
