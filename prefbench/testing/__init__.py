"""What a plugin's own tests are written with: contracts that every component of a kind keeps, and worked pairs.

Subclass a contract, name the class, and pytest runs every check; so does ``prefbench check NAME``::

    from prefbench.testing import ObjectiveContract

    class TestMyLoss(ObjectiveContract):
        component = MyLoss
        variants = ({}, {"beta": 0.5})
        worked = (Worked({"beta": 0.1}, [0.620957, 0.765595, 0.683197, 0.455492]),)
"""

from prefbench.testing.batches import Worked, worked_pairs
from prefbench.testing.column import ColumnContract
from prefbench.testing.contract import ContractError
from prefbench.testing.judge import JudgeContract
from prefbench.testing.objective import ObjectiveContract
from prefbench.testing.scheduler import SchedulerContract

__all__ = ["ColumnContract", "ContractError", "JudgeContract", "ObjectiveContract", "SchedulerContract", "Worked", "worked_pairs"]
