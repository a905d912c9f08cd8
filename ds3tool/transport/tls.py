"""TLS: the context, and what its failures mean to an operator."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable

from ds3tool.errors import ConfigError, TlsError, TransportError

# OpenSSL's words for bytes that are no TLS record; they differ by release.
_NOT_TLS = {
    "WRONG_VERSION_NUMBER",
    "UNKNOWN_PROTOCOL",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
}
# What two sides cannot agree on today they cannot in a quarter of an hour: versions, ciphers, names, certificates.
# OpenSSL's words; of an alert those after `ALERT_`, since what stands before it differs by release. Whatever else ends
# a handshake (an internal error of a server that starts, bytes that arrive damaged) is trouble that may pass.
_NO_AGREEMENT = {
    "HANDSHAKE_FAILURE",
    "PROTOCOL_VERSION",
    "INSUFFICIENT_SECURITY",
    "ACCESS_DENIED",
    "BAD_CERTIFICATE",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_REQUIRED",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_UNKNOWN",
    "NO_CERTIFICATE",
    "UNKNOWN_CA",
    "UNSUPPORTED_CERTIFICATE",
    "UNRECOGNIZED_NAME",
    "TLSV1_UNRECOGNIZED_NAME",
    "UNSUPPORTED_PROTOCOL",
    "NO_PROTOCOLS_AVAILABLE",
    "NO_CIPHERS_AVAILABLE",
    "NO_SHARED_CIPHER",
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED",
    "DH_KEY_TOO_SMALL",
    "EE_KEY_TOO_SMALL",
    "CA_KEY_TOO_SMALL",
    "CA_MD_TOO_WEAK",
    "WRONG_SIGNATURE_TYPE",
}


def make_context(*, ca_bundle: str | None, verify: bool) -> ssl.SSLContext:
    """Return a client context; `ca_bundle` is a PEM file or a folder of hashed ones, None the system's own.

    Raises ConfigError when the bundle cannot be read.
    """
    if not verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context
    try:
        context = ssl.create_default_context()
        if ca_bundle is not None:
            context.load_verify_locations(**{"capath" if os.path.isdir(ca_bundle) else "cafile": ca_bundle})
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"the CA bundle {ca_bundle} cannot be used: {reason}", hint="--ca-bundle wants a file of PEM certificates"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def wrap(
    sock: socket.socket,
    context: ssl.SSLContext,
    host: str,
    opened: Callable[[socket.socket], None] = lambda _: None,
) -> ssl.SSLSocket:
    """Return `sock` after the handshake with `host`; TlsError says which check failed and the way out.

    TransportError where the handshake broke off, which another one may not: the appliance may just be starting.

    `opened` is told the new socket before the handshake; the old one is no longer the connection.
    """
    # An end without TLS's own goodbye is told apart from a proper one: it may be a cut.
    try:
        _raise_if_broken(sock)  # while there is a socket to close: what `wrap_socket` fails with takes it along
        wrapped = context.wrap_socket(
            sock, server_hostname=host, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
    except OSError as error:
        raise _broken_off(host, error) from error
    try:
        opened(wrapped)
        _shake_hands(wrapped, host)
    except BaseException:
        wrapped.close()
        raise
    return wrapped


def _shake_hands(sock: ssl.SSLSocket, host: str) -> None:
    try:
        sock.do_handshake()
    except ssl.SSLCertVerificationError as error:
        raise TlsError(
            f"the certificate of {host} is not accepted: {error.verify_message}", hint=_verification_hint(error)
        ) from error
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        raise TransportError(
            f"{host} closed the connection in the TLS handshake",
            hint="is this an https port?",
            may_have_arrived=False,
        ) from error
    except ssl.SSLError as error:
        if error.reason in _NOT_TLS:
            raise TlsError(f"{host} does not speak TLS on this port", hint="try http:// instead of https://") from error
        why = error.reason or str(error)
        if (error.reason or "").rpartition("ALERT_")[2] in _NO_AGREEMENT:
            raise TlsError(
                f"{host} and this host do not agree on TLS: {why}",
                hint="TLS 1.2 at least is spoken here; what the appliance's certificate and settings allow is told by "
                "ds3tool doctor",
            ) from error
        raise TransportError(f"the TLS handshake with {host} failed: {why}", may_have_arrived=False) from error
    except TimeoutError as error:
        # A plain HTTP server may wait for the end of what it takes for a request.
        raise TransportError(
            f"{host} did not finish the TLS handshake in time",
            hint="is this an https port? If not, try http:// instead of https://",
            may_have_arrived=False,
        ) from error
    except OSError as error:
        raise _broken_off(host, error) from error


def _raise_if_broken(sock: socket.socket) -> None:
    """Raise OSError for a connection that was reset since it was made."""
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))


def _broken_off(host: str, error: OSError) -> TransportError:
    return TransportError(
        f"{host} broke off the TLS handshake: {error.strerror or error}",
        hint="is this an https port?",
        may_have_arrived=False,
    )


def _verification_hint(error: ssl.SSLCertVerificationError) -> str:
    # Numbers of OpenSSL's X509_V_ERR_*: 9 not yet valid, 10 expired, 18 and 19 self-signed, 62 host name, 64 address.
    if error.verify_code == 9:
        return "it is not valid yet: is this host's clock right?"
    if error.verify_code == 10:
        return "it has expired: renew it on the appliance, if this host's clock is right"
    if error.verify_code in {62, 64}:
        return "use the host name that stands in the certificate as the endpoint"
    return "appliances come with a self-signed one: give it with --ca-bundle FILE, or trust blindly: --no-verify-ssl"
