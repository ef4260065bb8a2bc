"""Redaction: a statement without its values. Literals are masked, comments dropped, names and keywords kept.

A literal stays only where it is a name itself: IDENTIFIER('db.t'), a pivot's values that become columns, an alias in
quotes. SQL in a string (EXECUTE IMMEDIATE, UNLOAD, the body of a procedure) is redacted in place, so that the lineage
of the redacted text is the lineage of the text. What cannot be read for certain is withheld whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mc_push_dagster.lineage.literals import Kind, Lexeme, Syntax, lexemes, shows_secret, syntax_of, telling
from mc_push_dagster.lineage.settings import Run, bare_value, bare_values_from

WITHHELD = "/* text withheld: its literals could not be told apart */"
"""Stands for a text that is not shown at all."""
MASK = "***"

_NESTED = 3
_LONGEST_NAME = 128
_TABLE_NAME = re.compile(r'[\w$"`\- ]+(\.[\w$"`\- ]+){0,3}')
_ALIAS = re.compile(r"[^\W\d][\w .%#/()&+,:?!\-]*")
_FILE = re.compile(r"\.(parquet|csv|tsv|json|jsonl|ndjson|avro|orc|xlsx)(\.\w+)?$", re.I)
_FILE_FORMATS = frozenset({"PARQUET", "CSV", "JSON", "ORC", "AVRO", "TEXT", "DELTA", "BINARYFILE", "ICEBERG"})
_CLAUSES = frozenset(
    {
        *("SELECT", "FROM", "WHERE", "ON", "HAVING", "QUALIFY", "SET", "VALUES", "WINDOW", "LIMIT", "USING", "WHEN"),
        *("GROUP", "ORDER", "GROUP BY", "ORDER BY", "UNION", "UNION ALL", "INTERSECT", "EXCEPT", "PARTITION BY"),
    }
)
_QUERY_STARTS = frozenset({"SELECT", "FROM", "WITH", "PIVOT", "UNPIVOT", "INSERT", "MERGE", "UPDATE", "DELETE"})
_CODE_WORDS = frozenset({"PROCEDURE", "FUNCTION", "TASK"})
_CODE_LANGUAGES = frozenset({"SQL", "PLPGSQL"})
_NAME_BEFORE = frozenset({"FROM", "JOIN", "INTO", "TABLE", "UPDATE", "VIEW", "EXISTS", "USING", "OVERWRITE", ","})
_COMPARED_IN = frozenset({"WHERE", "ON", "HAVING", "QUALIFY", "WHEN"})
_COMPARING = frozenset({"=", "<>", "!=", "==", "<=>", "LIKE", "ILIKE", "IN", "("})


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


@dataclass(slots=True)
class _Level:
    """What stands between two parentheses, or the statement itself."""

    opener: str
    """The word before the parenthesis."""
    first: str = ""
    clause: str = ""
    query: bool = False


class _Masking:
    """One pass over the lexemes of a text."""

    def __init__(self, found: list[Lexeme], syntax: Syntax, nested: int) -> None:
        self._found = found
        self._syntax = syntax
        self._nested = nested
        self._out: list[str] = []
        self._begin(0)

    def _begin(self, start: int) -> None:
        """A statement starts at `start`."""
        self._start = start
        self._levels = [_Level("")]
        self._selects = False
        self._code: str | None = None
        self._bare = bare_values_from(self._found, start, self._syntax)

    def text(self) -> str:
        """The redacted text."""
        at = 0
        while at < len(self._found):
            run = self._run(at)
            self._put(self._found[at], run.text)
            at = run.end
        return "".join(self._out).strip()

    def _put(self, lexeme: Lexeme, text: str) -> None:
        # Two literals that touch would be read as one with an escaped quote.
        touching = lexeme.glued and text[:1] == "'" and self._out and self._out[-1][-1:] == "'"
        self._out.append(" " if touching else lexeme.gap)
        self._out.append(text)

    def _run(self, at: int) -> Run:
        """What becomes of the lexemes from `at` on, as far as they belong together."""
        lexeme = self._found[at]
        if at == self._bare:
            end = next((i for i in range(at, len(self._found)) if self._found[i].source == ";"), len(self._found))
            return Run(f"'{MASK}'", end)
        if not self._selects:
            value = bare_value(self._found, at, self._start)
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
        if lexeme.kind is Kind.WORD:
            self._word(lexeme)
        elif lexeme.source == "@" and self._syntax.name == "snowflake":
            return self._stage(at)
        else:
            self._mark(at)
        return Run(lexeme.source, at + 1)

    # -- where we are ------------------------------------------------------------------------------------------------

    def _before(self, at: int, back: int = 1) -> str:
        """The word or mark that stands `back` places before `at` in the same statement; empty for literals."""
        place = at - back
        if place < self._start:
            return ""
        lexeme = self._found[place]
        return lexeme.value if lexeme.kind in (Kind.WORD, Kind.MARK) else ""

    def _after(self, at: int) -> Lexeme | None:
        return self._found[at + 1] if at + 1 < len(self._found) else None

    def _word(self, lexeme: Lexeme) -> None:
        level = self._levels[-1]
        level.first = level.first or lexeme.value
        if lexeme.value in _CLAUSES:
            level.clause = lexeme.value
        if lexeme.value == "SELECT" or level.first in _QUERY_STARTS:
            level.query = True
            self._selects = True

    def _mark(self, at: int) -> None:
        source = self._found[at].source
        if source == "(":
            self._levels.append(_Level(self._before(at)))
        elif source == ")" and len(self._levels) > 1:
            self._levels.pop()
        elif source == ";":
            self._begin(at + 1)

    # -- strings -----------------------------------------------------------------------------------------------------

    def _string(self, at: int) -> Run:
        lexeme = self._found[at]
        if self._holds_sql(at):
            return self._sql(at)
        if self._stays(at):
            return Run(self._syntax.quoted(lexeme.value), at + 1)
        return Run(self._mask(at), at + 1)

    def _mask(self, at: int) -> str:
        lexeme = self._found[at]
        head = lexeme.source[:2].upper()
        if not lexeme.sql_text:
            if head == "X'":
                return "X'00'"
            if head == "0X":
                return "0x0"
            if head == "0B" or (head == "B'" and set(lexeme.value) <= {"0", "1"}):
                return "B'0'" if head == "B'" else "0b0"
            if head[:1] == "B":
                return f"b'{MASK}'"
        return f"'{self._kept_shape(at)}{MASK}{self._kept_ending(at)}'"

    def _is_source(self, at: int) -> bool:
        """True if the string stands where a table could: `FROM 'sales.csv'`."""
        level = self._levels[-1]
        if not level.query or level.clause not in ("FROM", "USING"):
            return False
        before = self._before(at)
        return before in ("JOIN", "USING", ",") or (before == "FROM" and self._before(at, 2) not in ("DISTINCT", "NOT"))

    def _kept_shape(self, at: int) -> str:
        value = self._found[at].value
        if not self._is_source(at):
            return ""
        return "/" if re.search(r"[/\\]", value) and not _FILE.search(value) else ""

    def _kept_ending(self, at: int) -> str:
        ending = _FILE.search(self._found[at].value) if self._is_source(at) else None
        return f".{ending.group(1).lower()}" if ending else ""

    def _stays(self, at: int) -> bool:
        """True if a string is a name: lineage hangs on it, and it is as public as any other name."""
        lexeme, level = self._found[at], self._levels[-1]
        value = lexeme.value
        if not lexeme.sql_text or len(value) > _LONGEST_NAME or telling(value):
            return False
        before = self._before(at)
        if level.opener in ("IDENTIFIER", "TABLE") and before == "(":
            return bool(_TABLE_NAME.fullmatch(value))
        if self._word_at(self._start + 1) == "SP_RENAME":
            return bool(_TABLE_NAME.fullmatch(value))
        if before == "AS" and level.query and level.clause in ("SELECT", "FROM"):
            return bool(_ALIAS.fullmatch(value))
        if self._is_source(at) and self._syntax.files_are_tables:
            return bool(_TABLE_NAME.fullmatch(value)) and not _FILE.search(value)
        if level.opener == "COLUMNS" or (len(self._levels) > 1 and self._levels[-2].opener == "COLUMNS"):
            return True
        if before in ("LIKE", "ILIKE") and self._before(at, 2) == "*":
            return True
        return self._names_pivot_column(at)

    def _word_at(self, at: int) -> str:
        return self._found[at].value if at < len(self._found) else ""

    def _names_pivot_column(self, at: int) -> bool:
        if len(self._levels) < 2 or self._levels[-1].opener != "IN":
            return False
        around = self._levels[-2]
        if around.opener != "PIVOT" and around.first != "PIVOT":
            return False
        after = self._after(at)
        # With an alias, the alias is the column's name.
        return after is not None and after.source in (",", ")")

    # -- SQL in strings ----------------------------------------------------------------------------------------------

    def _holds_sql(self, at: int) -> bool:
        if not self._found[at].sql_text:
            return False
        before, first = self._before(at), self._word_at(self._start)
        if before == "IMMEDIATE" or before in ("EXECUTE", "EXEC", "UNLOAD"):
            return True
        if self._levels[-1].opener == "UNLOAD" and before == "(":
            return True
        if first == "DO" and self._nested <= _NESTED:
            return True
        return before == "AS" and first == "CREATE" and self._language() in _CODE_LANGUAGES

    def _language(self) -> str:
        """The language of the procedure that the statement makes; empty if it makes none."""
        if self._code is None:
            words: list[str] = []
            for i in range(self._start, len(self._found)):
                lexeme = self._found[i]
                if lexeme.source == ";":
                    break
                words.append(lexeme.value if lexeme.kind is Kind.WORD else "")
            language = words[words.index("LANGUAGE") + 1] if "LANGUAGE" in words[:-1] else "SQL"
            self._code = language if _CODE_WORDS & set(words[1:6]) else ""
        return self._code

    def _sql(self, at: int) -> Run:
        """Strings put together with `||`, redacted as the SQL that they are."""
        parts, end = [self._found[at].value], at + 1
        while end + 1 < len(self._found) and self._found[end].source == "||" and self._found[end + 1].sql_text:
            parts.append(self._found[end + 1].value)
            end += 2
        inner = None if self._nested >= _NESTED else _redacted("".join(parts), self._syntax, self._nested + 1)
        if inner is None:
            inner = MASK
        if end == at + 1:
            delimiter = re.match(r"\$\w*\$", self._found[at].source)
            if delimiter is not None and delimiter.group() not in inner:
                return Run(f"{delimiter.group()}{inner}{delimiter.group()}", end)
        return Run(self._syntax.quoted(" ".join(inner.split())), end)

    # -- everything else ---------------------------------------------------------------------------------------------

    def _number(self, at: int) -> Run:
        lexeme = self._found[at]
        before = self._found[at - 1] if at > self._start else None
        if before is not None and lexeme.glued and before.source == "$" and len(lexeme.source) <= _NESTED:
            return Run(lexeme.source, at + 1)  # a parameter, or a column of a stage
        if self._syntax.dashes_in_names and self._in_table_name(at):
            return Run(lexeme.source, at + 1)
        if self._names_pivot_column(at) and not telling(lexeme.source):
            return Run(lexeme.source, at + 1)
        end = at + 1
        while end < len(self._found) and self._found[end].glued:
            kind, source = self._found[end].kind, self._found[end].source
            if kind not in (Kind.NUMBER, Kind.WORD) and source != ".":
                break
            end += 1
        return Run(self._syntax.number(lexeme.source), end)

    def _in_table_name(self, at: int) -> bool:
        """True for the figures in `my-project-123.dataset.t`."""
        first = at
        while first > max(self._start, at - _LONGEST_NAME) and self._found[first].glued:
            if self._found[first - 1].source in ("(", ","):
                break
            first -= 1
        return first < at and self._found[first].kind is Kind.WORD and self._before(first) in _NAME_BEFORE

    def _name(self, at: int) -> str:
        lexeme = self._found[at]
        quote = lexeme.source[0]
        closing = lexeme.source[-1]
        if self._before(at) == "." and self._before(at, 2) in _FILE_FORMATS and "/" in lexeme.value:
            return f"{quote}/{MASK}{closing}"
        if telling(lexeme.value) or (quote == '"' and self._mistaken(at)):
            return f"{quote}{MASK}{closing}"
        return lexeme.source

    def _mistaken(self, at: int) -> bool:
        """True for a name that is compared and looks like a value: `WHERE email = "Jane Doe"`."""
        after = self._after(at)
        if after is not None and after.source in (".", "("):
            return False
        clause = self._levels[-1].clause or (self._levels[-2].clause if len(self._levels) > 1 else "")
        if clause not in _COMPARED_IN or self._before(at) not in _COMPARING:
            return False
        words = [self._found[i].value for i in range(max(at - 3, self._start), at)]
        return " " in self._found[at].value or any(re.search("PASSW|SECRET|TOKEN|PWD", w.upper()) for w in words)

    def _stage(self, at: int) -> Run:
        """A stage's name without the path in it."""
        end = self._glued_end(at + 1) if self._glued_at(at + 1) else at + 1
        name = ""
        for lexeme in self._found[at:end]:
            if lexeme.kind not in (Kind.WORD, Kind.NAME) and lexeme.source not in ("@", ".", "~", "%"):
                break
            name += lexeme.source
        return Run(name, end)

    def _glued_at(self, at: int) -> bool:
        return at < len(self._found) and self._found[at].glued and self._found[at].source not in ("(", ")", ",", ";")

    def _glued_end(self, at: int) -> int:
        end = at + 1
        while self._glued_at(end):
            end += 1
        return end
