"""What can be configured: frozen models whose defaults are the recipe, and strict YAML with ``key=value`` overrides."""

from htr_ssl.config.schema import (
    CHECKED,
    AugmentConfig,
    DataConfig,
    FinetuneConfig,
    Joint,
    PluginConfig,
    Precision,
    PretrainConfig,
    Probe,
    Pseudo,
    Scope,
    Stage,
    Strict,
    TableConfig,
    TrainConfig,
    Unit,
)

__all__ = [
    "CHECKED",
    "AugmentConfig",
    "DataConfig",
    "FinetuneConfig",
    "Joint",
    "PluginConfig",
    "Precision",
    "PretrainConfig",
    "Probe",
    "Pseudo",
    "Scope",
    "Stage",
    "Strict",
    "TableConfig",
    "TrainConfig",
    "Unit",
]
