"""Policies of the text decoder: how far it may write after a group.

With `ctc` the ST head allows a number of tokens. `wait-k` and `alignatt` need no ST head: the first
counts words, the second looks at where in the audio the decoder takes a token from. Both let the
decoder write until its boundary when the utterance ends, bounded by what the ASR head has found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from echostream.session.policy import Counts, PolicyState, Write, decide
from echostream.session.token_counts import TokenCounts
from echostream.session_config import SessionConfig, read_policy

# Tokens beyond those of the ST head that the decoder may write at the end of an utterance. With
# more it repeats itself after a pause in the middle of a sentence (eval/LOG.md).
MAX_EXTRA_TOKENS = 1
# Without the ST head: the most tokens of an utterance, for each of the ASR head and in addition.
MAX_RATIO, MAX_MORE_TOKENS = 2, 4


class WordStarts(NamedTuple):
    """Whether an id of each vocabulary begins a word."""

    source: Callable[[int], bool]
    target: Callable[[int], bool]


# For a language without spaces, in which each token is a word.
EACH_TOKEN = WordStarts(lambda _: True, lambda _: True)


class Candidate(NamedTuple):
    """The token that the decoder would write next."""

    token: int
    age: int  # of the frame that it attends to most, 0 for the newest; -1 unless `needs_age`


class DecoderPolicy(Protocol):
    """Decides after each group and each token whether the decoder may write another. Stateless.

    `ends` is True at the end of an utterance: at a pause, or because the source has ended.
    """

    needs_age: bool

    def after_group(self, source: Sequence[int], counts: TokenCounts, ends: bool) -> TokenCounts:
        """The counters after a group in which the ASR head has found the tokens `source`."""

    def after_token(self, token: int, counts: TokenCounts) -> TokenCounts:
        """The counters after a token was written."""

    def may_decode(self, counts: TokenCounts, ends: bool) -> bool:
        """Whether the decoder is asked for another token."""

    def accepts(self, candidate: Candidate, counts: TokenCounts, ends: bool) -> bool:
        """Whether a token is written; if not, the decoder is asked again after the next group."""


def make_decoder_policy(config: SessionConfig, words: WordStarts = EACH_TOKEN) -> DecoderPolicy:
    """The policy of a configuration."""
    name, number = read_policy(config.policy)
    if name == "wait-k":
        return WaitK(number, words)
    return AlignAtt(number) if name == "alignatt" else CtcPolicy(config)


class CtcPolicy:
    """As many tokens as the policy of StreamSpeech allows, from the counts of both heads."""

    needs_age = False

    def __init__(self, config: SessionConfig) -> None:
        self.config = config

    def after_group(self, source: Sequence[int], counts: TokenCounts, ends: bool) -> TokenCounts:
        """See `DecoderPolicy.after_group`."""
        return allow(counts, self.config, ends)[1]

    def after_token(self, token: int, counts: TokenCounts) -> TokenCounts:
        """See `DecoderPolicy.after_token`."""
        return counts._replace(num_decoded=counts.num_decoded + 1)

    def may_decode(self, counts: TokenCounts, ends: bool) -> bool:
        """Whether fewer tokens were written since the last pause than are allowed."""
        allowed = counts.num_allowed - counts.num_before
        more = MAX_EXTRA_TOKENS * (ends and (allowed > 0 or counts.num_decoded > 0))
        return counts.num_decoded < allowed + more

    def accepts(self, candidate: Candidate, counts: TokenCounts, ends: bool) -> bool:
        """Always: the decoder is asked for tokens that are allowed, and for no others."""
        return True


class WaitK:
    """Target word t is written once t + k - 1 source words have been found.

    Words are counted from the last pause; a word counts from its first token on. The decoder may
    complete a word at any time. Source: Ma et al., ACL 2019 (https://aclanthology.org/P19-1289).
    """

    needs_age = False

    def __init__(self, k: int, words: WordStarts) -> None:
        self.k = k
        self.words = words

    def after_group(self, source: Sequence[int], counts: TokenCounts, ends: bool) -> TokenCounts:
        """See `DecoderPolicy.after_group`."""
        for token in source:
            begins = self.words.source(token) or not counts.num_source_words
            counts = counts._replace(num_source_words=counts.num_source_words + begins)
        return counts

    def after_token(self, token: int, counts: TokenCounts) -> TokenCounts:
        """See `DecoderPolicy.after_token`."""
        return counts._replace(
            num_decoded=counts.num_decoded + 1,
            num_target_words=counts.num_target_words + self._begins(token, counts),
        )

    def may_decode(self, counts: TokenCounts, ends: bool) -> bool:
        """Whether k words have been found, and the utterance is not too long."""
        return (ends or self._num_words(counts) > 0) and below_bound(counts)

    def accepts(self, candidate: Candidate, counts: TokenCounts, ends: bool) -> bool:
        """Whether the token belongs to a word that is allowed."""
        num_words = counts.num_target_words + self._begins(candidate.token, counts)
        return ends or num_words <= self._num_words(counts)

    def _begins(self, token: int, counts: TokenCounts) -> bool:
        return self.words.target(token) or not counts.num_target_words

    def _num_words(self, counts: TokenCounts) -> int:
        """The number of words that may be written since the last pause."""
        return counts.num_source_words - self.k + 1


class AlignAtt:
    """A token is written unless the frame that it attends to most is among the newest.

    `num_frames` is the number of the newest frames, of 40 ms each. Source: Papi et al., Interspeech
    2023 (https://arxiv.org/abs/2305.11408).
    """

    needs_age = True

    def __init__(self, num_frames: int) -> None:
        self.num_frames = num_frames

    def after_group(self, source: Sequence[int], counts: TokenCounts, ends: bool) -> TokenCounts:
        """See `DecoderPolicy.after_group`."""
        return counts

    def after_token(self, token: int, counts: TokenCounts) -> TokenCounts:
        """See `DecoderPolicy.after_token`."""
        return counts._replace(num_decoded=counts.num_decoded + 1)

    def may_decode(self, counts: TokenCounts, ends: bool) -> bool:
        """Whether the utterance is not too long."""
        return below_bound(counts)

    def accepts(self, candidate: Candidate, counts: TokenCounts, ends: bool) -> bool:
        """Whether the frame is older than the newest ones."""
        return ends or candidate.age >= self.num_frames


def allow(
    counts: TokenCounts, config: SessionConfig, ends: bool = False
) -> tuple[int, TokenCounts]:
    """The number of tokens that the CTC policy newly allows; all, if the utterance `ends`."""
    before = PolicyState(counts.gate_asr, counts.gate_st, counts.num_allowed)
    action, after = decide(Counts(counts.num_asr, counts.num_st, ends), before, config)
    size = action.num_tokens if isinstance(action, Write) else 0
    return size, counts._replace(
        gate_asr=after.num_asr, gate_st=after.num_st, num_allowed=after.num_written
    )


def below_bound(counts: TokenCounts) -> bool:
    """Whether an utterance may have another token; none before the ASR head has found one.

    Without a bound, a decoder whose boundary never comes would repeat itself without end.
    """
    num_asr = counts.num_asr - counts.num_asr_before
    return num_asr > 0 and counts.num_decoded < MAX_RATIO * num_asr + MAX_MORE_TOKENS
