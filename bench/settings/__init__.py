"""How a setting is declared, and the settings of training, of models and of encoders."""

from mcr_bench.bench.settings.declaration import Declared, Space, Value, build, declared, resolve, setting

__all__ = ["Declared", "Space", "Value", "build", "declared", "resolve", "setting"]
