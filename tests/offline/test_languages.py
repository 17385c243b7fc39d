"""Texts in other languages and scripts."""

from pathlib import Path

import pytest

from models.offline.language import language_of
from models.offline.sentences import split
from tests.offline.talk import a_task, claims, talk

GERMAN = """# Wärmepumpen

## Was eine Wärmepumpe ist
Eine Wärmepumpe ist eine Maschine, die der Umgebung Wärme entzieht und sie ins Haus bringt.
Dies gelingt auch im Winter, weil selbst kalte Luft noch Wärme enthält.
Die Wärmepumpe braucht z. B. für vier Einheiten Wärme nur eine Einheit Strom.

## Kosten
Die Kosten einer Wärmepumpe hängen vor allem von der Bohrung und vom Speicher ab.
Im Betrieb sind Wärmepumpen günstig, wenn das Haus gut gedämmt ist.
"""
FRENCH = """# Les pompes à chaleur

## Définition
Une pompe à chaleur est une machine qui prélève la chaleur de l'air et la porte dans la maison.
Elle fonctionne aussi en hiver, parce que l'air froid contient encore de la chaleur.

## Coût
Le coût d'une pompe à chaleur dépend surtout de la taille de la maison et du forage.
"""
SPANISH = """# Las bombas de calor

## Definición
Una bomba de calor es una máquina que toma el calor del aire y lo lleva dentro de la casa.
Esto funciona también en invierno, porque el aire frío todavía contiene calor.

## Coste
El coste de una bomba de calor depende sobre todo del tamaño de la casa.
"""
JAPANESE = """# 熱ポンプ

## 定義
熱ポンプは外の空気から熱を集めて家の中へ運ぶ機械である。冬でも使える。

## 費用
熱ポンプの費用は家の大きさと工事の内容によって大きく変わる。
"""


def answer(tmp_path: Path, text: str, **inputs: str) -> list[tuple[str, str, int]]:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "text.md").write_text(text)
    task = a_task("Write a brief.", recipe="digest", inputs=inputs)
    found = claims(talk(task, "search_documents", "read_document", folder=folder).answer())
    for sentence, _, line in found:
        assert sentence in text.splitlines()[line - 1]
    return found


@pytest.mark.parametrize(
    ("text", "code"), [(GERMAN, "de"), (FRENCH, "fr"), (SPANISH, "es"), ("The cat sat.", "en"), ("", "en")]
)
def test_the_language_is_told_by_its_stop_words(text: str, code: str) -> None:
    assert language_of(text) == code


def test_a_german_text_gives_a_brief_that_opens_with_the_definition(tmp_path: Path) -> None:
    found = answer(tmp_path, GERMAN, topic="Wärmepumpen")
    assert found[0][0].startswith("Eine Wärmepumpe ist eine Maschine")
    assert any(sentence.startswith("Die Kosten einer Wärmepumpe") for sentence, _, _ in found)


def test_a_german_question_finds_other_forms_of_its_words(tmp_path: Path) -> None:
    found = answer(tmp_path, GERMAN, question="Was kostet eine Wärmepumpe im Betrieb?")
    assert "Betrieb" in found[0][0] or "Kosten" in found[0][0]


def test_a_french_text_gives_a_brief_that_opens_with_the_definition(tmp_path: Path) -> None:
    assert answer(tmp_path, FRENCH, topic="pompes à chaleur")[0][0].startswith("Une pompe à chaleur est une machine")


def test_a_spanish_text_gives_a_brief_that_opens_with_the_definition(tmp_path: Path) -> None:
    assert answer(tmp_path, SPANISH, topic="bombas de calor")[0][0].startswith("Una bomba de calor es una máquina")


def test_a_text_without_spaces_between_words_gives_a_brief(tmp_path: Path) -> None:
    found = answer(tmp_path, JAPANESE, topic="熱ポンプ")
    assert "熱ポンプは外の空気から熱を集めて家の中へ運ぶ機械である。" in [sentence for sentence, _, _ in found]
    assert len(found) >= 2


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One ends. Two begins.", ["One ends.", "Two begins."]),
        ("See e.g. Smith et al. for more. Then stop.", ["See e.g. Smith et al. for more.", "Then stop."]),
        ("Dr. Weiß wohnt z. B. in Bonn. Er arbeitet dort.", ["Dr. Weiß wohnt z. B. in Bonn.", "Er arbeitet dort."]),
        ('He said "stop." She went on.', ['He said "stop."', "She went on."]),
        ("Version 3.5 is out. It costs 1.50 dollars.", ["Version 3.5 is out.", "It costs 1.50 dollars."]),
        ("- 1 is a number. Two is one too.", ["1 is a number.", "Two is one too."]),
        ("熱い。冷たい。", ["熱い。", "冷たい。"]),
        ("", []),
    ],
)
def test_sentences_are_cut_where_they_end(text: str, sentences: list[str]) -> None:
    assert list(split(text)) == sentences
