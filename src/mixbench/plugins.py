"""Options of one's own, without a copy of the repository: what a plugin calls.

    # mine.py: mixbench train --plugin mine.py augment=mine
    @dataclass
    class Mine:
        '''What it does, in one sentence.

        Source: where it comes from.
        '''

        name: str = "mine"
        strength: float = knob("what the value means, with its unit", at_least=0)

    register("augment", "mine", "mine_masks:Mine", Mine, Path(__file__).with_name("mine.yaml"))

and mine.yaml, as the files under conf/:

    # Where the values come from
    defaults: [/schema/augment/mine@_here_]
    strength: 0.5       # as in the paper

The option then composes, is checked, completes, and stands in `mixbench methods` and in the help. A plugin is loaded by
`--plugin mine.py` or `--plugin MODULE` on any command line, or as a package with an entry point in the group
`mixbench.plugins`. examples/ holds one of each kind.
"""

from __future__ import annotations

from mixbench.config.plugins import register

__all__ = ["register"]
