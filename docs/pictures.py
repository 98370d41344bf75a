"""Copy the pictures that the tutorial shows out of the report of a finished quickstart.

python docs/pictures.py runs/quickstart/report.html
"""

import base64
import re
import sys
from pathlib import Path

docs = Path(__file__).parent
page = Path(sys.argv[1]).read_text(encoding="utf-8")
found = dict(re.findall(r'<img id="([^"]+)"\s+src="data:image/png;base64,([^"]+)"', page))
for name in re.findall(r"\(pictures/(.+?)\.png\)", (docs / "tutorial.md").read_text(encoding="utf-8")):
    path = docs / "pictures" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(base64.b64decode(found[name]))
    print(path)
