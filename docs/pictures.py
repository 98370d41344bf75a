"""Copy the pictures of a finished quickstart out of its report, for the tutorial.

python docs/pictures.py runs/quickstart/report.html docs/pictures
"""

import base64
import re
import sys
from pathlib import Path

page, folder = Path(sys.argv[1]), Path(sys.argv[2])
named = re.findall(r'<img id="([^"]+)"\s+src="data:image/png;base64,([^"]+)"', page.read_text(encoding="utf-8"))
for name, data in named:
    (folder / f"{name}.png").write_bytes(base64.b64decode(data))
    print(folder / f"{name}.png")
if not named:
    raise SystemExit(f"{page}: holds no pictures; run the quickstart first")
