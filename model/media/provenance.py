"""What a rendered video file says of how it was made: words in its metadata, and IPTC's digital source type.

An MP4 file carries an XMP packet in a `uuid` box (XMP Specification Part 3, section 2.1.1), Matroska and WebM the same
values as tags. Whoever edits the file can take them out; `content_credentials.py` signs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC NewsCodes, "Created using Generative AI". Every picture comes out of a network that learned from films. None is
a camera's that was altered afterwards, which would be `compositeWithTrainedAlgorithmicMedia` ("Edited using ...")."""

PROGRAM = "visavis"

_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


@dataclass(frozen=True)
class Provenance:
    """How the pictures of one file came to be."""

    profile: str  # of the model
    weights: str  # SHA-256 of its weights, hex
    avatar: bool  # another face than the one that was recorded
    sound: bool

    @property
    def description(self) -> str:
        """For people, one paragraph."""
        face = (
            "The face is an avatar: it is another than the recording's, whose motion moves it."
            if self.avatar
            else "The face is the recording's own, moved by its motion."
        )
        sound = " The sound was recorded." if self.sound else ""
        return (
            f"Rendered by {PROGRAM} with a neural network (profile {self.profile}, weights {self.weights[:12]}) from "
            f"a source image and recorded motion; no camera took these pictures. {face}{sound}"
        )

    def tags(self) -> dict[str, str]:
        """Metadata for any container: `comment` in all, the others where the container has free tags."""
        return {"comment": self.description, "DIGITAL_SOURCE_TYPE": DIGITAL_SOURCE_TYPE, "CREATOR_TOOL": PROGRAM}

    def xmp(self) -> bytes:
        """The XMP packet (ISO 16684-1), UTF-8."""
        return (
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
            '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"'
            ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
            ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
            f" xmp:CreatorTool={quoteattr(PROGRAM)} Iptc4xmpExt:DigitalSourceType={quoteattr(DIGITAL_SOURCE_TYPE)}>"
            '<dc:description><rdf:Alt><rdf:li xml:lang="x-default">'
            f"{escape(self.description)}</rdf:li></rdf:Alt></dc:description>"
            '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
        ).encode()


def append_xmp(path: Path, provenance: Provenance) -> None:
    """Add the XMP packet behind the last box of an MP4 file (ISO/IEC 14496-12, section 4.2), which moves no other."""
    body = _XMP_UUID + provenance.xmp()
    with path.open("ab") as file:
        file.write((8 + len(body)).to_bytes(4, "big") + b"uuid" + body)
