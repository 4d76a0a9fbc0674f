"""Whether the plugins of a run are those that it was made with: no knob tells, so no run id does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mixbench.config import plugins
from mixbench.machine.output import printable
from mixbench.schema.train import Train


def other_code(config: Train, then: Mapping[str, str]) -> list[str]:
    """What to say of each plugin with an option of the run whose code is not that of `then`; mostly nothing.

    `then` is as in `changed`.
    """
    used = {group: plugins.options(group).get(getattr(config, group).name) for group in plugins.GROUPS}
    names = dict.fromkeys(option.plugin for option in used.values() if option is not None)
    advice = "force=true trains it anew, and keeps the old directory under another name"
    return [f"{words}; {advice}" for words in changed(names, then)]


def changed(names: Iterable[str], then: Mapping[str, str]) -> list[str]:
    """Words for each of the loaded plugins `names` whose code is not that of `then`.

    `then` has the version, or the checksum of the files, of each plugin that was loaded when the run was made, as
    env.json has it. A file that was renamed or copied has the same code.
    """
    now, words = plugins.versions(), []
    for name in names:
        if then.get(name) == now[name] or (name not in then and now[name] in then.values()):
            continue
        gone = [name] if name in then else [other for other in then if other not in now]
        if gone:
            was = " or ".join(f"{printable(other)} ({printable(then[other][:15])})" for other in gone)
            words.append(
                f"the code of plugin {name} ({now[name][:15]}) is not what the run was trained with, {was}"
            )
    return words
