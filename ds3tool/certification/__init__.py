"""The partner certification list, run against any appliance: cases that put, get and ask, and a sheet of what was seen.

Everything goes through this package's own client and jobs, so it certifies both: that the appliance answers as one
should, and that ds3tool does the right thing with what it answers.

    with Ds3Client(connection) as client:
        sheet = certify(Ground(client, connection, Extent()))

The list follows what the vendor asks of partners' clients (a large object, a thousand mixed ones, a get of what has
left the cache, a full cache) and what its test plans go on to: refusals, resuming, listing, versions.
"""

from __future__ import annotations

from ds3tool.certification.cases import CASES, Case
from ds3tool.certification.ground import Extent, Ground
from ds3tool.certification.run import certify
from ds3tool.certification.sheet import Line, Sheet, Verdict

__all__ = ["CASES", "Case", "Extent", "Ground", "Line", "Sheet", "Verdict", "certify"]
