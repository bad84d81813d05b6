"""Readers of public corpora, as they are downloaded: one file for each layout."""

from __future__ import annotations

from echostream.data.corpora.asterisk import read_asterisk
from echostream.data.corpora.common_voice import read_covost2, read_cvss
from echostream.data.corpora.entry import Layout
from echostream.data.corpora.europarl_st import read_europarl_st
from echostream.data.corpora.fleurs import read_fleurs
from echostream.data.corpora.librispeech import read_librispeech
from echostream.data.corpora.mboshi import read_mboshi
from echostream.data.corpora.must_c import read_mtedx, read_must_c
from echostream.data.corpora.tables import read_tables

LAYOUTS: dict[str, Layout] = {
    "mboshi": read_mboshi,
    "cvss": read_cvss,
    "covost2": read_covost2,
    "mustc": read_must_c,
    "mtedx": read_mtedx,
    "europarl-st": read_europarl_st,
    "fleurs": read_fleurs,
    "librispeech": read_librispeech,
    "asterisk": read_asterisk,
    "tsv": read_tables,
}
