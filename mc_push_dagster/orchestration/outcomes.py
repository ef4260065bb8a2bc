"""What an error of ours means to Dagster: stop at once, try again later, or fail with what arrived."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dagster as dg

from mc_push_dagster.errors import (
    BrokenContract,
    FixAccess,
    FixConfiguration,
    PushError,
    PushIncomplete,
    Rejected,
    TryAgain,
)
from mc_push_dagster.model import Feed


@contextmanager
def outcomes(*, max_retries: int) -> Iterator[None]:
    """Turn errors into Dagster's: no retry where a person has to act, the gateway's own delay where it named one.

    Raises:
        dagster.Failure: with one sentence, and without retries for what no retry mends.
        dagster.RetryRequested: where the gateway will take the same request later.
    """
    try:
        yield
    except (FixConfiguration, FixAccess, Rejected, BrokenContract) as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
    except PushIncomplete as error:
        raise dg.Failure(description=str(error), metadata=incomplete(error)) from error
    except TryAgain as error:
        if error.retry_after is None:
            raise dg.Failure(description=str(error)) from error
        raise dg.RetryRequested(max_retries=max_retries, seconds_to_wait=error.retry_after) from error
    except PushError as error:
        raise dg.Failure(description=str(error)) from error


def incomplete(error: PushIncomplete) -> dict[str, dg.MetadataValue]:
    """Every id that the gateway gave before the push broke off, so that none is lost."""
    return {
        "mc/push_id": dg.MetadataValue.text(error.push_id),
        "mc/invocation_ids": invocation_ids(error.invocation_ids),
    }


def invocation_ids(ids: Mapping[Feed, tuple[str, ...]]) -> dg.MetadataValue:
    return dg.MetadataValue.json({feed.value: list(of_feed) for feed, of_feed in ids.items()})
