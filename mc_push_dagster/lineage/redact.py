"""Redaction: a statement without its values. Literals are masked, comments dropped, names and keywords kept.

A literal stays only where it is a name itself: IDENTIFIER('db.t'), a pivot's values that become columns, an alias in
quotes. SQL in a string (EXECUTE IMMEDIATE, UNLOAD, the body of a procedure) is redacted in place, so that the lineage
of the redacted text is the lineage of the text. What cannot be read for certain is withheld whole.
"""

from __future__ import annotations

import re

from mc_push_dagster.lineage.literals import Kind, Lexeme, Syntax, lexemes, shows_secret, syntax_of, telling
from mc_push_dagster.lineage.settings import NAMING, Run, bare_value, bare_values_from
from mc_push_dagster.lineage.surroundings import Surroundings

WITHHELD = "/* text withheld: its literals could not be told apart */"
"""Stands for a text that is not shown at all."""
MASK = "***"

_NESTED = 3
_LONGEST_NAME = 128
_PARAMETER_DIGITS = 3
_TABLE_NAME = re.compile(r'[\w$"`\- ]+(\.[\w$"`\- ]+){0,3}')
_ALIAS = re.compile(r"[^\W\d][\w .%#/()&+,:?!\-]*")
_STAGE = re.compile(r"@[\w.~%$]+")
_FILE = re.compile(r"\.(parquet|csv|tsv|json|jsonl|ndjson|avro|orc|xlsx)(\.\w+)?$", re.I)
_FILE_FORMATS = frozenset({"PARQUET", "CSV", "JSON", "ORC", "AVRO", "TEXT", "DELTA", "BINARYFILE", "ICEBERG"})
_CODE_LANGUAGES = frozenset({"SQL", "PLPGSQL"})
_DOLLARS = re.compile(r"\$\w*\$")


def redact(sql: str, dialect: str) -> str:
    """Return the text without values and comments, or `WITHHELD`; never raises, and what is redacted stays as it is.

    Strings become '***', numbers 0, binary literals their type's shortest. Time is linear in the text's length.
    """
    if sql == WITHHELD:
        return sql
    text = _redacted(sql, syntax_of(dialect), 0)
    return WITHHELD if text is None else text


def _redacted(sql: str, syntax: Syntax, nested: int) -> str | None:
    found = lexemes(sql, syntax)
    if found is None:
        return None
    text = _Masking(found, syntax, nested).text()
    return None if shows_secret(text) else text


class _Masking:
    """One pass over the lexemes of a text."""

    def __init__(self, found: list[Lexeme], syntax: Syntax, nested: int) -> None:
        self._found = found
        self._syntax = syntax
        self._nested = nested
        self._out: list[str] = []
        self._around = Surroundings(found)
        self._bare = bare_values_from(found, 0, syntax)

    def text(self) -> str:
        """The redacted text."""
        at = 0
        while at < len(self._found):
            run = self._run(at)
            self._put(self._found[at], run.text)
            at = run.end
        return "".join(self._out).strip()

    def _put(self, lexeme: Lexeme, text: str) -> None:
        # Two literals that touch would be read as one with an escaped quote, a name and a literal as neither.
        touching = lexeme.glued and text[:1] == "'" and self._out and self._out[-1][-1:] in ("'", '"', "`")
        self._out.append(" " if touching else lexeme.gap)
        self._out.append(text)

    def _run(self, at: int) -> Run:
        """What becomes of the lexemes from `at` on, as far as they belong together."""
        lexeme = self._found[at]
        if at == self._bare:
            end = next((i for i in range(at, len(self._found)) if self._found[i].source == ";"), len(self._found))
            return Run(f"'{MASK}'", end)
        if self._around.outside_of_query:
            value = bare_value(self._found, at, self._around.start)
            if value is not None:
                return value
        if lexeme.kind is Kind.TEXT:
            return self._string(at)
        if lexeme.kind is Kind.NUMBER:
            return self._number(at)
        if lexeme.kind is Kind.ADDRESS:
            return Run(f"'{MASK}'", self._glued_end(at))
        if lexeme.kind is Kind.NAME:
            return Run(self._name(at), at + 1)
        if lexeme.source == "@" and self._syntax.has_stages:
            return self._stage(at)
        self._around.move(at)
        if lexeme.source == ";":
            self._bare = bare_values_from(self._found, at + 1, self._syntax)
        return Run(lexeme.source, at + 1)

    # -- strings -----------------------------------------------------------------------------------------------------

    def _string(self, at: int) -> Run:
        lexeme = self._found[at]
        if not lexeme.sql_text:
            return Run(self._binary(lexeme), at + 1)
        if self._holds_sql(at):
            return self._sql(at)
        if self._stays(at):
            return Run(self._syntax.quoted(lexeme.value), at + 1)
        return Run(self._source(lexeme.value) if self._around.in_place_of_table(at) else f"'{MASK}'", at + 1)

    @staticmethod
    def _binary(lexeme: Lexeme) -> str:
        head = lexeme.source[:2].upper()
        if head in ("0X", "0B"):
            return f"{head.lower()}0"
        if head == "X'":
            return "X'00'"
        if head == "B'" and set(lexeme.value) <= {"0", "1"}:
            return "B'0'"
        return f"b'{MASK}'" if head[0] == "B" else f"'{MASK}'"

    @staticmethod
    def _source(value: str) -> str:
        """What stands for a file or a stage in the place of a table, and is read as one."""
        stage, file = _STAGE.match(value), _FILE.search(value)
        if file is not None:
            return f"'{MASK}.{file.group(1).lower()}'"
        if stage is not None and not telling(stage.group()):
            return f"'{stage.group()}/{MASK}'" if stage.end() < len(value) else f"'{value}'"
        return f"'/{MASK}'" if re.search(r"[/\\]", value) else f"'{MASK}'"

    def _stays(self, at: int) -> bool:
        """True if a string is a name: lineage hangs on it, and it is as public as any other name."""
        value, around = self._found[at].value, self._around
        if len(value) > _LONGEST_NAME or telling(value):
            return False
        if around.level.opener in ("IDENTIFIER", "TABLE") and around.before(at) == "(":
            return bool(_TABLE_NAME.fullmatch(value))
        if around.word(1) == "SP_RENAME" or (around.word(0) == "SET" and around.word(1) in NAMING):
            return bool(_TABLE_NAME.fullmatch(value))
        if around.is_alias(at):
            return bool(_ALIAS.fullmatch(value))
        if self._syntax.strings_are_tables and around.in_place_of_table(at):
            return bool(_TABLE_NAME.fullmatch(value)) and not _FILE.search(value)
        return around.names_pivot_column(at) or (self._syntax.patterns_pick_columns and around.picks_columns(at))

    # -- SQL in strings ----------------------------------------------------------------------------------------------

    def _holds_sql(self, at: int) -> bool:
        around, before = self._around, self._around.before(at)
        if before in ("IMMEDIATE", "EXECUTE", "EXEC", "UNLOAD") or around.word(0) == "DO":
            return True
        if around.level.opener == "UNLOAD" and before == "(":
            return True
        return before == "AS" and around.code_language() in _CODE_LANGUAGES

    def _sql(self, at: int) -> Run:
        """Strings put together with `||`, redacted as the SQL that they are."""
        parts, end = [self._found[at].value], at + 1
        while end + 1 < len(self._found) and self._found[end].source == "||" and self._found[end + 1].sql_text:
            parts.append(self._found[end + 1].value)
            end += 2
        inner = None if self._nested >= _NESTED else _redacted("".join(parts), self._syntax, self._nested + 1)
        if inner is None:
            inner = MASK
        dollars = _DOLLARS.match(self._found[at].source)
        if end == at + 1 and dollars is not None and dollars.group() not in inner:
            return Run(f"{dollars.group()}{inner}{dollars.group()}", end)
        return Run(self._syntax.quoted(" ".join(inner.split())), end)

    # -- everything else ---------------------------------------------------------------------------------------------

    def _number(self, at: int) -> Run:
        lexeme = self._found[at]
        short = len(lexeme.source) <= _PARAMETER_DIGITS
        if lexeme.glued and short and self._around.before(at) == "$":
            return Run(lexeme.source, at + 1)  # a parameter, or a column of a stage
        if self._syntax.dashes_in_names and self._around.in_table_name(at):
            return Run(lexeme.source, at + 1)
        if self._around.names_pivot_column(at) and not telling(lexeme.source):
            return Run(lexeme.source, at + 1)
        end = at + 1
        while end < len(self._found) and self._found[end].glued:
            kind, source = self._found[end].kind, self._found[end].source
            if kind not in (Kind.NUMBER, Kind.WORD) and source != ".":
                break
            end += 1
        return Run(self._syntax.number(lexeme.source), end)

    def _name(self, at: int) -> str:
        lexeme = self._found[at]
        opening, closing = lexeme.source[0], lexeme.source[-1]
        around = self._around
        if around.before(at) == "." and around.before(at, 2) in _FILE_FORMATS and "/" in lexeme.value:
            return f"{opening}/{MASK}{closing}"
        if telling(lexeme.value) or (opening == '"' and around.is_mistaken(at)):
            return f"{opening}{MASK}{closing}"
        return lexeme.source

    def _stage(self, at: int) -> Run:
        """A stage's name without the path in it."""
        end = self._glued_end(at)
        name = ""
        for lexeme in self._found[at:end]:
            if lexeme.kind not in (Kind.WORD, Kind.NAME) and lexeme.source not in ("@", ".", "~", "%"):
                break
            name += lexeme.source
        return Run(name, end)

    def _glued_end(self, at: int) -> int:
        end = at + 1
        while end < len(self._found) and self._found[end].glued and self._found[end].source not in ("(", ")", ",", ";"):
            end += 1
        return end
