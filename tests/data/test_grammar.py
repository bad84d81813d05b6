"""The demo grammar: what its sentences must be like, and the meaning of its notation."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from espeak_needed import needs_espeak
from phonemes import phonemes

from echostream.data.synthetic.grammar import Grammar, Pair
from echostream.data.synthetic.grammar_rules import GrammarError

NUM_DRAWS = 50_000


@pytest.fixture(scope="module")
def draws() -> list[Pair]:
    grammar, rng = Grammar.load(), random.Random(1)
    return [grammar.sample(rng) for _ in range(NUM_DRAWS)]


def grammar_of(rules: str, more: str = "") -> Grammar:
    indented = "\n".join(f"  {line}" for line in rules.strip().splitlines())
    return Grammar.parse(f"tags: m f s1 s3 inf\n{more}\nrules:\n{indented}\n")


def all_pairs(grammar: Grammar) -> set[tuple[str, str]]:
    rng = random.Random(0)
    return {tuple(grammar.sample(rng)) for _ in range(300)}


def test_a_french_sentence_has_one_translation(draws: list[Pair]) -> None:
    translations = defaultdict(set)
    for pair in draws:
        translations[pair.source].add(pair.target)
    assert [(s, t) for s, t in translations.items() if len(t) > 1] == []


@needs_espeak
def test_sentences_that_sound_alike_mean_the_same(draws: list[Pair]) -> None:
    pairs = sorted(set(draws))[::2]
    assert len(pairs) > 20_000
    pronunciations = phonemes([pair.source for pair in pairs])
    meanings = defaultdict(set)
    for pair, pronunciation in zip(pairs, pronunciations, strict=True):
        meanings[sound_of(pronunciation)].add(pair.target)
    assert [texts for texts in meanings.values() if len(texts) > 1] == []


@needs_espeak
def test_the_comparison_by_sound_would_notice_homophones() -> None:
    one, many, other = phonemes(["il mange du pain", "ils mangent du pain", "il part"])
    assert sound_of(one) == sound_of(many) != sound_of(other)


def sound_of(pronunciation: str) -> str:
    # Stress and the borders of words cannot be relied on by ear.
    return re.sub(r"[ˈˌ\s\-_]", "", pronunciation)


def test_nearly_all_sentences_differ(draws: list[Pair]) -> None:
    assert len(set(draws)) >= 0.95 * NUM_DRAWS


def test_the_vocabulary_is_small_and_no_word_is_rare(draws: list[Pair]) -> None:
    for side, fewest, most in ((0, 300, 450), (1, 250, 310)):
        sentences_with = Counter(word for pair in draws for word in set(pair[side].split()))
        assert fewest <= len(sentences_with) <= most
        rare = {word for word, count in sentences_with.items() if count < NUM_DRAWS / 2500}
        assert rare == set()


def test_sentences_are_lower_case_words_of_the_stated_number(draws: list[Pair]) -> None:
    word = r"[a-zàâçéèêëîïôûùœ]+(?:['-][a-zàâçéèêëîïôûùœ]+)*"
    for source, target in draws:
        assert re.fullmatch(rf"{word}(?: {word})+", source), source
        assert re.fullmatch(r"[a-z']+(?: [a-z']+)+", target), target
        assert 3 <= len(target.split()) <= 12


def test_french_is_elided_and_contracted(draws: list[Pair]) -> None:
    wrong = re.compile(
        r"(?<![-\w])(?:(?:je|le|la|de|ne|que|ma|ce) [aeiouyéèêh](?!uit)|de les? |à les? |si ils? )"
    )
    assert [pair.source for pair in draws if wrong.search(pair.source)] == []


def test_english_has_an_before_vowels(draws: list[Pair]) -> None:
    assert [
        pair.target for pair in draws if re.search(r"\ba [aeiou]|\ban [^aeiou]", pair.target)
    ] == []


def test_the_same_seed_gives_the_same_sentences() -> None:
    grammar = Grammar.load()
    first, second = random.Random(7), random.Random(7)
    assert [grammar.sample(first) for _ in range(50)] == [
        Grammar.load().sample(second) for _ in range(50)
    ]


RULES = {
    "linked slots may stand in another order": (
        "sentence: |\n  un <noun> <colour@noun> => a <colour> <noun>\n"
        "noun: |\n  sac => bag #m\n  robe => dress #f\n"
        "colour: |\n  {m:vert|f:verte} => green\n",
        {("un sac vert", "a green bag"), ("un robe verte", "a green dress")},
    ),
    "tags are passed up from the head and down to the verb": (
        "sentence: |\n  <who> <verb@who> => <who> <verb>\n"
        "who: |\n  je => i #s1\n  <kin!> => <kin> #s3\n"
        "kin: |\n  ma sœur => my sister #f\n"
        "verb: |\n  {s1:pars|s3+m:faux|s3+f:part} => {s3:leaves|*:leave}\n",
        {("je pars", "i leave"), ("ma sœur part", "my sister leaves")},
    ),
    "numbered copies differ": (
        "sentence: |\n  de <city1> à <city2> => from <city1> to <city2>\n"
        "city: |\n  paris => paris\n  lyon => lyon\n",
        {("de paris à lyon", "from paris to lyon"), ("de lyon à paris", "from lyon to paris")},
    ),
    "a rule with one empty side may be left out there": (
        "sentence: |\n  <who> <have@who> faim => <who> <am@who> hungry\n"
        "who: |\n  je => i #s1\n  il => he #s3\n"
        "have: |\n  {s1:ai|s3:a} => -\n"
        "am: |\n  - => {s1:am|s3:is}\n",
        {("j'ai faim", "i am hungry"), ("il a faim", "he is hungry")},
    ),
}


@pytest.mark.parametrize(("rules", "pairs"), RULES.values(), ids=RULES)
def test_rules_give_exactly_these_pairs(rules: str, pairs: set[tuple[str, str]]) -> None:
    grammar = grammar_of(rules, more="french_spelling: [['je ai', \"j'ai\"]]")
    assert all_pairs(grammar) == pairs


def test_weights_are_proportions() -> None:
    grammar = grammar_of("sentence: |\n  oui => yes ~3\n  non => no\n")
    rng = random.Random(0)
    share = sum(grammar.sample(rng).target == "yes" for _ in range(4000)) / 4000
    assert share == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("sentence: |\n  oui\n", "`sentence`.*one `=>`"),
        ("sentence: |\n  oui =>\n", "`sentence`.*side is missing"),
        ("sentence: |\n  => yes\n", "`sentence`.*side is missing"),
        ("sentence: |\n  <a> => <a>\n", "`sentence`.*unknown symbol `<a>`"),
        ("sentence: |\n  <a> => yes\na: |\n  oui => yes\n", "`sentence`.*one side only"),
        ("sentence: |\n  oui => yes #x\n", "`sentence`.*unknown tag `x`"),
        ("sentence: |\n  {x:oui} => yes\n", "`sentence`.*unknown tag `x`"),
        ("sentence: |\n  {m oui} => yes\n", "`sentence`.*`tag:text`"),
        ("sentence: |\n  {@a m:oui} => yes\n", "`sentence`.*`<a>`: not there"),
        ("sentence: |\n  <a> <a> => <a> <a>\na: |\n  b => c\n", "`sentence`.*stands twice"),
        ("sentence: |\n  <a> => <a!>\na: |\n  b => c\n", "`sentence`.*French side"),
        ("sentence: |\n  <a@b> <b@a> => <a> <b>\na: |\n  x => x\nb: |\n  y => y\n", "circle"),
        ("sentence: |\n  oui => yes ~0\n", "`sentence`.*weight"),
        ("sentence: |\n  oui > => yes\n", "`sentence`.*cannot read"),
        ("sentence: |\n  oui => yes\nlost: |\n  a => b\n", "`lost`.*cannot be reached"),
        ("sentence: |\n  <a> => <a>\na: |\n  x <a> => x <a>\n", "`a`.*endless recursion"),
        (
            "sentence: |\n  <a> => <a>\na: |\n  <b> => <b>\nb: |\n  <a> => <a>\n",
            "endless recursion.*a -> b -> a",
        ),
        ("start: |\n  oui => yes\n", "`sentence`, where sentences start, is missing"),
        ("sentence: 3\n", "`sentence`.*block of lines"),
        ("sen2: |\n  a => b\n", "`sen2`.*a-z"),
        ("sentence: |\n  a => b ~1e308\n  c => d ~1e308\n", "`sentence`.*weights are too large"),
    ],
)
def test_a_mistake_names_the_rule(rules: str, message: str) -> None:
    with pytest.raises(GrammarError, match=message):
        grammar_of(rules)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("sentence: |\n  <a@m> => <a>\na: |\n  {f:oui} => yes\n", "`a`.*no option of {f:oui}"),
        ("sentence: |\n  <a1> <a2> => <a1> <a2>\na: |\n  x => y\n", "`sentence`.*no second `<a>`"),
    ],
)
def test_a_mistake_that_only_a_draw_can_show_names_the_rule(rules: str, message: str) -> None:
    with pytest.raises(GrammarError, match=message):
        grammar_of(rules).sample(random.Random(0))


def test_sentences_outside_the_limits_are_an_error_not_a_loop() -> None:
    grammar = grammar_of("sentence: |\n  oui => yes\n", more="english_words: [3, 4]")
    with pytest.raises(GrammarError, match="3 to 4 English words"):
        grammar.sample(random.Random(0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "this is not YAML"),
        ("rules: 3", "mapping `rules`"),
        ("rules: {sentence: 'a => b'}\nwords: 3", "unknown key `words`"),
        ("rules: {sentence: 'a => b'}\nenglish_words: [4, 3]", "`english_words`"),
        ("rules: {sentence: 'a => b'}\nfrench_spelling: [['(', '']]", "`french_spelling`.*regular"),
        ("rules: {sentence: 'a => b'}\nrefuse: ['(']", "`refuse`.*regular"),
        ("rules: {sentence: 'a => b'}\nrefuse: [[a]]", "`refuse`: a pattern must be text"),
        ("rules: {sentence: 'a => b'}\nrefuse: ['a{99999999999}']", "`refuse`.*regular"),
        ("rules: {sentence: 'a => b'}\nfrench_spelling: [[a, [b]]]", "a replacement must be text"),
        ("rules: {sentence: 'a => b'}\nfrench_spelling: [[a, '\\1']]", "cannot replace: invalid"),
        ("rules: {sentence: 'a => b'}\ntags: [a, b]", "`tags` must be text"),
        ("rules: {sentence: 'a => b'}\nstart: [a]", "`start` must be text"),
        ("rules: {sentence: 'a => b'}\nenglish_words: [true, 3]", "`english_words`"),
    ],
)
def test_a_mistake_outside_the_rules_is_named(text: str, message: str) -> None:
    with pytest.raises(GrammarError, match=message):
        Grammar.parse(text)


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("rules: {sentence: 'a'}", encoding="utf-8")
    with pytest.raises(GrammarError, match=r"mine\.yaml: rule `sentence`"):
        Grammar.load(path)


def letters(number: int) -> str:
    """A rule name for a number."""
    return "r" + "".join(chr(97 + int(digit)) for digit in str(number))


def test_rules_nested_without_measure_are_an_error() -> None:
    chain = "sentence: |\n  <ra> => <ra>\n" + "".join(
        f"{letters(n)}: |\n  <{letters(n + 1)}> => <{letters(n + 1)}>\n" for n in range(3000)
    )
    with pytest.raises(GrammarError, match="more than 100 rules are nested"):
        grammar_of(chain + f"{letters(3000)}: |\n  a => b\n")
    circle = chain + f"{letters(3000)}: |\n  <sentence> => <sentence>\n"
    with pytest.raises(GrammarError, match="more than 100 rules are nested"):
        grammar_of(circle)


def test_a_grammar_whose_sentences_double_at_each_rule_is_an_error_and_not_a_hang() -> None:
    doubling = "sentence: |\n  <ra> => <ra>\n" + "".join(
        f"{letters(n)}: |\n  <{letters(n + 1)}1> <{letters(n + 1)}2> => "
        f"<{letters(n + 1)}1> <{letters(n + 1)}2>\n"
        for n in range(40)
    )
    with pytest.raises(GrammarError, match="made of more than 10000 rules"):
        grammar_of(doubling + f"{letters(40)}: |\n  a => b\n  c => d\n")


def test_the_smallest_weights_there_are_can_be_drawn_from() -> None:
    grammar = grammar_of("sentence: |\n  oui => yes ~5e-324\n  non => no ~5e-324\n")
    rng = random.Random(0)
    assert {grammar.sample(rng).target for _ in range(50)} <= {"yes", "no"}
