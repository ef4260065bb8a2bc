"""Where a literal stands: the statement, the clause, the parentheses around it, and what that says about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mc_push_dagster.lineage.literals import Kind, Lexeme

_CLAUSES = frozenset(
    {
        *("SELECT", "FROM", "WHERE", "ON", "HAVING", "QUALIFY", "SET", "VALUES", "WINDOW", "LIMIT", "USING", "WHEN"),
        *("GROUP", "ORDER", "GROUP BY", "ORDER BY", "UNION", "UNION ALL", "INTERSECT", "EXCEPT", "PARTITION BY"),
    }
)
_QUERY_STARTS = frozenset({"SELECT", "FROM", "WITH", "PIVOT", "UNPIVOT", "INSERT", "MERGE", "UPDATE", "DELETE"})
_NAME_BEFORE = frozenset({"FROM", "JOIN", "INTO", "TABLE", "UPDATE", "VIEW", "EXISTS", "USING", "OVERWRITE"})
_COMPARED_IN = frozenset({"WHERE", "ON", "HAVING", "QUALIFY", "WHEN"})
_COMPARING = frozenset({"=", "<>", "!=", "==", "<=>", "LIKE", "ILIKE", "IN", "("})
_MATCHING = ("LIKE", "ILIKE", "GLOB", "SIMILAR TO", "~")
_SECRET = re.compile("PASSW|SECRET|TOKEN|PWD")
_LONGEST_NAME = 128
_LONGEST_PROJECT_NUMBER = 12
_OPTIONS_LAST = frozenset({"COPY", "UNLOAD", "EXPORT"})


@dataclass(slots=True)
class Level:
    """What stands between two parentheses, or the statement itself."""

    opener: str
    """The word before the parenthesis."""
    first: str = ""
    clause: str = ""
    query: bool = False
    pivots: bool = False
    """True in DuckDB's `PIVOT t ON column IN (...)`."""


class Surroundings:
    """The place of a pass over lexemes; it moves forward only."""

    def __init__(self, found: Sequence[Lexeme]) -> None:
        self._found = found
        self.begin(0)

    def begin(self, start: int) -> None:
        """A statement starts at `start`."""
        self.start = start
        self.levels = [Level("")]
        self.queries = False
        """True once the statement has come to a query."""
        self._code: str | None = None

    @property
    def level(self) -> Level:
        return self.levels[-1]

    @property
    def outside_of_query(self) -> bool:
        """True among the options of a statement; those of a COPY stand after its query, too."""
        return not self.queries or (self.word(0) in _OPTIONS_LAST and not self.level.query)

    def move(self, at: int) -> None:
        """Take note of the word or mark at `at`."""
        lexeme, level = self._found[at], self.level
        if lexeme.kind is Kind.WORD:
            level.first = level.first or lexeme.value
            if lexeme.value in _CLAUSES:
                level.clause = lexeme.value
                level.pivots &= lexeme.value in ("ON", "USING")
            elif lexeme.value == "PIVOT":
                level.pivots = self.source(at + 1) != "("
            if lexeme.value == "SELECT" or level.first in _QUERY_STARTS:
                level.query = self.queries = True
        elif lexeme.source == "(":
            self.levels.append(Level(self.before(at)))
        elif lexeme.source == ")" and len(self.levels) > 1:
            self.levels.pop()
        elif lexeme.source == ";":
            self.begin(at + 1)

    def before(self, at: int, back: int = 1) -> str:
        """The word or mark that stands `back` places before `at` in the same statement; empty for literals."""
        place = at - back
        if place < self.start:
            return ""
        lexeme = self._found[place]
        return lexeme.value if lexeme.kind in (Kind.WORD, Kind.MARK) else ""

    def source(self, at: int) -> str:
        """What stands at `at`; empty behind the end."""
        return self._found[at].source if at < len(self._found) else ""

    def word(self, number: int) -> str:
        """The statement's word by its number, from 0."""
        place = self.start + number
        return self._found[place].value if place < len(self._found) else ""

    def in_place_of_table(self, at: int) -> bool:
        """True for a string where a table could stand: `FROM 'sales.csv'`, but not `TRIM(BOTH 'x' FROM 'y')`."""
        level = self.level
        if not level.query or level.clause not in ("FROM", "USING"):
            return False
        before = self.before(at)
        return before in ("JOIN", "USING", ",") or (before == "FROM" and self.before(at, 2) not in ("DISTINCT", "NOT"))

    def is_alias(self, at: int) -> bool:
        """True for a string after AS in a query."""
        return self.before(at) == "AS" and self.level.query and self.level.clause in ("SELECT", "FROM")

    def picks_columns(self, at: int) -> bool:
        """True for a pattern of column names: `COLUMNS('a.*')`, `* ILIKE 'a%'`."""
        before = self.before(at)
        if any(level.opener == "COLUMNS" for level in self.levels[-2:]):
            return before in ("(", *_MATCHING)
        return before in ("LIKE", "ILIKE") and self.before(at, 2) == "*"

    def names_pivot_column(self, at: int) -> bool:
        """True for a value in a pivot's list that becomes a column's name; with an alias, that is the name."""
        if len(self.levels) < 2 or self.level.opener != "IN" or self.source(at + 1) not in (",", ")"):
            return False
        return self.levels[-2].opener == "PIVOT" or self.levels[-2].pivots

    def in_table_name(self, at: int) -> bool:
        """True for the figures in `my-project-123.dataset.t`."""
        if len(self.source(at)) > _LONGEST_PROJECT_NUMBER:
            return False
        first = at
        while first > max(self.start, at - _LONGEST_NAME) and self._found[first].glued:
            if self._found[first - 1].source in ("(", ","):
                break
            first -= 1
        if first == at or self._found[first].kind is not Kind.WORD:
            return False
        before = self.before(first)
        return before in _NAME_BEFORE or (before == "," and self.level.query and self.level.clause == "FROM")

    def is_mistaken(self, at: int) -> bool:
        """True for a name in double quotes that is compared and looks like a value: `WHERE name = "Jane Doe"`."""
        if self.source(at + 1) in (".", "("):
            return False
        clause = next((level.clause for level in self.levels[:-3:-1] if level.clause), "")
        if clause not in _COMPARED_IN or self.before(at) not in _COMPARING:
            return False
        words = (self._found[i].value.upper() for i in range(max(at - 3, self.start), at))
        return " " in self._found[at].value or any(_SECRET.search(w) for w in words)

    def code_language(self) -> str:
        """The language of the procedure that the statement makes; empty if it makes none."""
        if self._code is None:
            words: list[str] = []
            for i in range(self.start, len(self._found)):
                if self._found[i].source == ";":
                    break
                words.append(self._found[i].value if self._found[i].kind is Kind.WORD else "")
            language = words[words.index("LANGUAGE") + 1] if "LANGUAGE" in words[:-1] else "SQL"
            self._code = language if words[:1] == ["CREATE"] and "PROCEDURE" in words[1:6] else ""
        return self._code
