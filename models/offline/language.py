"""Words as the offline model sees them: tokens, stems, stop words, and which language a text is in."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from snowballstemmer.english_stemmer import EnglishStemmer  # type: ignore[import-untyped]
from snowballstemmer.french_stemmer import FrenchStemmer  # type: ignore[import-untyped]
from snowballstemmer.german_stemmer import GermanStemmer  # type: ignore[import-untyped]
from snowballstemmer.spanish_stemmer import SpanishStemmer  # type: ignore[import-untyped]

_WORD = re.compile(r"\d+(?:[.,]\d+)+|[^\W_]+")
# Scripts that are written without spaces; Hangul too, whose particles hang on the word.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
_SAMPLE_CHARACTERS = 20_000
_MAX_TOKEN = 60

# By class: snowballstemmer.stemmer() hands out PyStemmer where that happens to be installed, and answers would differ.
_STEMMERS: Mapping[str, Any] = {"en": EnglishStemmer, "de": GermanStemmer, "fr": FrenchStemmer, "es": SpanishStemmer}
_STOP_WORDS = {
    "en": """
        a an the and or nor but of to in on at by for with from as is are was were be been being am it its itself
        this that these those there here you your we our us they their them he she his her him i me my not no do
        does did done doing can could should would will may might must shall have has had if then else than so such
        into onto over under about against between before after during within without through across per via out off
        up down again further once which who whom whose what when where why how all any each every both either
        neither other others another more most much many few less least some several same only own too very just
        also even still yet already ever never always often because since while until though although however
        whether rather instead one two three don doesn didn isn aren wasn won ll re ve
    """,
    "de": """
        der die das den dem des ein eine einer eines einem einen und oder aber auch als am an auf aus bei bis da
        dann dass daß denn doch durch er es sie ihr ihre ihrem ihren ihrer sein seine seinem seinen seiner für gegen
        hat haben hatte ich im in ist sind war waren wird werden wurde wurden kann können konnte soll sollte muss
        müssen man mit nach nicht noch nur ob ohne sich so sondern über um unter vom von vor wann warum was weil
        wenn wer wie wieder wir wo zu zum zur zwischen dies diese dieser dieses diesem diesen jede jeder jedes kein
        keine keinen mehr sehr schon hier dort welche welcher welches etwa bereits jedoch damit dabei daher
    """,
    "fr": """
        le la les l un une des du de d et ou mais où donc or ni car à au aux en dans par pour sur sous avec sans
        entre vers chez ce cet cette ces c son sa ses leur leurs mon ma mes notre nos votre vos il elle ils elles on
        nous vous je tu se s ne n pas plus moins très que qu qui quoi dont lequel laquelle comment quand pourquoi
        quel quelle quels quelles est sont était étaient être été a ont avait avoir fait faire peut peuvent doit
        doivent si comme aussi ainsi alors même tout toute tous toutes chaque autre autres y
    """,
    "es": """
        el la los las un una unos unas lo al del de y e o u pero sino ni a ante con contra desde en entre hacia
        hasta para por según sin sobre tras que qué quien quién cual cuál cuando cuándo donde dónde como cómo porque
        si no sí ya muy más menos también tampoco este esta estos estas ese esa esos esas aquel su sus mi mis tu tus
        nuestro se le les me te nos es son era eran ser sido está están estar ha han había haber hay puede pueden
        debe deben fue fueron cada todo toda todos todas otro otra otros otras
    """,
}


def tokens(text: str) -> list[str]:
    """Split `text` into lower-case words; a run of an unspaced script becomes its pairs of characters."""
    found: list[str] = []
    for match in _WORD.finditer(text):
        word = match[0].lower()
        if not word.isascii() and _UNSPACED.search(word):
            found.extend(_pairs(word))
        elif len(word) <= _MAX_TOKEN:
            found.append(word)
    return found


def _pairs(word: str) -> Iterable[str]:
    start = 0
    for match in _UNSPACED.finditer(word):
        if match.start() > start:
            yield word[start : match.start()]
        run = match[0]
        yield from (run[at : at + 2] for at in range(max(1, len(run) - 1)))
        start = match.end()
    if start < len(word):
        yield word[start:]


def is_unspaced(text: str) -> bool:
    """Say whether most of `text` is in a script that is written without spaces."""
    return 2 * sum(len(run) for run in _UNSPACED.findall(text)) > len(text.strip()) > 0


def count_words(text: str) -> int:
    """Count words by spaces; a character of an unspaced script counts for one."""
    return len(text.split()) + sum(len(run) for run in _UNSPACED.findall(text))


def language_of(text: str) -> str:
    """Name the language of `text` by its stop words: `en`, `de`, `fr` or `es`; `en` when undecided."""
    words = tokens(text[:_SAMPLE_CHARACTERS])
    counts = {code: sum(word in stop for word in words) for code, stop in _stop_words().items()}
    return max(counts, key=lambda code: counts[code])


def _stop_words() -> dict[str, frozenset[str]]:
    return {code: frozenset(words.split()) for code, words in _STOP_WORDS.items()}


class Vocabulary:
    """The stems of one language, remembered while one answer is made."""

    def __init__(self, code: str) -> None:
        self.code = code
        self._stop = _stop_words()[code]
        self._stem_word = cast(Callable[[str], str], _STEMMERS[code]().stemWord)
        self._known: dict[str, str] = {}

    def stem(self, word: str) -> str:
        """Return the stem of one lower-case word."""
        if word not in self._known:
            self._known[word] = self._stem_word(word)
        return self._known[word]

    def stems(self, text: str) -> list[str]:
        """Return the stems of the words of `text` that carry meaning, in order, repeats included."""
        return [self.stem(word) for word in self.keywords(text)]

    def keywords(self, text: str) -> list[str]:
        """Return the words of `text` that carry meaning, in order and lower case."""
        return [word for word in tokens(text) if word not in self._stop and (len(word) > 1 or not word.isascii())]
