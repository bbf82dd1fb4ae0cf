"""What rendered files say of how they were made, and its signature."""

from __future__ import annotations

import importlib.util
import json
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import av
import numpy as np
import pytest

from model.errors import InputError
from model.media.content_credentials import SigningFiles, check_signing, sign
from model.media.provenance import DIGITAL_SOURCE_TYPE, Provenance, append_xmp
from model.media.video import VideoWriter, read_frames
from tests.model.certificates import write_signer

OWN = Provenance("small", 64 * "a", avatar=False, sound=True)
AVATAR = Provenance("<small> & co", 64 * "b", avatar=True, sound=False)

needs_c2pa = pytest.mark.skipif(
    importlib.util.find_spec("c2pa") is None, reason="c2pa-python is not installed (requirements-c2pa.txt)"
)


def write(path: Path, provenance: Provenance) -> Path:
    with VideoWriter(path, (32, 32), Fraction(25), tags=provenance.tags()) as writer:
        for index in range(3):
            writer.frame(np.full((32, 32, 3), 80 * index, np.uint8), Fraction(index, 25))
    return path


def metadata(path: Path) -> dict[str, str]:
    with av.open(str(path), options={"export_xmp": "1"}) as container:
        return {name.lower(): value for name, value in container.metadata.items()}


@pytest.mark.parametrize("provenance", [OWN, AVATAR])
def test_an_mp4_file_carries_iptcs_source_type_in_an_xmp_packet(tmp_path: Path, provenance: Provenance) -> None:
    path = write(tmp_path / "clip.mp4", provenance)
    append_xmp(path, provenance)
    found = metadata(path)
    assert found["comment"] == provenance.description
    root = ElementTree.fromstring(found["xmp"].strip("\ufeff"))
    (about,) = root.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    assert about.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType") == DIGITAL_SOURCE_TYPE
    assert about.get("{http://ns.adobe.com/xap/1.0/}CreatorTool") == "visavis"
    (text,) = root.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li")
    assert text.text == provenance.description
    assert len(list(read_frames(path))) == 3


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_matroska_and_webm_carry_it_as_tags(tmp_path: Path, suffix: str) -> None:
    found = metadata(write(tmp_path / f"clip{suffix}", OWN))
    assert found["comment"] == OWN.description
    assert found["digital_source_type"] == DIGITAL_SOURCE_TYPE
    assert found["creator_tool"] == "visavis"


def test_the_description_says_whose_face_it_is_and_what_was_recorded() -> None:
    assert "no camera took these pictures" in OWN.description
    assert "The sound was recorded" in OWN.description
    assert "avatar" not in OWN.description
    assert "avatar" in AVATAR.description
    assert "sound" not in AVATAR.description


@needs_c2pa
def test_a_signed_file_is_valid_until_a_byte_changes(tmp_path: Path) -> None:
    import c2pa

    files = SigningFiles(*write_signer(tmp_path))
    plain, signed = write(tmp_path / "plain.mp4", AVATAR), tmp_path / "signed.mp4"
    append_xmp(plain, AVATAR)
    check_signing(files, signed)
    sign(plain, signed, files, AVATAR)
    with signed.open("rb") as file, c2pa.Reader("video/mp4", file) as reader:
        manifest = reader.get_active_manifest()
        assert reader.get_validation_state() == "Valid"
    assert manifest is not None
    assert manifest["signature_info"]["issuer"] == "Test signer"
    (actions,) = [a["data"]["actions"] for a in manifest["assertions"] if a["label"].startswith("c2pa.actions")]
    (created,) = actions
    assert created["action"] == "c2pa.created"
    assert created["digitalSourceType"] == DIGITAL_SOURCE_TYPE
    assert created["description"] == AVATAR.description
    # It is still a film, with what its metadata said.
    assert [round(timed.rgb().mean() / 80) for timed in read_frames(signed)] == [0, 1, 2]
    assert DIGITAL_SOURCE_TYPE in metadata(signed)["xmp"]

    data = bytearray(signed.read_bytes())
    data[data.rindex(b"mdat") + 40] ^= 1
    signed.write_bytes(data)
    with signed.open("rb") as file, c2pa.Reader("video/mp4", file) as reader:
        assert reader.get_validation_state() == "Invalid"
        assert "bmffHash.mismatch" in json.dumps(reader.get_validation_results())


@needs_c2pa
def test_bad_signing_files_are_told_before_the_work(tmp_path: Path) -> None:
    certificate, key = write_signer(tmp_path)
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    (tmp_path / "other").mkdir()
    other, _ = write_signer(tmp_path / "other")
    out = tmp_path / "out.mp4"
    for files, name, message in (
        (SigningFiles(certificate, tmp_path / "none.pem"), out, "cannot be read"),
        (SigningFiles(certificate, junk), out, "not a private key"),
        (SigningFiles(junk, key), out, "not certificates"),
        (SigningFiles(other, key), out, "is not that of"),
        (SigningFiles(certificate, key), out.with_suffix(".mkv"), "only .mp4"),
    ):
        with pytest.raises(InputError, match=message):
            check_signing(files, name)


def test_without_the_library_signing_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="requirements-c2pa"):
        check_signing(SigningFiles(*write_signer(tmp_path)), tmp_path / "out.mp4")
