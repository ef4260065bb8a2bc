"""Scripts: procedures, blocks and dynamic SQL, cut down to the statements in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from sqlglot import Token, TokenType
from sqlglot.dialects.dialect import Dialect

from mc_push_dagster.lineage.tokens import split

_STARTERS = frozenset(
    {
        *("SELECT", "WITH", "INSERT", "UPDATE", "MERGE", "DELETE", "REPLACE", "UPSERT", "TRUNCATE", "COPY", "UNLOAD"),
        *("CREATE", "DROP", "ALTER", "USE", "FROM", "CACHE", "EXPORT", "EXECUTE", "EXEC"),
        *("BEGIN", "IF", "WHILE", "FOR", "LOOP", "DECLARE"),
    }
)
_IDLE = frozenset(
    {
        *("OPTIMIZE", "VACUUM", "REFRESH", "ANALYZE", "ANALYSE", "MSCK", "REINDEX", "CHECKPOINT", "UNCACHE", "KILL"),
        *(
            "GRANT",
            "REVOKE",
            "COMMENT",
            "LIST",
            "LS",
            "PUT",
            "GET",
            "REMOVE",
            "RM",
            "ADD",
            "PRAGMA",
            "ATTACH",
            "DETACH",
        ),
        *("INSTALL", "LOAD", "LOCK", "UNLOCK", "RESET", "FETCH", "CLOSE", "OPEN", "SUMMARIZE", "ASSERT", "ABORT"),
    }
)
"""Statements that begin so move no data between tables."""
_BLOCK_ENDS = ("THEN", "DO", "LOOP", "BEGIN", "ELSE", "REPEAT")
_MADE_BY = ("DECLARE", "LET", "SET", "FOR")
_CONTROL = frozenset(
    {
        *("BEGIN", "IF", "ELSEIF", "ELSIF", "ELSE", "WHILE", "FOR", "LOOP", "REPEAT", "DO"),
        *("EXCEPTION", "WHEN", "DECLARE", "END", "CASE"),
    }
)
_STRINGS = frozenset({TokenType.STRING, TokenType.RAW_STRING, TokenType.HEREDOC_STRING, TokenType.NATIONAL_STRING})
_CODE = ("SQL", "PLPGSQL")


@dataclass(slots=True)
class Piece:
    """One statement of a script: its tokens with the text they index, or what else it says about the script."""

    tokens: list[Token]
    text: str
    variables: tuple[str, ...] = ()


def pieces(text: str, dialect: Dialect, *, nested: int = 0) -> Iterator[Piece]:
    """The statements in `text`, those in procedures, blocks and EXECUTE IMMEDIATE among them.

    Raises:
        sqlglot.errors.TokenError: if the text is no token stream of the dialect.
    """
    yield from _unwrapped(list(split(dialect.tokenize(text))), text, dialect, nested)


def _unwrapped(chunks: list[list[Token]], source: str, dialect: Dialect, nested: int) -> Iterator[Piece]:
    for raw in chunks:
        chunk, text = _retokenized(raw, source, dialect)
        inner = _code_in(chunk, nested)
        if inner is not None:
            yield from pieces(inner, dialect, nested=nested + 1)
            continue
        declared = _declared(chunk)
        if declared:
            yield Piece([], text, declared)
        chunk = _body(chunk)
        if chunk:
            inner = _code_in(chunk, nested)
            if inner is not None:
                yield from pieces(inner, dialect, nested=nested + 1)
            else:
                yield Piece(_plain(chunk), text)


def _retokenized(chunk: list[Token], text: str, dialect: Dialect) -> tuple[list[Token], str]:
    """sqlglot leaves what follows EXECUTE, UNLOAD or RENAME as one string: take it apart after all."""
    commands = dialect.tokenizer_class.COMMANDS
    for i, token in enumerate(chunk[:-1]):
        rest = chunk[i + 1]
        if token.token_type in commands and rest.token_type is TokenType.STRING and i + 2 == len(chunk):
            inner = list(dialect.tokenize(f"; {rest.text}"))[1:]
            return [*chunk[: i + 1], *inner], f"; {rest.text}"
    return chunk, text


def _word(chunk: list[Token], index: int) -> str:
    return chunk[index].text.upper() if index < len(chunk) else ""


def _code_in(chunk: list[Token], nested: int) -> str | None:
    """SQL that stands in a string: EXECUTE IMMEDIATE '...', UNLOAD ('...'), the body of a procedure, DO $$...$$."""
    first, second = _word(chunk, 0), _word(chunk, 1)
    if nested > 3:
        return None
    if first in ("EXECUTE", "EXEC") and (second == "IMMEDIATE" or (chunk[1:2] and chunk[1].token_type in _STRINGS)):
        return _joined(chunk[2 if second == "IMMEDIATE" else 1 :])
    if first == "UNLOAD":
        return _joined(chunk[2:] if second == "(" else chunk[1:])
    if first == "DO" and len(chunk) > 1:
        return next((t.text for t in chunk[1:] if t.token_type in _STRINGS), None)
    if first == "CREATE" and "PROCEDURE" in (second, _word(chunk, 3)):
        words = [t.text.upper() for t in chunk]
        language = words[words.index("LANGUAGE") + 1] if "LANGUAGE" in words[:-1] else "SQL"
        body = [t for i, t in enumerate(chunk) if t.token_type in _STRINGS and words[i - 1] == "AS"]
        return body[0].text if body and language in _CODE else None
    return None


def _joined(chunk: list[Token]) -> str | None:
    """A string, or strings put together with `||`; None where a variable is among them."""
    parts: list[str] = []
    for token in chunk:
        if token.token_type in _STRINGS:
            parts.append(token.text)
        elif token.token_type is not TokenType.DPIPE:
            break
    return "".join(parts) or None


def _declared(chunk: list[Token]) -> tuple[str, ...]:
    """Names of variables that a DECLARE or LET makes."""
    if _word(chunk, 0) not in _MADE_BY:
        return ()
    names = [chunk[1].text.lower()] if len(chunk) > 1 else []
    for before, token in pairwise(chunk[1:]):
        if before.token_type is not TokenType.COMMA or _word(chunk, 0) != "DECLARE":
            break
        names.append(token.text.lower())
    return tuple(names)


def _body(chunk: list[Token]) -> list[Token]:
    """What is left of a run of tokens after control words: the statement inside, or nothing."""
    while chunk:
        first = _word(chunk, 0)
        if first == "CREATE" and _defines_code(chunk):
            chunk = _after(chunk, ("BEGIN",)) or _after(chunk, ("AS",))
        elif first == "BEGIN" and len(chunk) > 1 and _word(chunk, 1) not in ("TRANSACTION", "WORK", "TRAN"):
            chunk = chunk[1:]
        elif first == "BEGIN" or (first == "END" and _word(chunk, 1) in ("", "TRANSACTION", "WORK")):
            return chunk
        elif first in _CONTROL:
            chunk = _after(chunk, _BLOCK_ENDS)
        elif first == "SET" and _word(chunk, 1) == "SEARCH_PATH":
            return chunk
        elif first in _IDLE or first in ("LET", "SET", "RETURN", "CALL", "EXPLAIN", "DESCRIBE", "DESC", "SHOW"):
            return []
        elif len(chunk) > 2 and chunk[1].token_type is TokenType.COLON and _word(chunk, 2) in _STARTERS | _CONTROL:
            chunk = chunk[2:]  # label: LOOP
        else:
            return chunk
    return []


def _defines_code(chunk: list[Token]) -> bool:
    words = {_word(chunk, i) for i in (1, 3)}
    return bool(words & {"PROCEDURE", "TASK"})


def _after(chunk: list[Token], words: tuple[str, ...]) -> list[Token]:
    """The tokens from the first statement that follows one of `words` outside parentheses."""
    level = 0
    for i, token in enumerate(chunk):
        if token.token_type is TokenType.L_PAREN:
            level += 1
        elif token.token_type is TokenType.R_PAREN:
            level -= 1
        elif level == 0 and token.text.upper() in words and _word(chunk, i + 1) in _STARTERS:
            return chunk[i + 1 :]
    return []


def _plain(chunk: list[Token]) -> list[Token]:
    """The same statement in words that sqlglot knows."""
    chunk = _without_format(_with_table_queries(chunk))
    words = [t.text.upper() for t in chunk[:4]]
    if words == ["MERGE", "WITH", "SCHEMA", "EVOLUTION"]:
        return [chunk[0], *chunk[4:]]
    if words[:1] == ["REPLACE"] and words[1:2] in (["VIEW"], ["TABLE"]):
        # Teradata's and Spark's short form.
        return [
            _token(TokenType.CREATE, "CREATE", chunk[0]),
            _token(TokenType.OR, "OR", chunk[0]),
            _token(TokenType.REPLACE, "REPLACE", chunk[0]),
            *chunk[1:],
        ]
    if words[:2] == ["REPLACE", "INTO"]:
        return [_token(TokenType.INSERT, "INSERT", chunk[0]), *chunk[1:]]
    if words[:1] == ["MERGE"] and [t.text.upper() for t in chunk[-2:]] == ["REMOVE", "DUPLICATES"]:
        return [*chunk[:-2], *(_token(kind, text, chunk[-1]) for kind, text in _UPSERT)]
    if words[:1] != ["CREATE"]:
        return chunk
    for i in range(1, min(len(chunk), 6)):
        if _word(chunk, i) in ("TABLE", "VIEW"):
            # Words that change nothing for lineage.
            drop = {j for j in range(1, i) if _word(chunk, j) in ("SNAPSHOT", "STREAMING", "LIVE", "HYBRID")}
            return [t for j, t in enumerate(chunk) if j not in drop] if drop else chunk
    return chunk


_UPSERT = (
    (TokenType.WHEN, "WHEN"),
    (TokenType.VAR, "MATCHED"),
    (TokenType.THEN, "THEN"),
    (TokenType.UPDATE, "UPDATE"),
    (TokenType.SET, "SET"),
    (TokenType.STAR, "*"),
)
"""What Redshift's REMOVE DUPLICATES comes to."""


def _token(kind: TokenType, text: str, at: Token) -> Token:
    return Token(kind, text, at.line, at.col, at.start, at.start)


def _without_format(chunk: list[Token]) -> list[Token]:
    """`INSERT OVERWRITE DIRECTORY 'd' USING csv OPTIONS (...) SELECT` without what is said of the files (Spark)."""
    at = 4 if _word(chunk, 2) == "LOCAL" else 3
    if _word(chunk, 0) != "INSERT" or _word(chunk, at - 1) != "DIRECTORY":
        return chunk
    start = at + 1 if chunk[at : at + 1] and chunk[at].token_type in _STRINGS else at
    query = next((i for i in range(start, len(chunk)) if _word(chunk, i) in ("SELECT", "WITH", "FROM")), None)
    if _word(chunk, start) not in ("USING", "OPTIONS") or query is None:
        return chunk
    head = chunk[:start] if start > at else [*chunk[:start], _token(TokenType.STRING, "", chunk[at])]
    return [*head, *chunk[query:]]


def _with_table_argument(chunk: list[Token], at: int) -> list[Token]:
    """`f(TABLE t)` written as `f((SELECT * FROM t))`."""
    token = chunk[at]
    end = at + 1
    while _word(chunk, end) not in (")", ",", ""):
        end += 1
    head = [
        (TokenType.L_PAREN, "("),
        (TokenType.SELECT, "SELECT"),
        (TokenType.STAR, "*"),
        (TokenType.FROM, "FROM"),
    ]
    query = [_token(kind, text, token) for kind, text in head]
    return [*chunk[:at], *query, *chunk[at + 1 : end], _token(TokenType.R_PAREN, ")", token), *chunk[end:]]


def _with_table_queries(chunk: list[Token]) -> list[Token]:
    """`TABLE t` in the place of a query, written as `SELECT * FROM t`."""
    if _word(chunk, 0) not in ("INSERT", "CREATE", "TABLE", "WITH", "SELECT", "MERGE", "FROM"):
        return chunk
    for i, token in enumerate(chunk):
        if token.token_type is not TokenType.TABLE or _word(chunk, i + 1) in ("(", ""):
            continue
        before = _word(chunk, i - 1) if i else ""
        if before in ("(", ","):
            # BigQuery: a table as a function's argument.
            return _with_table_queries(_with_table_argument(chunk, i))
        inserted = _word(chunk, 0) == "INSERT" and i > 2 and before not in ("INTO", "OVERWRITE")
        if before == "AS" or i == 0 or inserted:
            star = [(TokenType.SELECT, "SELECT"), (TokenType.STAR, "*"), (TokenType.FROM, "FROM")]
            query = [_token(kind, text, token) for kind, text in star]
            return [*chunk[:i], *query, *chunk[i + 1 :]]
    return chunk
