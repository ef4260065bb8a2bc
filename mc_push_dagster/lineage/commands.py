"""Statements that sqlglot does not parse but that move data or names, read from their tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import Token, TokenType

from mc_push_dagster.lineage.names import Name
from mc_push_dagster.lineage.reader import Reader
from mc_push_dagster.lineage.steps import Flow, Rename, Step, Transaction, Use
from mc_push_dagster.lineage.writes import flow


def is_command(tokens: Sequence[Token]) -> bool:
    """True for what sqlglot fails on instead of leaving it as text."""
    return bool(tokens) and tokens[0].text.upper() in ("RENAME", "EXEC", "END", "SET", "APPLY", "AUTO")


def command_steps(tokens: Sequence[Token], reader: Reader) -> Iterator[Step]:
    """What an `ALTER TABLE` or `CREATE STREAM` that sqlglot leaves as text does; nothing for anything else."""
    words = [t.text.upper() for t in tokens]
    if words[:2] == ["ALTER", "TABLE"]:
        yield from _alter(tokens, words, reader)
    elif words[:1] == ["CREATE"] and "STREAM" in words[:4] and "ON" in words:
        yield from _stream(tokens, words, reader)
    elif words[:2] == ["SET", "SEARCH_PATH"] and len(tokens) > 3:
        # PostgreSQL, Redshift: the first schema of the path is where new tables go.
        yield Use(schema=tokens[3].text)
    elif words[:3] in (["APPLY", "CHANGES", "INTO"], ["AUTO", "CDC", "INTO"]):
        yield from _change_feed(tokens, words, reader)
    elif words[:1] == ["END"]:
        yield Transaction.COMMIT
    elif words[:2] == ["RENAME", "TABLE"]:
        yield from _renames(tokens, words, reader)
    elif words[:1] in (["EXEC"], ["EXECUTE"]) and words[1:2] == ["SP_RENAME"] and len(tokens) > 4:
        old, new = (tuple(tokens[i].text.split(".")) for i in (2, 4))
        name = reader.locate(old).name
        yield Rename(old=name, new=(*name[:-1], new[-1]))


def _alter(tokens: Sequence[Token], words: Sequence[str], reader: Reader) -> Iterator[Step]:
    target, after = name_at(tokens, 2, reader)
    if not target:
        return
    marks = {
        # Hive: the partition's data moves from the second table into the first.
        ("EXCHANGE", "PARTITION"): ("WITH", "TABLE"),
        # Redshift: rows move.
        ("APPEND", "FROM"): ("APPEND", "FROM"),
        # PostgreSQL: the attached table's rows become the parent's.
        ("ATTACH", "PARTITION"): ("ATTACH", "PARTITION"),
    }
    for (first, second), start in marks.items():
        if list(words[after : after + 2]) == [first, second]:
            at = next((i for i in range(after, len(words) - 1) if tuple(words[i : i + 2]) == start), None)
            source, _ = name_at(tokens, at + 2, reader) if at is not None else ((), 0)
            if source:
                yield whole_table(reader, source, target)


def _change_feed(tokens: Sequence[Token], words: Sequence[str], reader: Reader) -> Iterator[Step]:
    """Databricks pipelines: `APPLY CHANGES INTO t FROM STREAM(s) KEYS (id) ...`, or STREAM without parentheses."""
    target, after = name_at(tokens, 3, reader)
    if words[after : after + 1] != ["FROM"]:
        return
    start = after + 1 + (words[after + 1 : after + 2] == ["STREAM"])
    source, _ = name_at(tokens, start + (words[start : start + 1] == ["("]), reader)
    if target and source:
        yield whole_table(reader, source, target)


def _renames(tokens: Sequence[Token], words: Sequence[str], reader: Reader) -> Iterator[Step]:
    """`RENAME TABLE a TO b, c TO d`."""
    at = 2
    while at < len(words):
        old, at = name_at(tokens, at, reader)
        if not old or words[at : at + 1] != ["TO"]:
            return
        new, at = name_at(tokens, at + 1, reader)
        if new:
            yield Rename(old=reader.locate(old).name, new=reader.locate(new).name)
        at += 1


def _stream(tokens: Sequence[Token], words: Sequence[str], reader: Reader) -> Iterator[Step]:
    name, _ = name_at(tokens, words.index("STREAM") + 1, reader)
    at = words.index("ON")
    source, _ = name_at(tokens, at + 2, reader)
    if name and source and words[at + 1] in ("TABLE", "VIEW"):
        yield whole_table(reader, source, name)


def whole_table(reader: Reader, source: Name, target: Name) -> Flow:
    """All columns flow, each into the one of its name."""
    table = reader.read(source)
    return flow(reader, reader.locate(target).name, [(o, o.name) for o in table.outputs()])


def name_at(tokens: Sequence[Token], index: int, reader: Reader) -> tuple[Name, int]:
    """The dotted name that starts at `index`, in the dialect's case, and the index after it."""
    parts: list[str] = []
    while index < len(tokens) and tokens[index].text.upper() in ("IF", "NOT", "EXISTS", "ONLY", "TABLE"):
        index += 1
    while index < len(tokens):
        token = tokens[index]
        if token.token_type in (TokenType.STRING, TokenType.NUMBER, TokenType.L_PAREN) or not token.text:
            break
        parts += [reader.rules.fold(token.text, quoted=token.token_type is TokenType.IDENTIFIER)]
        index += 1
        if index >= len(tokens) or tokens[index].token_type is not TokenType.DOT:
            break
        index += 1
    return tuple(p for part in parts for p in part.split(".")), index
