"""The README's blocks are typed one after the other into one shell."""

import re
from pathlib import Path

README = Path(__file__).parents[3] / "README.md"


def test_no_block_leaves_the_shell_in_another_folder() -> None:
    blocks = re.findall(r"```bash\n(.*?)```", README.read_text(), re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    assert len(lines) > 20
    assert [line for line in lines if re.match(r"(cd|pushd)\b", line)] == []
