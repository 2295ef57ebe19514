"""Which certificates are trusted: the same ones for every request, the load generator's too."""

import os
import ssl
from importlib.util import find_spec
from pathlib import Path


def tls_context(ca_file: str | None = None, *, insecure: bool = False) -> ssl.SSLContext:
    """A client's context: ``ca_file``, else ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, else the system's certificates.

    Raises ``ValueError`` where such a file is missing or cannot be read: OpenSSL itself would trust nothing, silently.
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
        why = "it holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise ValueError(f"{ca_file} cannot be used as a file of certificates: {why}") from error
    if ca_file is None and not _system_has_some():
        _add_bundle(context)
    return context


def _system_has_some() -> bool:
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile or paths.capath)


def _add_bundle(context: ssl.SSLContext) -> None:
    """Mozilla's certificates, where the interpreter was built for another place than this system keeps its own in."""
    if find_spec("certifi") is not None:
        import certifi

        context.load_verify_locations(cafile=certifi.where())
