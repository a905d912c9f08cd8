"""Download what is new in Lotame's feeds, in ten lines: each file whole, and once, however late or often this runs.

python examples/lotame_download.py FOLDER

Reads ~/lotame.properties, or LOTAME_TOKEN, LOTAME_ACCESS and LOTAME_CLIENT_ID. The credentials of the files come with
Lotame's answers and are asked for anew while it runs; no profile of AWS is needed.
"""

import sys

from ds3tool import AwsSettings
from ds3tool.lotame.client import LotameClient
from ds3tool.lotame.news import News
from ds3tool.lotame.pull import Puller
from ds3tool.lotame.settings import find_settings
from ds3tool.lotame.watermark import Watermarks


def main(folder: str) -> int:
    """Fetch the new files into `folder`; 3 when some are missing, which the next run asks for again."""
    # What was had is remembered beside the files, so that a missed run loses no hour and none comes twice.
    with LotameClient(find_settings()) as lotame, Watermarks.open(f"{folder}/.had", folder) as had:
        pulled = Puller(News(lotame, AwsSettings(region="us-east-1"), had), had, folder).run()
    for gap in pulled.gaps:
        print(f"{gap.place}: {gap.error}", file=sys.stderr)
    print(f"{pulled.files} files, {pulled.bytes} bytes")
    if pulled.stopped is not None:
        raise pulled.stopped
    return 3 if pulled.gaps else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
