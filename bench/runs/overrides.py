"""The `--set` settings of a run in one text, `KEY=VALUE KEY=VALUE`: taken apart, and named shortly for tables."""

import re
from collections.abc import Collection
from pathlib import Path

NETS = ("kind", "fusion")  # the last parts of keys whose value may be a file or module of a net, and its class
BETWEEN = re.compile(r" +(?=[\w.-]+=)")  # a value may hold spaces, as the path of a file may


def settings_in(overrides: str) -> list[str]:
    """The settings, one text each.

    >>> settings_in("epochs=5 encoder.audio.kind=/my nets/net.py:Net")
    ['epochs=5', 'encoder.audio.kind=/my nets/net.py:Net']
    """
    return BETWEEN.split(overrides) if overrides else []


def bears_on(key: str, modalities: Collection[str]) -> bool:
    """Whether a setting bears on a run of these modalities: `encoder.MODALITY.KEY` does on those with the modality.

    >>> bears_on("encoder.audio.width", ["video"]), bears_on("encoder.width", ["video"])
    (False, True)
    """
    return not key.startswith("encoder.") or key.count(".") == 1 or key.split(".")[1] in modalities


def named(setting: str) -> str:
    """A setting for titles and labels: a net of one's own by its class, or by its file where it has no class.

    >>> named("encoder.audio.kind=/my nets/net.py:Net"), named("model.fusion=./head.py"), named("epochs=5")
    ('encoder.audio.kind=Net', 'model.fusion=head', 'epochs=5')
    """
    key, _, value = setting.partition("=")
    if key.rpartition(".")[2] not in NETS:
        return setting
    place, colon, name = value.rpartition(":")
    if colon and place and name.isidentifier():
        return f"{key}={name}"
    return f"{key}={Path(value).stem}" if value.endswith(".py") else setting


def named_label(label: str) -> str:
    """A label `METHOD [SETTINGS]` with every setting as `named` has it.

    >>> named_label("joint [epochs=5 encoder.audio.kind=lab.nets:Net]"), named_label("unimodal (audio)")
    ('joint [epochs=5 encoder.audio.kind=Net]', 'unimodal (audio)')
    """
    method, bracket, rest = label.partition(" [")
    if not bracket:
        return label
    return f"{method} [{' '.join(map(named, settings_in(rest.removesuffix(']'))))}]"
