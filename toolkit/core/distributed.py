"""Several processes at one task, as `torchrun` starts them, on one machine or several."""

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from ntire_sr.core.errors import Failure

if TYPE_CHECKING:  # torch takes seconds to import, and one process alone needs nothing of it here
    from torch import Tensor, nn

Value = TypeVar("Value")


def rank_and_world_size() -> tuple[int, int]:
    """The number of this process, from 0, and how many there are: (0, 1) unless `torchrun` started it."""
    # some job systems set WORLD_SIZE for programs of their own; torchrun says where to meet, too
    if "MASTER_ADDR" not in os.environ or "RANK" not in os.environ:
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ.get("WORLD_SIZE", 1))


class ProcessGroup:
    """This process among those of the task; one alone unless `torchrun` started it.

    >>> alone = ProcessGroup()
    >>> alone.rank, alone.world_size, alone.shard([1, 2, 3])
    (0, 1, [1, 2, 3])
    """

    def __init__(self) -> None:
        self.rank, self.world_size = rank_and_world_size()
        if self.world_size > 1:
            import torch

            if not torch.distributed.is_initialized():
                gpus = torch.cuda.is_available() and torch.distributed.is_nccl_available()
                torch.distributed.init_process_group(
                    "cpu:gloo,cuda:nccl" if gpus else "gloo",
                    timeout=timedelta(days=2),  # the slowest process may be hours behind the first
                )

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def shard(self, items: list[Value]) -> list[Value]:
        """This process's part of a list that all of them hold."""
        return items[self.rank :: self.world_size]

    def broadcast_from_main(self, make: Callable[[], Value]) -> Value:
        """What `make` returns in the first process, in all of them.

        Raises:
            Failure: it failed there; the first process raises what was raised, the others say so briefly.
        """
        if self.world_size == 1:
            return make()
        import torch.distributed

        box: list[Any] = [None, None]
        raised: Exception | None = None
        if self.is_main:
            try:
                box[0] = make()
            except Exception as error:  # whatever it is, the others must not wait for ever
                raised = error
                box[1] = str(error).splitlines()[0] if str(error) else type(error).__name__
        torch.distributed.broadcast_object_list(box, src=0)
        if raised:
            raise raised
        if box[1] is not None:
            raise Failure(f"process {self.rank} stops, since the first one failed: {box[1]}")
        return box[0]

    def on_main(self, make: Callable[[], Value]) -> Value | None:
        """What `make` returns, in the main process alone; None in the others, which wait for it.

        Raises:
            Failure: as in `broadcast_from_main`.
        """
        made: list[Value] = []
        self.broadcast_from_main(lambda: made.append(make()))
        return made[0] if made else None

    def all_gather(self, value: Value) -> list[Value]:
        """The values of all processes, once all are here."""
        if self.world_size == 1:
            return [value]
        import torch.distributed

        values: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(values, value)
        return values

    def wrap_ddp(self, module: "nn.Module") -> "nn.Module":
        """The module, whose gradients become the mean over all processes while they are computed.

        With losses that are means over equally many crops, that is the gradient of the whole batch. Its
        buffers must not depend on the crops.
        """
        if self.world_size == 1:
            return module
        from torch.nn.parallel import DistributedDataParallel

        # Without find_unused_parameters gradients are laid out anew after the first step, and three or more
        # numbers are then summed in another order: a run that goes on would not be the same to the bit.
        return DistributedDataParallel(
            module, broadcast_buffers=False, gradient_as_bucket_view=True, find_unused_parameters=True
        )

    def all_reduce_sum(self, numbers: "Tensor") -> "Tensor":
        """The sum over all processes of a tensor, (any shape); a new one."""
        if self.world_size == 1:
            return numbers
        import torch.distributed

        summed = numbers.clone()
        torch.distributed.all_reduce(summed)
        return summed

    def all_reduce_mean(self, terms: "Mapping[str, Tensor]") -> dict[str, float]:
        """Scalars of this process, by name, as numbers: their means over all processes. Waits for the
        device once."""
        import torch

        stacked = torch.stack([value.detach().float() for value in terms.values()])
        return dict(zip(terms, (self.all_reduce_sum(stacked) / self.world_size).tolist(), strict=True))

    def assert_same(self, **facts: object) -> None:
        """Make sure that all processes mean the same.

        Raises:
            Failure: they do not; what differs is named.
        """
        known = self.all_gather(facts)
        for name in facts:
            values = [str(each[name]) for each in known]
            if len(set(values)) > 1:
                listed = "; ".join(f"process {number}: {value}" for number, value in enumerate(values))
                raise Failure(
                    f"the processes differ in {name} ({listed})",
                    "give every machine the same files and settings",
                )

    def any(self, here: bool) -> bool:
        """Whether it is so in any process."""
        if self.world_size == 1:
            return here
        import torch

        return bool(self.all_reduce_sum(torch.tensor(int(here))))

    def close(self) -> None:
        """Leave the group; the last thing to do, and only where all processes do it: after an error the
        others may still be waiting for this one, until torchrun stops them."""
        if self.world_size > 1:
            import torch.distributed

            if torch.distributed.is_initialized():
                torch.distributed.barrier()  # nobody's connections close while another still uses them
                torch.distributed.destroy_process_group()
