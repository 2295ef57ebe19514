"""Trusted certificates, the same for every request including those of the load generator."""

import os
import ssl
from importlib.util import find_spec
from pathlib import Path


def tls_context(ca_file: str | None = None, *, insecure: bool = False) -> ssl.SSLContext:
    """Creates a client context that trusts ``ca_file``, else ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, else the system.

    Args:
        ca_file: File of trusted certificates.
        insecure: Whether to skip the verification of certificates.

    Raises:
        ValueError: A file is missing or unreadable, in which case OpenSSL itself would silently trust nothing.
    """
    if insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        path = os.environ.get(name)
        if path and not Path(path).exists() and ca_file is None:
            raise ValueError(f"{name} names {path}, which does not exist")
    try:
        context = ssl.create_default_context(cafile=str(Path(ca_file).expanduser()) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        why = "it contains no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise ValueError(f"cannot read certificates from {ca_file}: {why}") from error
    if ca_file is None and not _system_has_some():
        _add_bundle(context)
    return context


def _system_has_some() -> bool:
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile or paths.capath)


def _add_bundle(context: ssl.SSLContext) -> None:
    """Adds Mozilla's certificates, for an interpreter built with a certificate path that this system lacks."""
    if find_spec("certifi") is not None:
        import certifi

        context.load_verify_locations(cafile=certifi.where())
