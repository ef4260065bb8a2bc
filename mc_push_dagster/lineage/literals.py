"""Lexemes of a statement, cut by the dialect's tokenizer, with every doubt about where a literal ends taken seriously.

sqlglot reads what is valid; logs also hold what failed: wrong quotes, comments of another dialect, text pasted by
mistake. Where the outside of literals could hide the inside of one, there are no lexemes, and the text is withheld.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache

from sqlglot import Token, Tokenizer, TokenType
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError

from mc_push_dagster.lineage.names import rules_of

_TEXTS = frozenset(
    {
        *(TokenType.STRING, TokenType.RAW_STRING, TokenType.HEREDOC_STRING, TokenType.NATIONAL_STRING),
        *(TokenType.UNICODE_STRING, TokenType.BYTE_STRING, TokenType.HEX_STRING, TokenType.BIT_STRING),
    }
)
_PREFIXES = frozenset({"N", "E", "B", "X", "R", "RB", "BR", "U", "DATE", "TIME", "TIMESTAMP", "DATETIME", "JSON"})
"""Words that may touch the string they belong to; `don't` may not."""
_WORD = re.compile(r"[\w$#@]+(\s+[\w$#@]+)*")
_MARKS = re.compile(r"[!-/:-@\[\]^{-~]+")
_DOLLAR_QUOTE = re.compile(r"(?<![\w$])\$\w*\$")
# What is searched for in whole texts has no unbounded beginning: that would cost the square of a long word's length.
_EMAIL = r"[\w.%+\-]@\w[\w\-]{0,62}\.\w"
_KEYED_URL = r"://[^/\s:@]*:[^/\s@]+@"
_SHAPES = re.compile(
    rf"{_EMAIL}|{_KEYED_URL}|\b(AKIA|ASIA|AROA|AIDA)[A-Z0-9]{{12,}}|\bgh[pousr]_\w{{16,}}|\bgithub_pat_\w+"
    r"|\bglpat-[\w\-]{12,}|\bxox[abeoprs]-[\w\-]{8,}|\b[srp]k_(live|test)_\w{8,}|\beyJ[\w\-]{8,}|\bAIza[\w\-]{20,}"
    r"|\bdapi[0-9a-f]{20,}|\bSG\.[\w\-]{10,}|\bnpm_\w{20,}|\bpypi-\w{16,}|\bhvs\.\w{16,}|-----BEGIN|\bya29\.[\w\-]{8,}"
    r"|\bdckr_pat_|\bsq0[a-z]{3}-|\bshp(at|ss|ca|pa)_\w{8,}|\bIGQV|\bEAAC[A-Za-z0-9]{10,}"
)
_SIGNS = (
    *(
        "@",
        "://",
        "AKIA",
        "ASIA",
        "AROA",
        "AIDA",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "xox",
    ),
    *("k_live_", "k_test_", "eyJ", "AIza", "dapi", "SG.", "npm_", "pypi-", "hvs.", "-----BEGIN", "ya29.", "dckr_pat_"),
    *("sq0", "shpat_", "shpss_", "shpca_", "shppa_", "IGQV", "EAAC"),
)
"""Each of `_SHAPES` has one of these in it: a search for plain text is quicker by far."""
_FIGURES = re.compile(r"[\d\s.+()/\-]*")
_SEPARATED = re.compile(r"\d[\d_]*")
_DAY = re.compile(r"(19|20)\d\d-?\d\d-?\d\d|(19|20)\d\d-?\d\d")
_FIGURES_LEAST = 6


class Kind(Enum):
    """What masking makes of a lexeme."""

    WORD = auto()
    NAME = auto()
    """A quoted identifier."""
    TEXT = auto()
    NUMBER = auto()
    ADDRESS = auto()
    """The start of an address without quotes: `file://`."""
    MARK = auto()


@dataclass(slots=True)
class Lexeme:
    """A piece of a statement; white space is in front of it, and comments are gone."""

    kind: Kind
    source: str
    """As it is written."""
    value: str
    """Without quotes and escapes; words in upper case."""
    gap: str
    sql_text: bool = False
    """True for a kind of string that can hold SQL."""

    @property
    def glued(self) -> bool:
        return not self.gap


class Syntax:
    """What masking has to know of a dialect."""

    def __init__(self, dialect: str | None) -> None:
        self.name = rules_of(dialect).sqlglot
        self.dialect = Dialect.get_or_raise(self.name or None)
        base: type[Tokenizer] = self.dialect.tokenizer_class
        # sqlglot leaves what follows EXECUTE, CALL or RENAME as one string; masking needs its tokens.
        self._tokenizer = type(f"{base.__name__}OfAll", (base,), {"COMMANDS": set()})
        self.backslashes = "\\" in base.STRING_ESCAPES
        self.strings_are_tables = self.name == "duckdb"
        self.patterns_pick_columns = self.name in ("", "clickhouse", "duckdb", "snowflake")
        self.has_stages = self.name == "snowflake"
        self.settings_are_bare = self.name in ("hive", "spark", "spark2", "databricks")
        """True where `SET key=value` takes the rest of the line as it stands."""
        self.dashes_in_names = self.name == "bigquery"
        self._tagged_dollars = "$" in base.HEREDOC_STRINGS
        self._suffix = re.compile(f"({'|'.join(base.NUMERIC_LITERALS)})$", re.I) if base.NUMERIC_LITERALS else None

    def tokens(self, sql: str) -> list[Token]:
        """The tokens of a text, hints not among them.

        Raises:
            sqlglot.errors.SqlglotError: if the text is no token stream of the dialect.
        """
        found = self._tokenizer(dialect=self.dialect).tokenize(sql)
        return [t for t in found if t.token_type is not TokenType.HINT]

    def quoted(self, value: str) -> str:
        """A string literal with this value."""
        escaped = value.replace("\\", "\\\\").replace("'", "\\'") if self.backslashes else value.replace("'", "''")
        return f"'{escaped}'"

    def number(self, source: str) -> str:
        """A zero of the literal's type."""
        suffix = self._suffix.search(source) if self._suffix is not None else None
        return f"0{suffix.group()}" if suffix else "0"

    def ambiguous(self, outside: str) -> bool:
        """True if what stands outside of literals looks like a literal or a secret itself."""
        return bool(
            (not self._tagged_dollars and "$" in outside and _DOLLAR_QUOTE.search(outside))
            or "*/" in outside
            or shows_secret(outside)
        )


@lru_cache(maxsize=64)
def syntax_of(dialect: str | None) -> Syntax:
    """The syntax of a dialect by any of its names; the generic one where the name is unknown."""
    return Syntax(dialect)


def telling(value: str) -> bool:
    """True if a value looks like a secret or like what points to a person: keys, addresses, long figures."""
    if shows_secret(value) or "://" in value:
        return True
    digits = sum(c.isdigit() for c in value)
    return digits >= _FIGURES_LEAST and bool(_FIGURES.fullmatch(value)) and not _DAY.fullmatch(value)


def shows_secret(text: str) -> bool:
    """True if a text holds something that has the form of a known kind of key, or an address with a password."""
    return any(sign in text for sign in _SIGNS) and _SHAPES.search(text) is not None


def lexemes(sql: str, syntax: Syntax) -> list[Lexeme] | None:
    """The lexemes of a text; None if it cannot be told for certain what is a literal in it."""
    sql = sql.replace("\0", " ")
    try:
        tokens = syntax.tokens(sql)
    except SqlglotError:
        return None
    found: list[Lexeme] = []
    at = 0
    for token in tokens:
        if token.start < at:
            continue  # the type that sqlglot adds to `10L`
        source = sql[token.start : token.end + 1]
        lexeme = _lexeme(token, source, _gap(sql[at : token.start]))
        if lexeme is None or not _may_follow(found[-1] if found else None, lexeme):
            return None
        found.append(lexeme)
        at = token.end + 1
    outside = "".join(f"{x.gap}{x.source}" for x in found if x.kind not in (Kind.TEXT, Kind.NAME))
    return None if syntax.ambiguous(outside) else found


def _gap(between: str) -> str:
    if not between or between.isspace():
        return between
    return "\n" if "\n" in between else " "  # a comment


def _lexeme(token: Token, source: str, gap: str) -> Lexeme | None:
    kind = token.token_type
    if kind in _TEXTS:
        binary = kind in (TokenType.BYTE_STRING, TokenType.HEX_STRING, TokenType.BIT_STRING)
        return Lexeme(Kind.TEXT, source, token.text, gap, not binary)
    if kind is TokenType.NUMBER or _SEPARATED.fullmatch(source):
        return Lexeme(Kind.NUMBER, source, source, gap)
    if kind is TokenType.IDENTIFIER:
        # `0xZZ` is an identifier to sqlglot.
        return Lexeme(Kind.NUMBER if source[0].isalnum() else Kind.NAME, source, token.text, gap)
    if source.endswith("://"):
        return Lexeme(Kind.ADDRESS, source, source, gap)
    if _WORD.fullmatch(source) and source.strip("$#@"):
        word = " ".join(source.split())
        return Lexeme(Kind.WORD, word, word.upper(), gap)
    return Lexeme(Kind.MARK, source, source, gap) if _MARKS.fullmatch(source) else None


def _may_follow(last: Lexeme | None, lexeme: Lexeme) -> bool:
    """False where a quote was closed too early or opened too late (`'it's'`, `don't`), and at foreign comments."""
    begins = last is None or "\n" in lexeme.gap
    if begins and lexeme.kind is Kind.MARK and lexeme.source.startswith(("#", "//")):
        return False
    if last is None or not lexeme.glued:
        return True
    if last.source == lexeme.source == "/":
        return False
    if last.kind is Kind.TEXT:
        return lexeme.kind not in (Kind.WORD, Kind.NUMBER)
    if lexeme.kind is Kind.TEXT:
        return last.kind is Kind.MARK or (last.kind is Kind.WORD and last.value in _PREFIXES)
    return True
