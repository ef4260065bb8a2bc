"""Text to steps: tokenise, cut a script apart, parse each statement within a budget, resolve it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError

from mc_push_dagster.lineage.budget import Budget, Clock, OverBudget
from mc_push_dagster.lineage.commands import command_steps, is_command
from mc_push_dagster.lineage.lookup import Lookup, Overlay
from mc_push_dagster.lineage.names import Name, rules_of
from mc_push_dagster.lineage.naming import Texts
from mc_push_dagster.lineage.parsing import parse
from mc_push_dagster.lineage.reader import Reader
from mc_push_dagster.lineage.recreate import recreated
from mc_push_dagster.lineage.scan import scanned
from mc_push_dagster.lineage.script import Piece, pieces
from mc_push_dagster.lineage.session import Session
from mc_push_dagster.lineage.steps import Step, Use
from mc_push_dagster.lineage.tokens import depth, plain_structs, shortened
from mc_push_dagster.lineage.writes import steps_of

BUGS = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What a mistake of ours or of the parser raises on SQL nobody thought of: it costs that statement, not the log."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the statements of one text do, in order, and what could not be used, by reason."""

    steps: tuple[Step, ...]
    skipped: tuple[str, ...] = ()
    literal: bool = False
    """True if a constant in the text decides a name: the result does not hold for other constants."""


class Analyzer:
    """Turns text of one dialect into steps. Keeps no state between texts."""

    def __init__(self, dialect: str | None, lookup: Lookup, *, budget: Budget | None = None) -> None:
        self.rules = rules_of(dialect)
        self.lookup = lookup
        self.budget = budget or Budget()
        self.dialect = Dialect.get_or_raise(self.rules.sqlglot or None)

    def analyze(
        self,
        text: str,
        *,
        database: str | None = None,
        schema: str | None = None,
        view: Name | None = None,
        known: Mapping[Name, Sequence[str] | None] | None = None,
    ) -> Analysis:
        """The steps of a text; `known` are tables that its session made. Never raises for what the text is."""
        session: Session[None] = Session()
        made = dict(known or {})
        clock = self.budget.start()
        steps: list[Step] = []
        skipped: list[str] = []
        if len(text) > self.budget.characters:
            return Analysis((), ("too long",))
        literal = False
        variables: set[str] = set()
        try:
            with clock:
                for piece in pieces(text.lstrip("\ufeff").replace("\0", " "), self.dialect):
                    variables.update(piece.variables)
                    if not piece.tokens:
                        continue
                    own = made | session.known_columns
                    lookup = Overlay(self.lookup, own) if own else self.lookup
                    reader = Reader(lookup, self.rules, database=database, schema=schema, tick=clock.tick)
                    reader.variables = variables
                    found, reason, named = self._piece(piece, reader, clock, view)
                    literal |= named
                    steps += found
                    if reason:
                        skipped.append(reason)
                    for step in found:
                        session.feed(step, None)
                        if isinstance(step, Use):
                            database, schema = step.database or database, step.schema or schema
        except OverBudget as over:
            skipped.append(over.reason)
        except (SqlglotError, RecursionError):
            skipped.append("not parsed")
        except BUGS as bug:
            skipped.append(f"internal error: {type(bug).__name__}")
        return Analysis(tuple(steps), tuple(skipped), literal)

    def _piece(
        self, piece: Piece, reader: Reader, clock: Clock, view: Name | None
    ) -> tuple[list[Step], str | None, bool]:
        """The steps of one statement, why they are less than could be, and whether a constant names a column."""
        tokens = shortened(piece.tokens)
        if self.rules.struct_is_function:
            tokens = plain_structs(tokens)
        texts = Texts(tokens, piece.text, self.rules)
        reader.text_of = texts.of
        try:
            if len(tokens) > self.budget.tokens:
                return list(scanned(tokens, reader, view)), "tables only: too long", False
            if depth(tokens) > self.budget.depth:
                return list(scanned(tokens, reader, view)), "tables only: nested too deep", False
            if is_command(tokens):
                return list(command_steps(tokens, reader)), None, False
            steps: list[Step] = []
            for tree in parse(tokens, piece.text, self.dialect, clock.tick):
                if isinstance(tree, exp.Command):
                    steps += list(command_steps(tokens, reader)) or recreated(
                        tokens, reader, lambda part: parse(part, piece.text, self.dialect, clock.tick)
                    )
                elif tree is not None:
                    texts.made = view is not None or isinstance(tree, (exp.Create, exp.Cache))
                    texts.bare = not texts.made and isinstance(tree, exp.Query)
                    steps += steps_of(tree, reader, view)
            return steps, None, texts.literal
        except OverBudget as over:
            clock.extend()
            return list(scanned(tokens, reader, view)), f"tables only: {over.reason}", False
        except (SqlglotError, RecursionError):
            found: list[Step] = list(scanned(tokens, reader, view))
            return found, "tables only: not parsed" if found else "not parsed", False
        except BUGS as bug:
            reason = f"tables only: internal error: {type(bug).__name__}"
            return list(scanned(tokens, reader, view)), reason, False
