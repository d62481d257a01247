"""The report of a proof: canonical JSON whose hash the log states, and a page made of it. Pure.

The bytes are the report; a page, a print or a text is a reading of them. Whoever holds the file
checks it against the log: the SHA-256 in `site.commissioned` is the hash of these very bytes.
"""

from hashlib import sha256
from typing import Final, Literal

import msgspec

from gateway.commissioning import draft as drafts
from gateway.commissioning import proof as proofs
from gateway.commissioning.draft import Board, Draft
from gateway.commissioning.findings import Finding
from gateway.commissioning.proof import BoardTrial, DoorTrial, Machine, Proof, Verdict
from gateway.commissioning.reportpage import html, lines
from gateway.errors import GatewayError
from sync.sitemap import DoorItem

BYTES_MAX: Final = 4 * 1024 * 1024
FORMAT: Final = "commissioning-report-1"
