"""What a loader asks for: the rows of every step that is left, or one process's part of them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from lightning_dna.data.length_schedule import LengthScheduleConfig
from lightning_dna.data.row_order import Truncated, plan_type
from lightning_dna.data.stream import Rows, Stretches, TokenStream
from lightning_dna.errors import ConfigError


class StepRows(NamedTuple):
    """The rows of a step, or of one process's part of it.

    Attributes:
        step: Number of the step.
        rows: The rows.
        first_token: Tokens of the step that belong to processes of lower rank.
    """

    step: int
    rows: Rows
    first_token: int = 0


class LengthWarmupBatchSampler(Sampler[list[StepRows]]):
    """Yields, for every step that is left, the step's number and its rows; the length may warm up.

    Every step has exactly ``tokens_per_step`` real tokens, whatever the row length. What a step
    holds is a pure function of the stream and the step, so the only state is the step to go on
    from.

    Of several processes each takes a run of neighbouring rows of the same step, of about the same
    number of tokens; together they are the batch that one process would have. They need not have
    as many targets, so that a mean over the step is no mean of their means.

    Args:
        stream: The windows in training order.
        schedule: How long the rows are and in which order they come.
        tokens_per_step: Real tokens of each step, of all processes together.
        total_steps: Steps of the whole training.
        final_length: Row length after the warm-up.
        rank: Number of this process, from 0.
        world_size: Number of processes.

    Raises:
        ConfigError: If a step has fewer rows than there are processes.
    """

    def __init__(
        self,
        stream: TokenStream,
        schedule: LengthScheduleConfig,
        *,
        tokens_per_step: int,
        total_steps: int,
        final_length: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.stream = stream
        self.schedule = schedule
        self.tokens_per_step = tokens_per_step
        self.total_steps = total_steps
        self.final_length = final_length
        self.start_step = 0
        self.plan = plan_type(schedule)(
            stream,
            schedule,
            tokens_per_step=tokens_per_step,
            total_steps=total_steps,
            final_length=final_length,
        )
        self.share(rank, world_size)

    def share(self, rank: int, world_size: int) -> None:
        """Take one process's part of every step."""
        if not 0 <= rank < world_size:
            raise ConfigError(
                f"rank is {rank} of {world_size} processes; allowed: 0 to {world_size - 1}."
            )
        if world_size > 1 and self.tokens_per_step < world_size * self.final_length:
            raise ConfigError(
                f"budget.tokens_per_step is {self.tokens_per_step}, less than one window of"
                f" {self.final_length} bases for each of {world_size} processes; raise it to"
                f" {world_size * self.final_length} or more, or use fewer devices."
            )
        self.rank, self.world_size = rank, world_size

    @property
    def dropped_tokens(self) -> int:
        """Bases that truncation leaves out in the whole run; 0 without it."""
        return self.plan.dropped_tokens if isinstance(self.plan, Truncated) else 0

    def rows(self, step: int) -> Rows:
        """Return the rows of one step, or of this process's part."""
        return self[step].rows

    def __getitem__(self, step: int) -> StepRows:
        """Return what this process reads in one step."""
        stretches = self.plan.stretches(step)
        if self.world_size == 1:
            return StepRows(step, self.stream.at(stretches))
        part, first_token = self._part(stretches)
        return StepRows(step, self.stream.at(part), first_token)

    def _part(self, stretches: Stretches) -> tuple[Stretches, int]:
        """Return the rows that begin within this process's share of the tokens."""
        starts = np.cumsum(stretches.size) - stretches.size
        bounds = np.array([self.rank, self.rank + 1]) * self.tokens_per_step
        a, b = np.searchsorted(starts * self.world_size, bounds).tolist()
        return stretches.take(slice(a, b)), int(starts[a])

    def __iter__(self) -> Iterator[list[StepRows]]:
        """Yield one-element lists, so that a loader takes each for a whole batch."""
        for step in range(self.start_step, self.total_steps):
            yield [self[step]]

    def state_dict(self) -> dict[str, int]:
        """Return the step to go on from."""
        return {"start_step": self.start_step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a saved step."""
        self.start_step = int(state["start_step"])
