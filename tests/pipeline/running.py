"""Running a configuration in tests."""

from __future__ import annotations

from typing import Any

from neuronspec.config.schema import Config
from neuronspec.pipeline.engine import Stage
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.plan import execute_stages, plan_stages
from neuronspec.pipeline.run import Run


def run(config: Config, **options: Any) -> Layout:
    return execute_stages(Run(config), **options)


def stages_of(config: Config) -> list[Stage]:
    return plan_stages(Run(config))
