from .corpora import check_corpora as check_corpora
from .problem import Problem as Problem
from .problem import has_errors as has_errors
from .problem import sort_problems as sort_problems
from .schedule import check_schedule as check_schedule

__all__ = ["Problem", "check_corpora", "check_schedule", "has_errors", "sort_problems"]
