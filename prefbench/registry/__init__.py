"""Every component by kind and name, whoever wrote it: plugins are loaded one at a time, and what becomes of each is a row."""

from prefbench.registry.loading import check_plugins, load_registry
from prefbench.registry.names import Registry
from prefbench.registry.offers import NAME
from prefbench.registry.options import build, option_fields, option_problems
from prefbench.registry.rows import KINDS, Kind, Origin, PluginRow
from prefbench.registry.static import list_plugins
from prefbench.registry.suggest import did_you_mean

__all__ = [
    "KINDS",
    "NAME",
    "Kind",
    "Origin",
    "PluginRow",
    "Registry",
    "build",
    "check_plugins",
    "did_you_mean",
    "list_plugins",
    "load_registry",
    "option_fields",
    "option_problems",
]
