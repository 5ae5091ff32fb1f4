"""The report as a mail, and its way to the mail server."""

import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid

from app.reports import pictures, render
from app.reports.weekly import Weekly
from ledger.errors import ClusterLedgerError, ConfigError
from ledger.sections import MailSettings

_TIMEOUT_SECONDS = 30


class MailError(ClusterLedgerError):
    """The mail server did not take the report."""


class RefusedError(MailError):
    """The mail server takes mail, but none for this reader."""


def compose(weekly: Weekly, settings: MailSettings, recipient: str) -> EmailMessage:
    """Return the report as alternative(text, related(html, pictures)).

    List headers let mail programs file it and readers leave it; Auto-Submitted keeps holiday replies away.
    """
    domain = settings.sender.rpartition("@")[2] or "localhost"
    message = EmailMessage(policy=SMTP)
    message["Subject"] = weekly.subject
    message["From"] = settings.sender
    message["To"] = recipient
    message["Date"] = format_datetime(weekly.made_at)
    message["Message-ID"] = make_msgid(domain=domain)
    message["List-Id"] = f"clusterledger weekly report <weekly.clusterledger.{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    unsubscribe(message, settings)
    message.set_content(render.text(weekly))
    drawn = pictures.drawn(weekly)
    cids = {name: make_msgid(idstring=name, domain=domain) for name in drawn}
    message.add_alternative(
        render.html(weekly, {name: f"cid:{cid[1:-1]}" for name, cid in cids.items()}), subtype="html"
    )
    body = next(part for part in message.iter_parts() if part.get_content_type() == "text/html")
    for name, picture in drawn.items():
        body.add_related(
            picture, maintype="image", subtype="png", cid=cids[name], filename=f"{name}.png", disposition="inline"
        )
    return message


def unsubscribe(message: EmailMessage, settings: MailSettings) -> None:
    """Say how to leave: RFC 2369, and with one click where it is a web address (RFC 8058)."""
    target = settings.unsubscribe or f"mailto:{settings.sender}?subject=unsubscribe"
    links = [part.strip() for part in target.split(",")]
    shown = [link if ":" in link else f"mailto:{link}?subject=unsubscribe" for link in links]
    message["List-Unsubscribe"] = ", ".join(f"<{link}>" for link in shown)
    if any(link.startswith("https:") for link in shown):
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"


def send(messages: Sequence[EmailMessage], settings: MailSettings) -> None:
    """Hand mails to the configured server over one connection.

    Raises: ConfigError: no server is configured. RefusedError: it knows no such reader. MailError: it refused, or
        cannot be reached.
    """
    if not settings.host:
        raise ConfigError(
            "mail.host: found nothing, expected an SMTP server", hint="set [mail] host, port, user and password"
        )
    where = f"mail server {settings.host}:{settings.port}"
    try:
        with _connected(settings) as server:
            if settings.user:
                password = settings.password.get_secret_value() if settings.password else ""
                server.login(settings.user, password)
            for message in messages:
                server.send_message(message)
    except smtplib.SMTPAuthenticationError as error:
        raise MailError(
            f"{where}: refused the login of {settings.user} ({error.smtp_code})",
            hint="check mail.user and mail.password",
        ) from error
    except smtplib.SMTPNotSupportedError as error:
        raise MailError(f"{where}: {error}", hint="check mail.security and mail.user") from error
    except smtplib.SMTPRecipientsRefused as error:
        names = ", ".join(sorted(error.recipients))
        raise RefusedError(f"{where}: refused the recipient {names}", hint="check report.recipients") from error
    except ssl.SSLCertVerificationError as error:
        raise MailError(
            f"{where}: certificate not trusted ({error.verify_message})",
            hint="set mail.ca_file to your certificate authority",
        ) from error
    except (smtplib.SMTPException, OSError) as error:
        raise MailError(f"{where}: {error}", hint="`clusterledger check` tries the connection") from error


def _connected(settings: MailSettings) -> smtplib.SMTP:
    context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
    if settings.security == "tls":
        return smtplib.SMTP_SSL(settings.host, settings.port, timeout=_TIMEOUT_SECONDS, context=context)
    server = smtplib.SMTP(settings.host, settings.port, timeout=_TIMEOUT_SECONDS)
    if settings.security == "starttls":
        server.starttls(context=context)
    return server
