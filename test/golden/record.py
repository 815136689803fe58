"""Records a history: ``python test/golden/record.py NAME`` writes ``histories/NAME.json`` from the run of
``test/property/test_interrupted_prefixes.py``, in which every type of event occurs. Recorded files are never rewritten.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(name: str) -> None:
    sys.path[:0] = [str(HERE.parent / "property"), str(HERE.parent / "unit")]
    from test_interrupted_prefixes import recording

    changes = [
        {
            "revision": change.revision,
            "keys": [[key, kv.value.decode() if kv else None, bool(kv and kv.lease)] for key, kv in change.keys],
        }
        for change in recording().changes
    ]
    path = HERE / "histories" / f"{name}.json"
    lines = ",\n".join(json.dumps(change) for change in changes)
    with path.open("x", encoding="utf-8") as file:  # never overwrites a recorded history
        file.write(f'{{"region": "sf", "changes": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main(sys.argv[1])
