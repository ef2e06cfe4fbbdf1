from .assignment import ASSIGNMENT_VERSION, assign
from .judge import Judge
from .observation import Observation
from .policy import Policy, WatchPolicy
from .verdict import Verdict
