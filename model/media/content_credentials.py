"""Signed provenance (C2PA, "content credentials") of a rendered MP4 file, by the library c2pa-python, if it is there.

The manifest says that the file was created by visavis from a trained network, and binds that to the file's bytes. Who
signs is whoever holds the certificate; what a verifier makes of it depends on the certificates that it trusts.
"""

from __future__ import annotations

import importlib.util
import json
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates

from model.errors import InputError
from model.media.provenance import DIGITAL_SOURCE_TYPE, PROGRAM, Provenance

if TYPE_CHECKING:
    import c2pa

SUFFIXES = (".mp4",)


@dataclass(frozen=True)
class SigningFiles:
    """PEM files of whoever signs."""

    certificate: Path  # the signer's first, then those that issued it; without the root
    key: Path  # PKCS 8, without a password


def check_signing(files: SigningFiles, out: Path) -> None:
    """Whether a file of that name can be signed, so that this is told before long work. Raises InputError."""
    if importlib.util.find_spec("c2pa") is None:
        raise InputError("signing needs the package c2pa-python: pip install -r requirements-c2pa.txt")
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(f"{out}: only {' and '.join(SUFFIXES)} files can be signed")
    with _signer(files):
        pass


def sign(path: Path, signed: Path, files: SigningFiles, provenance: Provenance) -> None:
    """Write the file at `path` to `signed` with a signed manifest. Raises InputError."""
    import c2pa

    manifest = {
        "claim_generator_info": [{"name": PROGRAM}],
        "assertions": [
            {
                "label": "c2pa.actions",
                "data": {
                    "actions": [
                        {
                            "action": "c2pa.created",
                            "digitalSourceType": DIGITAL_SOURCE_TYPE,
                            "softwareAgent": {"name": PROGRAM},
                            "description": provenance.description,
                        }
                    ]
                },
            }
        ],
    }
    kind = mimetypes.types_map[signed.suffix.lower()]
    try:
        with (
            _signer(files) as signer,
            c2pa.Builder(json.dumps(manifest)) as builder,
            path.open("rb") as source,
            signed.open("w+b") as out,
        ):
            builder.sign(signer, kind, source, out)
    except c2pa.C2paError as error:
        raise InputError(f"cannot be signed with {files.certificate}: {error}") from None


def _signer(files: SigningFiles) -> c2pa.Signer:
    import c2pa

    key, certificate = _read(files.key), _read(files.certificate)
    algorithm = _algorithm(key, files.key)
    try:
        signer, *_ = load_pem_x509_certificates(certificate)
    except ValueError:
        raise InputError(f"{files.certificate}: not certificates in PEM") from None
    if signer.public_key() != _private(key, files.key).public_key():
        raise InputError(f"{files.certificate}: its first certificate is not that of {files.key}")
    try:
        # No time-stamping authority: nothing here asks the network.
        return c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm, certificate, key, None))
    except c2pa.C2paError as error:
        raise InputError(f"{files.certificate}: not certificates to sign with ({error})") from None


def _private(key: bytes, path: Path) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(key, None)
    except (ValueError, TypeError):  # not PEM, damaged, or encrypted
        raise InputError(f"{path}: not a private key in PEM without a password") from None


def _algorithm(key: bytes, path: Path) -> bytes:
    """The signature algorithm of a private key, as C2PA names it. Raises InputError."""
    loaded = _private(key, path)
    if isinstance(loaded, ec.EllipticCurvePrivateKey):
        algorithm = {"secp256r1": b"es256", "secp384r1": b"es384", "secp521r1": b"es512"}.get(loaded.curve.name)
        if algorithm is not None:
            return algorithm
    elif isinstance(loaded, rsa.RSAPrivateKey):
        return b"ps256"
    elif isinstance(loaded, ed25519.Ed25519PrivateKey):
        return b"ed25519"
    raise InputError(f"{path}: C2PA signs with keys of P-256, P-384, P-521, Ed25519 and RSA")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
