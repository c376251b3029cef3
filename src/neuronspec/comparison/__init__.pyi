from .all_tables import name_table as name_table
from .all_tables import tabulate_all as tabulate_all
from .all_tables import tabulate_tests as tabulate_tests
from .averages import tabulate_averages as tabulate_averages
from .cells import Cell as Cell
from .differences import SystemComparison as SystemComparison
from .fair_comparison import compare as compare
from .outcomes import Outcomes as Outcomes
from .outcomes import count_outcomes as count_outcomes
from .paper_tables import tabulate_interference as tabulate_interference
from .paper_tables import tabulate_models as tabulate_models
from .side_by_side import SideBySide as SideBySide
from .side_by_side import lay_side_by_side as lay_side_by_side
from .study import Cost as Cost
from .study import Study as Study
from .study import compare_study as compare_study
from .study import make_study as make_study
from .tables import TABLE_FORMATS as TABLE_FORMATS
from .tables import Table as Table
from .tables import TableFormat as TableFormat
from .tables import write_tables as write_tables

__all__ = [
    "TABLE_FORMATS",
    "Cell",
    "Cost",
    "Outcomes",
    "SideBySide",
    "Study",
    "SystemComparison",
    "Table",
    "TableFormat",
    "compare",
    "compare_study",
    "count_outcomes",
    "lay_side_by_side",
    "make_study",
    "name_table",
    "tabulate_all",
    "tabulate_averages",
    "tabulate_interference",
    "tabulate_models",
    "tabulate_tests",
    "write_tables",
]
